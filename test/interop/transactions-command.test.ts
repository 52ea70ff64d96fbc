import { ErrorCode } from "kafka-protocol-ts/errors";
import { produce } from "kafka-protocol-ts/messages/00-produce";
import { listOffsets } from "kafka-protocol-ts/messages/02-list-offsets";
import { encodeBatch } from "kafka-protocol-ts/records/record";
import { afterAll, beforeAll, beforeEach, describe, expect } from "vitest";
import { ask } from "../../bench/ask.ts";
import { RawClient } from "../journeys/raw-client.ts";
import { clients } from "./clients.ts";
import { skipWhenMissing, stepsOf } from "./journey.ts";
import { ClientProgram } from "./program.ts";
import { waitUntil } from "./running.ts";
import { whyMissing } from "./runtimes.ts";
import { Target } from "./target.ts";
import { Producer, type ProducerIdentity } from "./transactions/client.ts";

const topic = "payments";
const hangingForMs = 3_600_000;

/** A line of what the tool prints, by the words of its heading. */
type Row = Readonly<Record<string, string>>;

interface ToolAnswer {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * kafka-transactions of Apache Kafka. One transaction hangs: its partition was never named to the coordinator, and the
 * broker was told not to ask. So nobody ends it until an operator does.
 */
describe("kafka-transactions of Apache Kafka 4.3.1", () => {
  const missing = whyMissing("java");
  let target: Target;
  let program: ClientProgram;
  let client: RawClient;
  let hanging: ProducerIdentity;

  beforeAll(async () => {
    if (missing !== null) return;
    target = await Target.start({ settings: { "transaction.partition.verification.enable": "false" } });
    program = ClientProgram.start(clients.java, target.address);
    client = await RawClient.connect({ host: "127.0.0.1", port: target.port });
    await program.createTopic({ topic, partitions: 2 });
  });
  afterAll(async () => {
    await client?.[Symbol.asyncDispose]();
    await program?.[Symbol.asyncDispose]();
    await target?.[Symbol.asyncDispose]();
  });
  beforeEach((context) => skipWhenMissing(context, missing));

  const invoke = async (args: string): Promise<ToolAnswer> =>
    (await program.call("tool", {
      main: "org.apache.kafka.tools.TransactionsCommand",
      args: ["--bootstrap-server", target.address, ...args.split(" ")],
    })) as ToolAnswer;
  const run = async (args: string): Promise<readonly Row[]> => {
    const { status, stdout, stderr } = await invoke(args);
    expect(status, `${args}\n${stdout}${stderr}`).toBe(0);
    return rowsOf(stdout);
  };
  const runFailing = async (args: string): Promise<string> => {
    const { status, stdout, stderr } = await invoke(args);
    expect(status, `${args}\n${stdout}`).not.toBe(0);
    return stdout + stderr;
  };
  const transact = async (name: string, end: "commit" | "abort" | "open"): Promise<void> =>
    await program.transact({ producer: name, transactionalId: name, topic, records: [[1, `by ${name}`]], end });
  /** Up to where a reader of committed records reads. */
  const lastStableOffset = async (partitionIndex: number): Promise<number> => {
    const partitions = [{ partitionIndex, timestamp: -1 }];
    const { topics } = await ask(target.port, listOffsets, 7, {
      replicaId: -1,
      isolationLevel: 1,
      topics: [{ name: topic, partitions }],
    });
    return topics[0]?.partitions[0]?.offset ?? Number.NaN;
  };
  /** Version 11 is the last whose producers name their partitions themselves; this one does not. */
  const sendUnnamed = async (producer: Producer): Promise<void> => {
    const records = encodeBatch({
      records: [{ timestamp: Date.now() - hangingForMs, value: Buffer.from("hangs") }],
      ...producer.identity,
      baseSequence: 0,
      isTransactional: true,
    });
    const { responses } = await client.request(produce, 11, {
      transactionalId: producer.transactionalId,
      acks: -1,
      timeoutMs: 30_000,
      topicData: [{ name: topic, partitionData: [{ index: 0, records }] }],
    });
    expect(responses[0]?.partitionResponses[0]?.errorCode).toBe(ErrorCode.NONE);
  };

  const step = stepsOf("kafka-transactions");

  step("list and describe tell of transactions that are committed, aborted and open", async () => {
    await transact("committed", "commit");
    await transact("aborted", "abort");
    await transact("open", "open");
    const listed = await run("list");
    const states = Object.fromEntries(listed.map((row) => [row["TransactionalId"], row["TransactionState"]]));
    expect(states).toEqual({ committed: "CompleteCommit", aborted: "CompleteAbort", open: "Ongoing" });
    const [open] = await run("describe --transactional-id open");
    expect(open).toMatchObject({ TransactionalId: "open", TransactionState: "Ongoing", TopicPartitions: `${topic}-1` });
    expect(open?.["TransactionTimeoutMs"]).toBe("60000");
    expect(Number(open?.["TransactionDurationMs"])).toBeGreaterThanOrEqual(0);
    expect(open?.["ProducerId"]).toBe(listed.find((row) => row["TransactionalId"] === "open")?.["ProducerId"]);
    const [committed] = await run("describe --transactional-id committed");
    expect(committed).toMatchObject({ TransactionState: "CompleteCommit", TopicPartitions: "" });
    expect(await runFailing("describe --transactional-id nobody")).toContain("nobody");
  });

  step("describe-producers tells where a transaction begins", async () => {
    const rows = await run(`describe-producers --topic ${topic} --partition 1`);
    const starts = rows.map((row) => row["CurrentTransactionStartOffset"]);
    // Two transactions with their markers lie before the open one.
    expect(starts.toSorted()).toEqual(["4", "None", "None"]);
    // A marker of a newer epoch leaves no sequence behind.
    expect(rows.map((row) => row["LastSequence"]).toSorted()).toEqual(["-1", "-1", "0"]);
    expect(await lastStableOffset(1)).toBe(4);
  });

  step("find-hanging finds no transaction that its coordinator will end", async () => {
    expect(await run(`find-hanging --topic ${topic} --max-transaction-timeout 0`)).toEqual([]);
  });

  step("find-hanging finds the one whose partition was not named", async () => {
    const producer = new Producer(client, "hanging");
    const { errorCode, ...identity } = await producer.init();
    expect(errorCode).toBe(ErrorCode.NONE);
    producer.identity = hanging = { producerId: identity.producerId, producerEpoch: identity.producerEpoch };
    await sendUnnamed(producer);
    expect(await lastStableOffset(0)).toBe(0);
    const rows = await run(`find-hanging --topic ${topic}`);
    expect(rows).toHaveLength(1);
    expect(rows[0]).toMatchObject({
      Topic: topic,
      Partition: "0",
      ProducerId: `${hanging.producerId}`,
      ProducerEpoch: `${hanging.producerEpoch}`,
      CoordinatorEpoch: "-1",
      StartOffset: "0",
      "Duration(min)": "60",
    });
    // What a coordinator knows of is left alone.
    expect(await run(`find-hanging --topic ${topic} --partition 1 --max-transaction-timeout 0`)).toEqual([]);
  });

  step("abort ends it, and readers go on", async () => {
    expect(await runFailing(`abort --topic ${topic} --partition 0 --start-offset 7`)).toContain(
      "Could not find any open",
    );
    await run(`abort --topic ${topic} --partition 0 --start-offset 0`);
    expect(await lastStableOffset(0)).toBe(2);
    expect(await run(`find-hanging --topic ${topic}`)).toEqual([]);
    const [producer] = await run(`describe-producers --topic ${topic} --partition 0`);
    expect(producer).toMatchObject({ ProducerId: `${hanging.producerId}`, CurrentTransactionStartOffset: "None" });
    expect(await runFailing(`abort --topic ${topic} --partition 0 --start-offset 0`)).toContain(
      "Could not find any open",
    );
  });

  step("a restart ends it with Millrace, and does not with Apache Kafka", async () => {
    const producer = new Producer(client, "hanging-too");
    const { producerId, producerEpoch } = await producer.init();
    producer.identity = { producerId, producerEpoch };
    await sendUnnamed(producer);
    expect(await lastStableOffset(0)).toBe(2);
    await target.stop();
    await target.start();
    // Millrace's coordinator looks when it has loaded what it knows, and it knows nothing of this one.
    const isEnded = target.name !== "kafka";
    if (isEnded) await waitUntil("the transaction is aborted", async () => (await lastStableOffset(0)) === 4);
    expect(await run(`find-hanging --topic ${topic}`)).toHaveLength(isEnded ? 0 : 1);
    expect(await lastStableOffset(0)).toBe(isEnded ? 4 : 2);
  });
});

/** Columns are separated by tabs and padded; the first line names them. */
function rowsOf(table: string): readonly Row[] {
  const [heading = [], ...rows] = table
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => line.split("\t").map((cell) => cell.trim()));
  return rows.map((cells) => Object.fromEntries(heading.map((name, index) => [name, cells[index] ?? ""])));
}
