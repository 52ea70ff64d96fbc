import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Cluster } from "@millrace/client";
import { afterAll, expect, test } from "vitest";
import { Broker, Command, killCommands } from "./command.ts";

/* A real process that may open fewer files than its partitions have. */

const root = mkdtempSync(join(tmpdir(), "millrace-open-files-"));
afterAll(() => {
  killCommands();
  rmSync(root, { recursive: true, force: true });
});

test("with a low limit on open files a broker serves many partitions, says what it does, and comes back", async () => {
  const partitions = 300;
  const limits = { openFilesMax: 256 };
  let broker = await Broker.start(root, [], limits);
  expect(broker.command.err).toContain(`"openFilesMax":256,"openSegments":56,"openSegmentsWanted":4096`);
  const create = new Command(["topic", "create", "wide", "--partitions", `${partitions}`, "-b", broker.address]);
  expect(await create.ended).toMatchObject({ code: 0 });
  for (const round of [0, 1]) {
    await using cluster = new Cluster({ brokers: [broker.address] });
    await using producer = cluster.producer();
    await Promise.all(
      Array.from({ length: partitions }, (_, partition) => producer.send("wide", { partition, value: `${round}` })),
    );
    const read = new Command(["consume", "wide", "--from", "earliest", "--until-end", "-b", broker.address]);
    expect(await read.ended).toMatchObject({ code: 0 });
    expect(read.out.split("\n").length - 1).toBe(partitions * (round + 1));
    if (round === 0) await broker.kill();
    else expect(await broker.stop()).toBe(0);
    expect(broker.command.err).not.toMatch(/"level":"error"|EMFILE/);
    if (round === 0) broker = await Broker.start(root, [], limits);
  }
});
