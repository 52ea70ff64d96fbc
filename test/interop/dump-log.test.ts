import { readdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { expect, test } from "vitest";
import { clients } from "./clients.ts";
import { compressions } from "./contract.ts";
import { ExpectedTopic } from "./expected.ts";
import { produce, skipWhenMissing, Workspace } from "./journey.ts";
import { ClientProgram } from "./program.ts";
import { sampleRecords } from "./records.ts";
import { whyMissing } from "./runtimes.ts";
import { Target } from "./target.ts";

/** Our directories are Kafka's on disk: its own tool reads segments, indexes and producer snapshots. */
test("kafka-dump-log reads every file of a partition without complaint", async (context) => {
  skipWhenMissing(context, whyMissing("java"));
  using workspace = new Workspace();
  await using target = await Target.start();
  await using program = ClientProgram.start(clients.java, target.address);
  const topic = new ExpectedTopic("dumped");
  // The smallest segment that is allowed, so that there are several of them with their indexes.
  const configs = { "segment.bytes": `${1024 * 1024}`, "index.interval.bytes": "1024" };
  await program.createTopic({ topic: topic.name, partitions: 2, configs });
  for (const [index, compression] of compressions.entries()) {
    const records = sampleRecords({ count: 4_500, seed: 300 + index });
    await produce(workspace, program, { topic, compression, records });
  }
  await target.stop();

  const files = readdirSync(target.dataDirectory, { recursive: true })
    .map((file) => join(target.dataDirectory, file.toString()))
    .filter((file) => /\.(log|index|timeindex|snapshot)$/.test(file) && /^dumped-\d$/.test(basename(dirname(file))));
  const segments = files.filter((file) => file.endsWith(".log"));
  expect(segments.length).toBeGreaterThan(2);

  const args = ["--deep-iteration", "--files", files.join(",")];
  const dumped = (await program.call("tool", { main: "org.apache.kafka.tools.DumpLogSegments", args })) as {
    readonly status: number;
    readonly stdout: string;
    readonly stderr: string;
  };
  expect(dumped.status, dumped.stderr).toBe(0);
  const lines = dumped.stdout.split("\n");
  expect(lines.filter((line) => line.startsWith("| offset:")).length).toBe(topic.count);
  const complaints = /isvalid: false|corrupt|mismatch|not monotonic|Found timestamp|Index timestamp|exception/i;
  expect(lines.filter((line) => complaints.test(line))).toEqual([]);
});
