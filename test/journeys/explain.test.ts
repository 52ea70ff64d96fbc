import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { errorName, ErrorCode } from "kafka-protocol-ts/errors";
import { offsetCommit } from "kafka-protocol-ts/messages/08-offset-commit";
import { consumerGroupHeartbeat } from "kafka-protocol-ts/messages/68-consumer-group-heartbeat";
import { explain } from "kafka-protocol-ts/messages/10000-explain";
import type { Explanation } from "@millrace/client";
import { encodeBatch } from "kafka-protocol-ts/records/record";
import { consumerProtocolAssignment } from "kafka-protocol-ts/internal/consumer-protocol";
import { ByteWriter } from "kafka-protocol-ts/writer";
import { textOf } from "../../cli/src/commands/explain.ts";
import { repositoryRoot } from "../house/repository.ts";
import { describe, expect, test } from "vitest";
import { createTopic, deleteBefore, produceTo } from "./calls.ts";
import { batchOf } from "./fixture.ts";
import { coordinatorOf, Member } from "./members.ts";
import type { RawClient } from "./raw-client.ts";
import { simulated } from "./simulated.ts";
import type { SimulatedBroker } from "./simulated.ts";
import { TransactionalProducer } from "./transactional.ts";

/* Each situation that somebody asks about, and the sentence that tells why. In virtual time, so the durations are exact. */

const config = {
  "group.initial.rebalance.delay.ms": "0",
  "offsets.topic.num.partitions": "1",
  "transaction.state.log.num.partitions": "1",
};
const { NONE } = ErrorCode;

async function explained(client: RawClient, kind: Explanation["kind"], name: string): Promise<Explanation> {
  const { errorCode, errorMessage, explanation } = await client.request(explain, 0, { kind, name });
  expect(errorMessage).toBeNull();
  expect(errorCode).toBe(NONE);
  return JSON.parse(explanation) as Explanation;
}

/**
 * What is printed stands on the page of explanations, but for times and ports. `REWRITE_PAGE=1` writes it there: read the diff before
 * it is kept.
 */
function expectOnPage(explanation: Explanation): void {
  const { kind, name } = explanation;
  const path = join(repositoryRoot, "docs/explain.md");
  const page = readFileSync(path, "utf8");
  const block = new RegExp(`(^\\$ npm run millrace -- explain ${kind} ${name}\n\n)([\\s\\S]*?)(?=^\`\`\`$)`, "m");
  const printed = textOf(JSON.parse(normalised(JSON.stringify(explanation))) as Explanation);
  if (process.env["REWRITE_PAGE"] === "1") {
    writeFileSync(
      path,
      page.replace(block, (_, command: string) => `${command}${printed}`),
    );
    return;
  }
  expect(block.exec(page)?.[2], "docs/explain.md").toBe(printed);
}

function normalised(text: string): string {
  const numbers = new Map<string, string>();
  return text
    .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, "2026-01-31T12:00:00.000Z")
    .replaceAll(/127\.0\.0\.1:\d+/g, "127.0.0.1:9092")
    .replaceAll(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, (uuid) => {
      const number = numbers.get(uuid) ?? String(numbers.size + 1);
      numbers.set(uuid, number);
      return number;
    });
}

/** All its reasons as one text. */
async function whyOf(client: RawClient, kind: Explanation["kind"], name: string): Promise<string> {
  return (await explained(client, kind, name)).reasons.join("\n");
}

const pauseOf = (it: SimulatedBroker) => (): Promise<void> => it.clock.advance(20);

async function started(it: SimulatedBroker, id = "payments", timeoutMs = 60_000): Promise<TransactionalProducer> {
  const producer = new TransactionalProducer(await it.client(), id, pauseOf(it));
  expect(await producer.init({ timeoutMs })).toBe(NONE);
  return producer;
}

function assignmentOf(topic: string, ...partitions: number[]): string {
  const writer = new ByteWriter();
  writer.int16(0);
  const assignment = { assignedPartitions: [{ topic, partitions }], userData: Buffer.alloc(0) };
  consumerProtocolAssignment.write(writer, assignment, 0);
  // All of it is ASCII.
  return writer.toBuffer().toString();
}

