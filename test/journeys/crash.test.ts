import { expect, test } from "vitest";
import type { RecordingDisk } from "@millrace/simulator/recording-disk";
import { crashCampaign } from "./crash/campaign.ts";
import type { CampaignOptions } from "./crash/campaign.ts";
import type { Violation } from "./crash/inspection.ts";
import type { Mark } from "./crash/marks.ts";
import { failureText, replayCommand, reportLine } from "./crash/report.ts";
import { temporaryDirectory } from "./fixture.ts";
import { seedOf } from "./seed.ts";

/*
 * What was acknowledged survives the loss of power at any moment. A kill of the process shows nothing of it, since the
 * system keeps what was written: so a disk records every write, sync, creation and renaming of a real run, and what it
 * would have kept is rebuilt from what was synced and a random part of the rest.
 */

async function run(options: CampaignOptions) {
  const report = await crashCampaign(options);
  console.log(reportLine(options.seed, report));
  return report;
}

test("nothing acknowledged is missing after 150 losses of power", async () => {
  const seed = seedOf("crash");
  const points = 150;
  const { failures } = await run({ seed, points });
  expect(failures.map(failureText), `again: ${replayCommand(seed, points)}`).toEqual([]);
});

test("nor after 60 more in a run on the real disk, over TCP, in real time", async () => {
  const seed = seedOf("crash on the real disk");
  const points = 60;
  await using directory = await temporaryDirectory();
  const report = await run({ seed, points, directory: directory.path });
  expect(report.failures.map(failureText), `again: ${replayCommand(seed, points)} --real`).toEqual([]);
});

/* The checker is checked: a broker that breaks its promise in one place only must be found out, and by the right name. */

const isDirectory = (path: string): boolean => !path.slice(path.lastIndexOf("/") + 1).includes(".");

const withoutJournal = { "millrace.journal.bytes": "0" };
const withJournal = { "millrace.journal.bytes": "1048576" };

const planted: readonly {
  readonly what: string;
  readonly areSyncsLies?: RecordingDisk<Mark>["faults"]["areSyncsLies"];
  readonly config?: Readonly<Record<string, string>>;
  readonly found: Violation["kind"];
}[] = [
  { what: "syncs nothing", areSyncsLies: true, config: withoutJournal, found: "lost write" },
  {
    what: "syncs no segments",
    areSyncsLies: (path) => path.endsWith(".log"),
    config: withoutJournal,
    found: "lost write",
  },
  {
    what: "syncs no journal",
    areSyncsLies: (path) => path.includes("millrace.journal"),
    config: withJournal,
    found: "lost write",
  },
  {
    what: "clears the journal before the segments are synced",
    areSyncsLies: (path) => path.endsWith(".log"),
    config: { "millrace.journal.bytes": "65536" },
    found: "lost write",
  },
  { what: "answers before the sync", config: { "millrace.durability": "os" }, found: "lost write" },
  { what: "syncs no directories", areSyncsLies: isDirectory, found: "lost write" },
  // Pages reach the disk in any order: most often a whole change lies behind one that is not, and the start refuses that.
  { what: "syncs no metadata", areSyncsLies: (path) => path.includes("/metadata/"), found: "does not start" },
  {
    what: "syncs no commits",
    areSyncsLies: (path) => path.includes("/__consumer_offsets"),
    config: withoutJournal,
    found: "lost commit",
  },
  {
    what: "syncs no starts of logs",
    areSyncsLies: (path) => path.includes("log-start-offset"),
    found: "log start went back",
  },
];

test.for(planted)("a broker that $what is found out: $found", async ({ areSyncsLies, config, found }) => {
  const seed = seedOf("planted fault");
  // All points count: the first dozen may all be crashes after which nothing starts, and those hide what was lost.
  const points = 40;
  const { failures } = await run({
    seed,
    points,
    failuresMax: points,
    requests: 20,
    ...(config === undefined ? {} : { config }),
    plant: ({ faults }) => {
      if (areSyncsLies !== undefined) faults.areSyncsLies = areSyncsLies;
    },
  });
  const kinds = new Set(failures.flatMap(({ violations }) => violations.map(({ kind }) => kind)));
  expect([...kinds]).toContain(found);
});
