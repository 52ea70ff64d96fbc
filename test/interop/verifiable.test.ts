import { writeFileSync } from "node:fs";
import { beforeEach, describe, expect, test } from "vitest";
import { clients, javaProgram } from "./clients.ts";
import { ExpectedTopic } from "./expected.ts";
import { dump, groupTimes, produce, quickGroups, sessionTimeoutMs, skipWhenMissing, Workspace } from "./journey.ts";
import { ClientProgram } from "./program.ts";
import type { ConsumedRecord, SampleRecord } from "./records.ts";
import { Running } from "./running.ts";
import { whyMissing } from "./runtimes.ts";
import { Target } from "./target.ts";

const protocols = ["classic", "consumer"] as const;
const copiedPartitionCount = 2;
const copiedCount = 6_000;
const partitionCount = 4;
const messageCount = 6_000;
const messagesPerSecond = 1_000;
/** A line that tells of at least one partition. */
const assignment = /"name":"partitions_assigned".*"partition":/;

/** What the verifiable tools print, a line of JSON each, in the parts that are looked at. */
type ToolLine =
  | {
      readonly name: "producer_send_success";
      readonly partition: number;
      readonly offset: number;
      readonly value: string;
    }
  | { readonly name: "producer_send_error"; readonly message: string }
  | { readonly name: "record_data"; readonly partition: number; readonly offset: number; readonly value: string }
  | { readonly name: "partitions_assigned" | "partitions_revoked" | "offsets_committed" | "shutdown_complete" };