/** A leader that has orders-0, alone in its generation. */
async function alone(it: SimulatedBroker, groupId: string, clientId = "raw"): Promise<Member> {
  const client = await it.client(clientId);
  await coordinatorOf(client, groupId, pauseOf(it));
  const member = new Member(client, groupId);
  await expectAnswer(it, member.enter());
  expect(await member.sync({ [member.memberId]: assignmentOf("orders", 0) })).toMatchObject({ errorCode: NONE });
  return member;
}

/** Lets the broker's timers of no length run. */
async function expectAnswer(it: SimulatedBroker, asked: Promise<{ readonly errorCode: number }>): Promise<void> {
  await it.clock.advance(1);
  expect((await asked).errorCode).toBe(NONE);
}

async function commit(client: RawClient, groupId: string, offset: number, as?: Member): Promise<number> {
  const { topics } = await client.request(offsetCommit, 8, {
    groupId,
    generationIdOrMemberEpoch: as?.generation ?? -1,
    memberId: as?.memberId ?? "",
    topics: [{ name: "orders", partitions: [{ partitionIndex: 0, committedOffset: offset, committedMetadata: "" }] }],
  });
  return topics[0]!.partitions[0]!.errorCode;
}

describe("a classic group", () => {
  test("whose member is silent, and is removed then", async () => {
    await using it = await simulated({ config });
    await using client = await it.client();
    await createTopic(client, "orders");
    const member = await alone(it, "readers");
    expect(await whyOf(client, "group", "readers")).toMatch(/^Nothing is stuck: /);
    await it.clock.advance(20_000);
    const silent = await explained(client, "group", "readers");
    expect(silent.reasons).toEqual([
      `Nothing was heard of ${member.memberId} (client raw at /127.0.0.1) for 20 s. It is removed in 10 s (its session timeout is 30 s), and orders-0 goes to others. Look whether that process runs and reaches the broker.`,
    ]);
    expect(silent.facts).toContainEqual(["generation", "1"]);
    await it.clock.advance(12_000);
    const empty = await explained(client, "group", "readers");
    expect(empty.summary).toBe("Empty, generation 2, 0 members, lag 0");
    expect(empty.reasons.join()).toMatch(
      new RegExp(`^Nobody is in the group.* The last one, ${member.memberId}, went at .*: was silent for 30000 ms`),
    );
    expect(empty.events.map(({ text }) => text)).toContainEqual(
      `rebalance after generation 1: ${member.memberId} was silent for 30000 ms`,
    );
  });

  test("that waits for a slow joiner, and why it rebalances", async () => {
    await using it = await simulated({ config });
    await using client = await it.client();
    await createTopic(client, "orders");
    const slow = await alone(it, "readers", "app");
    const quick = new Member(await it.client("app"), "readers");
    const joining = quick.enter();
    await it.clock.advance(12_000);
    const explanation = await explained(client, "group", "readers");
    expectOnPage(explanation);
    const { reasons, summary } = explanation;
    expect(summary).toBe("PreparingRebalance, generation 1, 2 members, lag 0");
    expect(reasons[0]).toBe(
      `The group waits for ${slow.memberId} (client app at /127.0.0.1) to join again, for 12 s now. The group goes on without it in 48 s (its max.poll.interval.ms is 1 min). A consumer joins in its next poll(): look what that process does between two polls.`,
    );
    const newcomer = /The rebalance began at \S+: (\S+) joins\./.exec(reasons.join("\n"))?.[1] ?? "";
    expect(reasons.join("\n")).toMatch(`The rebalance began at`);
    await expectAnswer(it, slow.join());
    expect((await joining).memberId).toBe(newcomer);
    expect(await whyOf(client, "group", "readers")).toMatch(
      `The group waits for the assignment by its leader ${slow.memberId}`,
    );
  });

  test("that gets nothing of what an open transaction holds back, and of an offset in a transaction", async () => {
    await using it = await simulated({ config });
    await using client = await it.client();
    await createTopic(client, "orders");
    const member = await alone(it, "readers");
    await produceTo(client, batchOf(["a", "b"]));
    const producer = await started(it);
    await producer.send(["c"]);
    expect(await commit(client, "readers", 2, member)).toBe(NONE);
    expect(await whyOf(client, "group", "readers")).toMatch(
      /^orders-0 is read up to its last stable offset 2: .* up to 3\. The transaction of payments \(producer \d+, epoch \d+\) is open in orders-0 since offset 2, for /,
    );
    expect(await producer.addOffsets("readers")).toBe(NONE);
    expect(await producer.commitOffset("readers", 3)).toBe(NONE);
    expect(await whyOf(client, "group", "readers")).toMatch(
      /^orders-0 has an offset in the open transaction of payments \(producer \d+\): .*UNSTABLE_OFFSET_COMMIT.*`millrace explain transaction payments`/m,
    );
  });

  test("whose offset the log does not have, and whose commit was refused", async () => {
    await using it = await simulated({ config });
    await using client = await it.client();
    await createTopic(client, "orders");
    const member = await alone(it, "readers");
    await produceTo(client, batchOf(["a", "b", "c"]));
    expect(await commit(client, "readers", 1, member)).toBe(NONE);
    await deleteBefore(client, { topic: "orders", partition: 0 }, 2);
    expect(await whyOf(client, "group", "readers")).toMatch(
      /^orders-0 has the offset 1 committed, and its log holds 2 to 3: .*auto\.offset\.reset/,
    );
    const late = new Member(client, "readers");
    late.memberId = member.memberId;
    expect(await commit(client, "readers", 1, late)).toBe(ErrorCode.ILLEGAL_GENERATION);
    const { reasons } = await explained(client, "group", "readers");
    expect(reasons.at(-1)).toMatch(`${member.memberId} may not commit in generation -1: illegal-generation`);
  });

  test("whose member has work and does not commit", async () => {
    await using it = await simulated({ config });
    await using client = await it.client();
    await createTopic(client, "orders");
    const member = await alone(it, "readers");
    expect(await commit(client, "readers", 0, member)).toBe(NONE);
    await produceTo(client, batchOf(["a", "b", "c"]));
    for (let beats = 0; beats < 10; beats++) {
      await it.clock.advance(9_000);
      expect(await member.beat()).toBe(NONE);
    }
    expect((await explained(client, "group", "readers")).summary).toBe("Stable, generation 1, 1 member, lag 3");
    expect(await whyOf(client, "group", "readers")).toMatch(
      /^orders-0 has a lag of 3, and \S+ \(client raw at \S+\) has committed nothing for 1 min 30 s/,
    );
  });
});

