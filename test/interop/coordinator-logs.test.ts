import { join } from "node:path";
import { beforeEach, expect, test } from "vitest";
import { clients } from "./clients.ts";
import type { TransactArgs } from "./contract.ts";
import { consume, quickGroups, skipWhenMissing, Workspace } from "./journey.ts";
import { ClientProgram } from "./program.ts";
import { sampleRecords, writeRecords } from "./records.ts";
import { whyMissing } from "./runtimes.ts";
import { Target, type TargetName } from "./target.ts";

const settings = {
  ...quickGroups,
  "offsets.topic.num.partitions": "1",
  "transaction.state.log.num.partitions": "1",
};
const formatters = "org.apache.kafka.tools.consumer";

interface ToolAnswer {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

beforeEach((context) => skipWhenMissing(context, whyMissing("java")));

/**
 * The same clients do the same with Apache Kafka and with Millrace, and Apache Kafka's tools read what the coordinators
 * have written of it: the same kinds of records with the same fields, and the same values where they do not depend on
 * the run.
 */
test("Apache Kafka's tools read the coordinators' logs of Millrace as they read its own", async () => {
  const [kafka, millrace] = await Promise.all([readings("kafka"), readings("millrace")]);
  expect(kafka.size).toBe(5);
  for (const [reading, lines] of kafka) {
    expect(lines.length, reading).toBeGreaterThan(3);
    expect(millrace.get(reading), reading).toEqual(lines);
  }
  const types = new Set([...kafka.values()].flat().map((line) => /"type":"?(\d+)/.exec(line)?.[1]));
  // The markers of transactions have none.
  expect([...types].toSorted()).toEqual(["0", "1", "2", "3", "5", "6", "7", "8", undefined]);
});

/** What each tool prints of each log: distinct lines, in order. */
async function readings(name: TargetName): Promise<Map<string, readonly string[]>> {
  using workspace = new Workspace();
  await using target = await Target.start({ name, settings });
  await using program = ClientProgram.start(clients.java, target.address);
  await work(workspace, program);
  const found = new Map<string, readonly string[]>();
  const run = async (main: string, args: readonly string[]): Promise<string> => {
    const { status, stdout, stderr } = (await program.call("tool", { main, args })) as ToolAnswer;
    expect(status, `${args.join(" ")}\n${stdout}${stderr}`).toBe(0);
    return stdout;
  };
  for (const [topic, formatter] of [
    ["__transaction_state", "TransactionLogMessageFormatter"],
    ["__consumer_offsets", "OffsetsMessageFormatter"],
    ["__consumer_offsets", "GroupMetadataMessageFormatter"],
  ] as const) {
    const from = ["--bootstrap-server", target.address, "--topic", topic, "--partition", "0", "--from-beginning"];
    const format = ["--formatter", `${formatters}.${formatter}`, "--timeout-ms", "2000"];
    const printed = await run(`${formatters}.ConsoleConsumer`, [...from, ...format]);
    // It puts nothing between two records.
    found.set(formatter, distinct(printed.split(/(?<=\})(?=\{"key":)/)));
  }
  await target.stop();
  for (const [topic, decoder] of [
    ["__transaction_state", "--transaction-log-decoder"],
    ["__consumer_offsets", "--offsets-decoder"],
  ] as const) {
    const file = join(target.dataDirectory, `${topic}-0`, "00000000000000000000.log");
    const printed = await run("org.apache.kafka.tools.DumpLogSegments", [decoder, "--files", file]);
    expect(printed).not.toMatch(/isvalid: false|Failed|Exception/);
    const records = printed.split("\n").filter((line) => line.startsWith("| offset:"));
    found.set(decoder, distinct(records.map((line) => line.replace(/^.*headerKeys: \[\] /, ""))));
  }
  return found;
}

/** Groups of both protocols, and transactions with offsets: committed, aborted and open. */
async function work(workspace: Workspace, program: ClientProgram): Promise<void> {
  const topic = "t";
  await program.createTopic({ topic, partitions: 1 });
  const file = workspace.path("records.jsonl");
  writeRecords(file, sampleRecords({ count: 20, seed: 5 }));
  await program.produce({ topic, partitions: 1, compression: "none", file });
  for (const protocol of ["classic", "consumer"] as const) {
    await consume(workspace, program, { topics: [topic], group: protocol, count: 5, protocol });
  }
  const records: TransactArgs["records"] = [[0, "v"]];
  for (const end of ["commit", "abort"] as const) {
    const take = { topic, group: `in-${end}`, count: 5 };
    await program.transact({ producer: end, transactionalId: end, topic, records, take, end });
  }
  await program.transact({ producer: "open", transactionalId: "open", topic, records, end: "open" });
}

/** Without what differs between two runs, and without what Millrace is known to write in another way. */
function distinct(lines: readonly string[]): readonly string[] {
  const same = lines
    .map((line) => line.replace(/\s*Processed a total of \d+ messages\s*$/, "").trim())
    .filter((line) => line !== "")
    .map((line) =>
      line
        .replaceAll(/"(\w*Timestamp\w*)":\d+/g, '"$1":"T"')
        .replaceAll(/"(topicId|memberId|leader)":"[^"]+"/g, '"$1":"ID"')
        .replaceAll(/"metadataHash":-?\d+/g, '"metadataHash":"H"')
        // Apache Kafka repeats the producer's id here; Millrace says what was before, and leaves it out when nothing was.
        .replace(/("producerId":(\d+),)"previousProducerId":\2,/, "$1")
        // Millrace knows the topic of an offset in a transaction by its id, too.
        .replace(/("group":"in-.*),"topicId":"ID"/, "$1"),
    )
    // Apache Kafka writes that a group is new before anybody is in it.
    .filter((line) => !line.includes('"protocolType":"","generation":0,'));
  return [...new Set(same)].toSorted();
}