/** The programs with which Apache Kafka's own system tests drive a cluster, while the broker and they are killed. */
describe.concurrent("the verifiable programs of Apache Kafka 4.3.1", () => {
  beforeEach((context) => skipWhenMissing(context, whyMissing("java")));

  test.for(protocols)("VerifiableProducer and VerifiableConsumer, %s protocol", async (protocol) => {
    using workspace = new Workspace();
    await using target = await Target.start({ settings: { ...quickGroups, ...groupTimes } });
    await using program = ClientProgram.start(clients.java, target.address);
    await program.createTopic({ topic: "t", partitions: partitionCount });
    // It tries once otherwise, and a broker that is killed would cost it records.
    const settings = workspace.path("producer.properties");
    writeFileSync(settings, "enable.idempotence=true\nretries=2147483647\n");
    const server = ["--bootstrap-server", target.address, "--topic", "t"];
    const startConsumer = (name: string): Running => {
      const session = protocol === "classic" ? ["--session-timeout", `${sessionTimeoutMs}`] : [];
      const args = [...server, "--group-id", "g", "--group-protocol", protocol, "--verbose", ...session];
      return Running.start(name, javaProgram("org.apache.kafka.tools.VerifiableConsumer", args));
    };
    const limits = ["--max-messages", `${messageCount}`, "--throughput", `${messagesPerSecond}`];
    // Without keys it would stay with one partition for thousands of records.
    const keys = ["--repeating-keys", "100"];
    const args = [...server, ...limits, ...keys, "--command-config", settings];
    await using stays = startConsumer("the consumer that stays");
    await using dies = startConsumer("the consumer that dies");
    const hasPartitions = (one: Running) => (): boolean => one.lines.some((line) => assignment.test(line));
    for (const one of [stays, dies]) await one.until("it has partitions", hasPartitions(one));
    await using producer = Running.start("producer", javaProgram("org.apache.kafka.tools.VerifiableProducer", args));
    await dies.until("it has records", () => countOf(dies, "record_data") > 0);

    await dies.kill();
    const sentCount = countOf(producer, "producer_send_success");
    const isMoreSent = (): boolean => countOf(producer, "producer_send_success") > sentCount + 500;
    await producer.until("more is sent", isMoreSent);
    await target.kill();
    await target.start();
    await producer.ended();

    const sent = linesOf(producer).filter((line) => line.name === "producer_send_success");
    expect(linesOf(producer).filter((line) => line.name === "producer_send_error")).toEqual([]);
    const values = Object.fromEntries(sent.map((line) => [placeOf(line), line.value]));
    expect(sent.map(({ value }) => Number(value)).toSorted((one, other) => one - other)).toEqual([
      ...Array(messageCount).keys(),
    ]);
    const written = await dump(workspace, program, { topic: "t", isolation: "read_uncommitted" });
    expect(Object.fromEntries(written.map((record) => [placeOf(record), record.value?.toString()]))).toEqual(values);
    const consumed = (): Record<string, string> => {
      const lines = [dies, stays].flatMap(linesOf).filter((line) => line.name === "record_data");
      return Object.fromEntries(lines.map((line) => [placeOf(line), line.value]));
    };
    const isEnough = (): boolean => countOf(stays, "record_data") + countOf(dies, "record_data") >= messageCount;
    const isAll = (): boolean => isEnough() && Object.keys(consumed()).length === messageCount;
    await stays.until("all is consumed", isAll);
    await stays.stop();
    expect(consumed()).toEqual(values);
    expect(countOf(stays, "offsets_committed")).toBeGreaterThan(0);
  });

  test("TransactionalMessageCopier copies each record once, whatever is killed", async () => {
    using workspace = new Workspace();
    await using target = await Target.start({ settings: quickGroups });
    await using program = ClientProgram.start(clients.java, target.address);
    for (const topic of ["input", "output"]) await program.createTopic({ topic, partitions: copiedPartitionCount });
    const records = Array.from({ length: copiedCount }, (_, index) => textRecord(index));
    await produce(workspace, program, { topic: new ExpectedTopic("input"), compression: "none", records });
    const startCopier = (partition: number): Running =>
      Running.start(
        `copier ${partition}`,
        javaProgram("org.apache.kafka.tools.TransactionalMessageCopier", [
          ...["--broker-list", target.address, "--input-topic", "input", "--output-topic", "output"],
          ...["--input-partition", `${partition}`, "--consumer-group", "copiers"],
          ...["--transactional-id", `copier-${partition}`, "--transaction-size", "10", "--enable-random-aborts"],
          // The next one waits for the offsets that a killed one had not committed: until its transaction is aborted.
          ...["--transaction-timeout", "10000"],
        ]),
      );
    const copied = async (): Promise<ConsumedRecord[]> =>
      await dump(workspace, program, { topic: "output", isolation: "read_committed" });

    const copiers = Array.from({ length: copiedPartitionCount }, (_, partition) => startCopier(partition));
    await using stack = new AsyncDisposableStack();
    for (const copier of copiers) stack.use(copier);
    const isCopied = (part: number) => async (): Promise<boolean> => (await copied()).length >= copiedCount * part;
    const [dying, ...staying] = copiers as [Running, ...Running[]];
    await dying.until("some of it is copied", isCopied(0.1));
    await dying.kill();
    const again = stack.use(startCopier(0));
    await again.until("a third of it is copied", isCopied(0.33));
    await target.kill();
    await target.start();
    await Promise.all([again, ...staying].map(async (copier) => await copier.ended()));

    const input = valuesByPartition(await dump(workspace, program, { topic: "input", isolation: "read_uncommitted" }));
    expect(input.size).toBe(copiedPartitionCount);
    const output = valuesByPartition(await copied());
    for (const [partition, values] of input) {
      const copies = output.get(partition) ?? [];
      const different = values.findIndex((value, index) => value !== copies[index]);
      const place = `partition ${partition}, from ${different} on: ${copies.slice(different, different + 12).join(", ")}`;
      expect([different, copies.length], place).toEqual([-1, values.length]);
    }
    // What was aborted is there, too, for those who ask for it.
    const all = await dump(workspace, program, { topic: "output", isolation: "read_uncommitted" });
    expect(all.length).toBeGreaterThan(copiedCount);
  });
});

function linesOf(running: Running): ToolLine[] {
  return running.lines.map((line) => JSON.parse(line) as ToolLine);
}

/** Without parsing: it is asked again and again. */
function countOf(running: Running, name: ToolLine["name"]): number {
  return running.lines.filter((line) => line.includes(`"name":"${name}"`)).length;
}

/** The copier takes keys and values for text. */
function textRecord(index: number): SampleRecord {
  const [key, value] = [`key-${index % 50}`, `value ${index} mañana`].map((text) => Buffer.from(text));
  return { key: key ?? null, value: value ?? null, headers: [], timestamp: Date.now() };
}

function valuesByPartition(records: readonly ConsumedRecord[]): Map<number, string[]> {
  const found = new Map<number, string[]>();
  for (const { partition, key, value } of records) {
    const values = found.get(partition) ?? [];
    found.set(partition, values);
    values.push(`${key?.toString()}: ${value?.toString()}`);
  }
  return new Map([...found].toSorted(([one], [other]) => one - other));
}

function placeOf({ partition, offset }: { readonly partition: number; readonly offset: number }): string {
  return `${partition}-${offset}`;
}