describe("a consumer group", () => {
  /** A member that says what it is told to say. */
  async function beat(
    client: RawClient,
    memberId: string,
    memberEpoch: number,
    owned: readonly { readonly topicId: string; readonly partitions: readonly number[] }[] | null = null,
  ) {
    return client.request(consumerGroupHeartbeat, 1, {
      groupId: "readers",
      memberId,
      memberEpoch,
      rebalanceTimeoutMs: memberEpoch === 0 ? 60_000 : -1,
      subscribedTopicNames: memberEpoch === 0 ? ["orders"] : null,
      topicPartitions: memberEpoch === 0 ? [] : owned,
    });
  }

  test("that waits for a member to give partitions up: who has them, who waits, and why the epoch moved", async () => {
    await using it = await simulated({ config });
    await using client = await it.client();
    const topicId = await createTopic(client, "orders", 2);
    await coordinatorOf(client, "readers", pauseOf(it));
    const first = await beat(client, "one", 0);
    expect(first).toMatchObject({ errorCode: NONE, memberEpoch: 2 });
    const all = [{ topicId, partitions: [0, 1] }];
    await beat(client, "one", first.memberEpoch, all);
    await it.clock.advance(2_000);
    expect((await beat(client, "two", 0)).errorCode).toBe(NONE);
    await beat(client, "one", first.memberEpoch, all);
    await it.clock.advance(5_000);
    const { summary, reasons, facts, events } = await explained(client, "group", "readers");
    expect(summary).toBe("Reconciling, epoch 3, 2 members, lag 0");
    expect(facts).toContainEqual(["assignment epoch", "3"]);
    expect(reasons.slice(0, 2)).toEqual([
      expect.stringMatching(
        /^one \(client raw at \S+\) has to give up orders-[01] and has not said that it did, for 5 s now\. It is removed in 55 s otherwise/,
      ),
      expect.stringMatching(/^two \(client raw at \S+\) waits for orders-[01], which one still has\.$/),
    ]);
    expect(reasons[2]).toMatch(/^Epoch 3 began at \S+: .*two/);
    expect(events.map(({ text }) => text).join("\n")).toMatch(/one must give up 1 partitions within 60000 ms/);
  });

  test("whose member comes with an epoch that is over is fenced", async () => {
    await using it = await simulated({ config });
    await using client = await it.client();
    await createTopic(client, "orders", 2);
    await coordinatorOf(client, "readers", pauseOf(it));
    await beat(client, "one", 0);
    expect((await beat(client, "one", 99)).errorCode).toBe(ErrorCode.FENCED_MEMBER_EPOCH);
    expect(await whyOf(client, "group", "readers")).toMatch(/one fenced: member epoch 99 is ahead of 2/);
  });
});

