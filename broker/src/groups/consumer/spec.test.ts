import { test } from "vitest";
import { expectInvariants, expectTable } from "../../../test/spec-page.ts";
import { runScript } from "../testing/script.ts";

const page = new URL("SPEC.md", import.meta.url);

/** s is static. Events are those of a, but where they say otherwise. */
const stable = `consumer s instance=one
consume a topics=t rebalance=30s
consume s topics=u`;

const states: Readonly<Record<string, string>> = {
  "no group": "consume a\nquit a\ndelete g",
  Empty: "consume a\nquit a",
  stable,
  "stable, new group epoch": `settings interval=30s\n${stable}\nconsume b topics=t`,
  unrevoked: `${stable}\nholds a\nconsume b topics=t\nhb a`,
  unreleased: "consumer s instance=one\nconsume b topics=t\nconsume s topics=u\nconsume a topics=t",
};

interface Event {
  readonly who: string;
  readonly commands: string;
}

const events: Readonly<Record<string, Event>> = {
  "joins, new": { who: "n", commands: "consume n topics=u" },
  "joins again (epoch 0)": { who: "a", commands: "consume a topics=t rebalance=30s" },
  heartbeat: { who: "a", commands: "hb a" },
  "heartbeat, has given up": { who: "a", commands: "yields a\nhb a" },
  "heartbeat, other topics": { who: "a", commands: "yields a\nhb a topics=u" },
  "heartbeat, pattern": { who: "a", commands: "yields a\nhb a topics= regex=t" },
  "heartbeat, epoch ahead": { who: "a", commands: "hb a epoch=99" },
  "leaves (−1)": { who: "a", commands: "quit a" },
  "static member leaves for a moment (−2)": { who: "s", commands: "away s" },
  "static member's new process": { who: "s", commands: "reborn s\nconsume s topics=u" },
  "the same, after −2": { who: "s", commands: "away s\nreborn s\nconsume s topics=u" },
  "classic member joins": { who: "m", commands: "join m v=3" },
  "OffsetCommit, member": { who: "a", commands: "commit a t-0=1" },
  "OffsetCommit from outside": { who: "@g", commands: "commit @g t-0=1" },
  "OffsetDelete of a topic that is read": { who: "", commands: "delete-offsets g t-0" },
  DeleteGroups: { who: "", commands: "delete g" },
  "a topic gets partitions": { who: "-", commands: "topic t=8\nadvance 100ms" },
  "session timeout": { who: "-", commands: "hb s\nadvance 45s" },
  "rebalance timeout": { who: "-", commands: "advance 30s" },
  failover: { who: "-", commands: "failover" },
};

interface Seen {
  readonly kind: string;
  readonly epoch: number | null;
}

function seenIn(output: string): Seen {
  const shown =
    output.match(/^g: (not there|consumer group .*|(?:Empty|Stable|\w+Rebalance) generation .*)$/gm)?.at(-1) ?? "";
  const own = /(a-\d+)@(-?\d+)( unrevoked| unreleased)?/.exec(shown);
  if (shown === "" || shown.includes("not there")) return { kind: "no group", epoch: null };
  if (!shown.includes("consumer group")) return { kind: "classic group", epoch: null };
  const epoch = Number(/epoch (\d+)/.exec(shown)?.[1] ?? 0);
  if (own === null) return { kind: shown.includes("Empty") ? "Empty" : "a is out", epoch };
  return { kind: (own[3] ?? " stable").trim(), epoch };
}

function cell(stateName: string, { who, commands }: Event): string {
  const setup = states[stateName]!;
  const before = seenIn(runScript(setup));
  const output = runScript(`${setup}\n\n${commands}`);
  const after = seenIn(output);
  const happened = output.slice(output.lastIndexOf("----"));
  const answers = happened
    .split("\n")
    .filter((line) => line.startsWith(`${who} <`) || (who === "" && line.startsWith("<")));
  const answer = (answers.at(-1) ?? "")
    .replace(/^.*?<[-=] (g )?/, "")
    .replace(/:.*$| as .*$| generation .*$/, "")
    .replace(/^epoch -?\d+(, has .*)?$/, (_all, has: string | undefined) =>
      has === undefined ? "ok" : "told what it has",
    );
  const gone = Array.from(happened.matchAll(/^g: (\w+)-\d+ removed/gm), ([, name]) => name);
  const out = who === "-" && gone.length > 0 ? `${gone.join(", ")} out` : "";
  const isMade = before.kind === "no group" || before.kind === "Empty";
  const isMoved = after.kind !== before.kind;
  const bump =
    before.epoch !== null && after.epoch !== null && after.epoch > before.epoch ? `+${after.epoch - before.epoch}` : "";
  const move = isMoved ? `→ ${isMade && after.kind === "a is out" ? "with members" : after.kind}` : "";
  return [answer, out, move, bump].filter((part) => part !== "").join(" ") || "·";
}

test("the table of states and events is what the machine does", () => {
  const names = Object.fromEntries(Object.keys(states).map((name) => [name, name]));
  expectTable(page, names, events, cell);
});

test("every invariant of the specification is checked, and every check is in the specification", () => {
  const files = ["../testing/consumer-invariants.ts", "../testing/group-host.ts", "properties.test.ts"];
  expectInvariants(
    page,
    "C",
    files.map((name) => new URL(name, import.meta.url)),
  );
});