describe("a transaction", () => {
  test("that is open, and holds a partition", async () => {
    await using it = await simulated({ config });
    await using client = await it.client();
    await createTopic(client, "orders");
    const producer = await started(it);
    const { producerId, producerEpoch } = producer;
    await producer.send(["a"]);
    await it.clock.advance(15_000);
    const transaction = await explained(client, "transaction", "payments");
    expect(transaction.summary).toBe(`Ongoing for 15 s, producer ${producerId} with epoch ${producerEpoch}`);
    expect(transaction.reasons).toEqual([
      "It is open for 15 s: consumers with isolation.level=read_committed do not get behind its first record in orders-0. It ends when its producer commits or aborts it; otherwise it is aborted in 45 s (its transaction.timeout.ms is 1 min).",
    ]);
    const partition = await explained(client, "partition", "orders-0");
    expectOnPage(partition);
    expect(partition.summary).toBe("offsets 0 to 1, 1 offset held back by 1 open transaction");
    expect(partition.reasons).toEqual([
      "The last stable offset stands at 0, and the high watermark at 1: consumers with isolation.level=read_committed see nothing from 0 on.",
      `The transaction of payments (producer ${producerId}, epoch ${producerEpoch}) is open in orders-0 since offset 0, for 15 s. It ends when its producer commits or aborts it; otherwise it is aborted in 45 s (its transaction.timeout.ms is 1 min).`,
    ]);
    expect(await whyOf(client, "producer", String(producerId))).toBe(partition.reasons[1]);
    await it.clock.advance(50_000);
    expect(await whyOf(client, "transaction", "payments")).toMatch(
      /its transaction was aborted, since it was open for its timeout of 60000 ms/,
    );
    expect(await whyOf(client, "partition", "orders-0")).toMatch(/^Nothing is held back/);
  });

  test("of a producer that another process fenced", async () => {
    await using it = await simulated({ config });
    await using client = await it.client();
    await createTopic(client, "orders");
    const old = await started(it);
    await old.send(["a"]);
    const young = await started(it);
    expect(errorName((await old.send(["b"])).errorCode)).toBe("INVALID_PRODUCER_EPOCH");
    expect(await old.end("commit")).toBe(ErrorCode.PRODUCER_FENCED);
    const explanation = await explained(client, "transaction", "payments");
    expectOnPage(explanation);
    const { reasons, events } = explanation;
    expect(reasons.join("\n")).toMatch(
      /its open transaction was aborted, since another producer began with its transactional id\. .*give each its own/,
    );
    expect(reasons.join("\n")).toMatch(
      `a producer was fenced: EndTxn of producer ${old.producerId} with epoch ${old.producerEpoch}: it is ${young.producerId} with ${young.producerEpoch} now`,
    );
    expect(events.map(({ text }) => text).join("\n")).toMatch("refused a batch of producer");
    const producer = await whyOf(client, "producer", "payments");
    expect(producer).toMatch(
      new RegExp(
        `orders-0 refused a batch of epoch ${old.producerEpoch}: .*older.*payments has epoch ${young.producerEpoch} now`,
      ),
    );
  });

  test("that is decided, and whose marker cannot be written", async () => {
    await using it = await simulated({ config: { ...config, "log.dirs": "/data/a,/data/b" } });
    await using client = await it.client();
    // Partitions go to the directories in turn.
    await createTopic(client, "orders", 4);
    const producer = await started(it);
    expect((await producer.send(["a"], { partition: 1 })).errorCode).toBe(NONE);
    it.disk.faults.failNextSync({ matches: (path) => path.startsWith("/data/b/") });
    expect((await produceTo(client, batchOf(["b"]), { partition: 3 })).errorCode).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
    expect(await producer.end("commit")).toBe(NONE);
    await it.clock.advance(5_000);
    const { summary, reasons } = await explained(client, "transaction", "payments");
    expect(summary).toMatch(/^PrepareCommit, .* 1 marker still to be written$/);
    expect(reasons[1]).toMatch(
      /^orders-1 lacks its marker: the partition takes no records: .*; tried \d+ times in 5 s\. `millrace explain partition orders-1` says more/,
    );
    const partition = await explained(client, "partition", "orders-1");
    expect(partition).toMatchObject({ summary: "offline", facts: [["state", "offline"]] });
    expect(partition.reasons[0]).toMatch(/^orders-1 is offline: /);
  });

  test("that hangs: nobody will end it, and the command that does is named", async () => {
    await using it = await simulated({ config: { ...config, "transaction.partition.verification.enable": "false" } });
    await using client = await it.client();
    await createTopic(client, "to-be-read");
    const producer = await started(it);
    expect((await producer.send(["a"], { topic: "to-be-read", version: 11 })).errorCode).toBe(NONE);
    const reasons = await whyOf(client, "partition", "to-be-read-0");
    expect(reasons).toMatch(
      /its coordinator does not know that it wrote here: it is hanging, and nothing will end it\./,
    );
    expect(reasons).toMatch(
      `Abort it: kafka-transactions.sh --bootstrap-server 127.0.0.1:${it.broker.address.port} abort --topic to-be-read --partition 0 --start-offset 0`,
    );
  });
});

test("a producer whose batch is missing", async () => {
  await using it = await simulated({ config });
  await using client = await it.client();
  await createTopic(client, "orders");
  const batch = (baseSequence: number): Buffer =>
    encodeBatch({
      records: [{ value: Buffer.from("a"), timestamp: 1_700_000_000_000 }],
      ...{ producerId: 77, producerEpoch: 0, baseSequence },
    });
  expect((await produceTo(client, batch(0))).errorCode).toBe(NONE);
  expect((await produceTo(client, batch(5))).errorCode).toBe(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER);
  const explanation = await explained(client, "producer", "77");
  expectOnPage(explanation);
  const { summary, reasons, facts, events } = explanation;
  expect(summary).toBe("remembered by 1 partition, no transaction open, 1 batch refused lately");
  expect(reasons[0]).toMatch(/orders-0 refused a batch of epoch 0: producer 77: .*A batch before it is missing/);
  expect(facts).toContainEqual(["orders-0", expect.stringMatching(/^epoch 0, last sequence 0, last record of /)]);
  expect(events).toHaveLength(1);
});

test("a partition that waits for its disk", async () => {
  await using it = await simulated({ config });
  await using client = await it.client();
  await using asking = await it.client();
  await createTopic(client, "orders");
  const release = it.disk.faults.holdSyncs();
  const producing = produceTo(client, batchOf(["a"]));
  await it.settle();
  expect(await whyOf(asking, "partition", "orders-0")).toMatch(/^1 offset behind the high watermark wait for the disk/);
  release();
  await it.settle();
  expect((await producing).errorCode).toBe(NONE);
});

test.for([
  ["group", "nobody", ErrorCode.GROUP_ID_NOT_FOUND, "there is no group nobody"],
  ["group", "", ErrorCode.INVALID_GROUP_ID, /group/i],
  ["transaction", "nobody", ErrorCode.TRANSACTIONAL_ID_NOT_FOUND, /transactional id nobody/],
  [
    "producer",
    "nobody",
    ErrorCode.TRANSACTIONAL_ID_NOT_FOUND,
    "nobody is neither a producer id nor a transactional id",
  ],
  ["producer", "4711", ErrorCode.UNKNOWN_PRODUCER_ID, /^no partition remembers producer 4711/],
  ["partition", "nowhere-0", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "there is no topic nowhere"],
  ["partition", "orders-7", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "topic orders has 1 partition, numbered from 0"],
  ["partition", "orders", ErrorCode.INVALID_REQUEST, /^"orders" is not a partition/],
  [
    "weather",
    "here",
    ErrorCode.INVALID_REQUEST,
    '"weather" cannot be explained: group, producer, transaction, partition can',
  ],
] as const)("what is not there is told by name: %s %s", async ([kind, name, errorCode, message]) => {
  await using it = await simulated({ config });
  await using client = await it.client();
  await createTopic(client, "orders");
  await coordinatorOf(client, "other", pauseOf(it));
  await started(it, "other");
  const answer = await client.request(explain, 0, { kind, name });
  expect(answer).toMatchObject({ errorCode, explanation: "", errorMessage: expect.stringMatching(message) });
});
