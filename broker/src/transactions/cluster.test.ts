import { must } from "@millrace/base/assert";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { findCoordinator } from "kafka-protocol-ts/messages/10-find-coordinator";
import { initProducerId } from "kafka-protocol-ts/messages/22-init-producer-id";
import { addPartitionsToTxn } from "kafka-protocol-ts/messages/24-add-partitions-to-txn";
import { endTxn } from "kafka-protocol-ts/messages/26-end-txn";
import { writeTxnMarkers } from "kafka-protocol-ts/messages/27-write-txn-markers";
import { describeTransactions } from "kafka-protocol-ts/messages/65-describe-transactions";
import { describe, expect, test } from "vitest";
import type { RequestContext } from "../apis/handler.ts";
import type { Partition } from "../partitions/partition.ts";
import { findingsOf } from "../../test/transaction-findings.ts";
import type { Told } from "../../test/transaction-findings.ts";
import { internalTopics, TestCluster } from "../../test/test-cluster.ts";
import { TestProducer } from "../../test/transactional-producer.ts";
import type { ProducerVersion } from "../../test/transactional-producer.ts";
import type { Outcome } from "./transaction.ts";

/* Coordinators of transactions and groups on several brokers, which lead, lose and get partitions while transactions run. */

const { transactionsTopic, offsetsTopic } = internalTopics;

/** The transactional id is coordinated by broker 1; its partitions are led by 1, 2 and 3, the offsets by 2. */
const topics = { [transactionsTopic]: [1], [offsetsTopic]: [2], orders: [1, 2, 3] };
const settings = { "transaction.state.log.num.partitions": "1", "offsets.topic.num.partitions": "1" };
const open = (): Promise<TestCluster> => TestCluster.open({ topics, settings });

const versions: readonly ProducerVersion[] = [1, 2];

/** Transactions of one producer, and what it was told of each. */
class Story {
  readonly cluster: TestCluster;
  readonly producer: TestProducer;
  readonly told = new Map<string, Told>();
  #count = 0;

  constructor(cluster: TestCluster, version: ProducerVersion) {
    this.cluster = cluster;
    this.producer = new TestProducer(cluster, "t", version);
  }

  static async begin(version: ProducerVersion): Promise<Story> {
    const story = new Story(await open(), version);
    await story.cluster.run(story.producer.init());
    return story;
  }

  /** Records in every partition, and an offset. */
  async write(): Promise<string> {
    const name = `t${++this.#count}`;
    const { cluster, producer } = this;
    for (const partition of [0, 1, 2]) await cluster.run(producer.send("orders", partition, name));
    await cluster.run(producer.commitOffset("g", "orders", this.#count));
    return name;
  }

  async end(name: string, outcome: Outcome): Promise<void> {
    this.told.set(name, { outcome, places: ["orders-0", "orders-1", "orders-2", `${offsetsTopic}-0`] });
    await this.producer.end(outcome);
  }

  async findings(): Promise<readonly string[]> {
    await this.cluster.run(this.producer.settled());
    // What still travels arrives.
    await this.cluster.clock.advance(5_000);
    return findingsOf(this.cluster, this.told);
  }
}

/** Where a commit stands when something moves: each calls `now` once, at that moment. */
const steps: Readonly<Record<string, (cluster: TestCluster, now: () => void) => void>> = {
  "before the end is asked for": (_cluster, now) => now(),
  "when its decision is appended": (cluster, now) => onAppend(cluster, 1, now),
  "when its decision is committed": (cluster, now) => onCommit(cluster, 1, now),
  "when the first markers are sent": (cluster, now) => {
    cluster.fateOf = ({ api }) => {
      if (api === "WriteTxnMarkers") queueMicrotask(now);
      return "arrives";
    };
  },
  "when the first markers are lost": (cluster, now) => {
    let count = 0;
    cluster.fateOf = ({ api }) => {
      if (api !== "WriteTxnMarkers") return "arrives";
      queueMicrotask(now);
      return ++count === 1 ? "is lost" : "arrives";
    };
  },
  "when the first markers are written": (cluster, now) => {
    cluster.onDone = ({ api }) => void (api === "WriteTxnMarkers" && now());
  },
  "when the first markers are written and their answer is lost": (cluster, now) => {
    let count = 0;
    cluster.fateOf = ({ api }) => (api === "WriteTxnMarkers" && ++count === 1 ? "answer is lost" : "arrives");
    cluster.onDone = ({ api }) => void (api === "WriteTxnMarkers" && now());
  },
  "when the last markers are written": (cluster, now) => {
    let count = 0;
    cluster.onDone = ({ api }) => void (api === "WriteTxnMarkers" && ++count === 2 && now());
  },
  "when every answer to markers is lost": (cluster, now) => {
    let count = 0;
    cluster.fateOf = ({ api }) => (api === "WriteTxnMarkers" && ++count <= 2 ? "answer is lost" : "arrives");
    cluster.onDone = ({ api }) => void (api === "WriteTxnMarkers" && count === 2 && now());
  },
  "when its completion is appended": (cluster, now) => onAppend(cluster, 2, now),
  "when its completion is committed": (cluster, now) => onCommit(cluster, 2, now),
};

/** What moves. */
const moves: Readonly<Record<string, (cluster: TestCluster) => void>> = {
  "its coordinator moves": (cluster) => cluster.move(transactionsTopic, 0, 2),
  "its coordinator moves and the old one hears of it late": (cluster) => {
    cluster.move(transactionsTopic, 0, 3, { deaf: [1] });
    cluster.clock.schedule(500, () => cluster.broker(1).learn());
  },
  "its coordinator moves and the new one hears of it late": (cluster) => {
    cluster.move(transactionsTopic, 0, 3, { deaf: [3] });
    cluster.clock.schedule(500, () => cluster.broker(3).learn());
  },
  "its coordinator goes on in a new epoch": (cluster) => cluster.move(transactionsTopic, 0, 1),
  "its coordinator moves and comes back": (cluster) => {
    cluster.move(transactionsTopic, 0, 2);
    cluster.clock.schedule(15, () => cluster.move(transactionsTopic, 0, 1));
  },
  "nobody coordinates it for a while": (cluster) => {
    cluster.move(transactionsTopic, 0, -1);
    cluster.clock.schedule(700, () => cluster.move(transactionsTopic, 0, 1));
  },
  "its coordinator crashes": (cluster) => {
    cluster.broker(1).crash();
    cluster.move(transactionsTopic, 0, 3);
    cluster.move("orders", 0, 2);
  },
  "a partition moves to another broker": (cluster) => cluster.move("orders", 1, 3),
  "a partition moves to the coordinator": (cluster) => cluster.move("orders", 2, 1),
  "a partition of the coordinator moves away": (cluster) => cluster.move("orders", 0, 3),
  "a partition moves and the coordinator hears of it late": (cluster) => {
    cluster.move("orders", 1, 3, { deaf: [1] });
    cluster.clock.schedule(500, () => cluster.broker(1).learn());
  },
  "a partition moves and its new leader hears of it late": (cluster) => {
    cluster.move("orders", 1, 3, { deaf: [3] });
    cluster.clock.schedule(500, () => cluster.broker(3).learn());
  },
  "nobody leads a partition for a while": (cluster) => {
    cluster.move("orders", 1, -1);
    cluster.clock.schedule(700, () => cluster.move("orders", 1, 2));
  },
  "a broker with partitions crashes": (cluster) => {
    cluster.broker(2).crash();
    cluster.move("orders", 1, 1);
    cluster.move(offsetsTopic, 0, 3);
  },
  "the group's coordinator moves": (cluster) => cluster.move(offsetsTopic, 0, 3),
  "the group's coordinator goes on in a new epoch": (cluster) => cluster.move(offsetsTopic, 0, 2),
  "the group's coordinator moves to the one of the transaction": (cluster) => cluster.move(offsetsTopic, 0, 1),
  "everything moves": (cluster) => {
    cluster.move("orders", 0, 2);
    cluster.move(transactionsTopic, 0, 3);
    cluster.move("orders", 1, 3);
    cluster.move(offsetsTopic, 0, 1);
    cluster.move("orders", 2, 1);
  },
};

/** The nth append to the log of the transactional id from now on. */
function onAppend(cluster: TestCluster, nth: number, now: () => void): void {
  const { log } = cluster.place(transactionsTopic, 0);
  const append = log.append.bind(log);
  let count = 0;
  log.append = (...given) => {
    const appended = append(...given);
    count += 1;
    if (count === nth) queueMicrotask(now);
    return appended;
  };
}

function onCommit(cluster: TestCluster, nth: number, now: () => void): void {
  onAppend(cluster, nth, () => {
    const { log } = cluster.place(transactionsTopic, 0);
    const end = log.logEndOffset;
    const look = (): void => {
      if (log.durableOffset >= end) now();
      else cluster.clock.afterTurn(look);
    };
    look();
  });
}

const everyMove = Object.entries(moves).flatMap(([what, move]) =>
  Object.entries(steps).map(([when, at]) => ({ what, move, when, at })),
);

describe.for(versions)("version %i", (version) => {
  test.for(everyMove.map((each, at) => ({ ...each, isCommit: (at + version) % 2 === 0 })))(
    "$what $when",
    async ({ move, at, isCommit }) => {
      const story = await Story.begin(version);
      const { cluster, producer } = story;
      const [outcome, other] = isCommit ? (["commit", "abort"] as const) : (["abort", "commit"] as const);
      const name = await story.write();
      let hasMoved = false;
      at(cluster, () => {
        if (!hasMoved) move(cluster);
        hasMoved = true;
      });
      await cluster.run(story.end(name, outcome));
      await cluster.run(producer.settled());
      expect(hasMoved).toBe(true);
      // The one after it ends in the other way: a marker that comes late would show.
      const next = await story.write();
      await cluster.run(story.end(next, other));
      const last = await story.write();
      await cluster.run(story.end(last, outcome));
      expect(await story.findings()).toEqual([]);
    },
  );
});

describe.for(versions)("version %i", (version) => {
  test("a transaction ends in the same way on all brokers, and what is led here goes over no connection", async () => {
    const story = await Story.begin(version);
    for (const outcome of ["commit", "abort", "commit"] as const) {
      const name = await story.write();
      await story.cluster.run(story.end(name, outcome));
      await story.cluster.run(story.producer.settled());
    }
    expect(await story.findings()).toEqual([]);
    const apis = new Set(story.cluster.passed.map(({ from, to, api }) => `${api} from ${from} to ${to}`));
    expect([...apis].toSorted()).toEqual([
      "AddPartitionsToTxn from 2 to 1",
      "AddPartitionsToTxn from 3 to 1",
      "WriteTxnMarkers from 1 to 2",
      "WriteTxnMarkers from 1 to 3",
    ]);
  });

  test("markers of a coordinator that was replaced, and that come after the next transaction has begun, end nothing", async () => {
    const story = await Story.begin(version);
    const { cluster, producer } = story;
    const name = await story.write();
    cluster.fateOf = ({ from, api }) => (api === "WriteTxnMarkers" && from === 1 ? "is late" : "arrives");
    const ended = cluster.run(story.end(name, "commit"));
    await cluster.clock.runUntil(() => cluster.late.length >= 2, { withinMs: 5_000 });
    cluster.move(transactionsTopic, 0, 3);
    await ended;
    await cluster.run(producer.settled());
    const next = await story.write();
    for (const arrive of cluster.late) await arrive();
    await cluster.run(story.end(next, "abort"));
    expect(await story.findings()).toEqual([]);
  });

  test("a partition that nobody leads, or whose leader is away, keeps the transaction from its completion and is tried on", async () => {
    const story = await Story.begin(version);
    const { cluster, producer } = story;
    const name = await story.write();
    cluster.move("orders", 1, -1);
    cluster.fateOf = ({ to }) => (to === 3 ? "is lost" : "arrives");
    await cluster.run(story.end(name, "commit"));
    await cluster.clock.advance(30_000);
    const { coordinator } = cluster.broker(1).coordinators.transactions;
    expect(coordinator.pendingMarkers("t")).toMatchObject([
      { topic: "orders", partition: 1, failure: "not-leader" },
      { topic: "orders", partition: 2, failure: "unreachable" },
    ]);
    cluster.fateOf = () => "arrives";
    cluster.move("orders", 1, 1);
    expect(await cluster.run(producer.settled())).toBe("CompleteCommit");
    expect(await story.findings()).toEqual([]);
  });

  test("a producer that was fenced is told so by every broker", async () => {
    const story = await Story.begin(version);
    const { cluster, producer } = story;
    const successor = new TestProducer(cluster, "t", version);
    await cluster.run(successor.init());
    for (const partition of [0, 1, 2])
      await expect(cluster.run(producer.send("orders", partition, "old"))).rejects.toThrow(
        version === 1 ? "PRODUCER_FENCED" : "INVALID_PRODUCER_EPOCH",
      );
    await expect(cluster.run(producer.commitOffset("g", "orders", 9))).rejects.toThrow(
      version === 1 ? "PRODUCER_FENCED" : "INVALID_PRODUCER_EPOCH",
    );
    expect(await findingsOf(cluster, story.told)).toEqual([]);
  });
});

test("a marker of version 2 that comes late from the same coordinator does not end the transaction after its own", async () => {
  const story = await Story.begin(2);
  const { cluster, producer } = story;
  const name = await story.write();
  let count = 0;
  cluster.fateOf = ({ api }) => (api === "WriteTxnMarkers" && ++count <= 2 ? "is late" : "arrives");
  await cluster.run(story.end(name, "commit"));
  await cluster.run(producer.settled());
  const next = await story.write();
  for (const arrive of cluster.late) await arrive();
  await cluster.run(story.end(next, "abort"));
  expect(await story.findings()).toEqual([]);
});

test("records and offsets that are sent while the markers of the transaction before travel are let in after them", async () => {
  const story = await Story.begin(2);
  story.cluster.latencyMs = 5;
  for (const outcome of ["commit", "abort", "commit"] as const)
    await story.cluster.run(story.write().then((name) => story.end(name, outcome)));
  expect(await story.findings()).toEqual([]);
});

test("offsets that come first, while the marker of the transaction before travels to their partition, are let in after it", async () => {
  const story = await Story.begin(2);
  const { cluster, producer } = story;
  const name = await story.write();
  cluster.latencyMs = 5;
  await cluster.run(story.end(name, "abort"));
  await cluster.run(producer.commitOffset("g", "orders", 7));
  story.told.set("t7", { outcome: "commit", places: [`${offsetsTopic}-0`] });
  await cluster.run(producer.end("commit"));
  expect(await story.findings()).toEqual([]);
});

test("offsets that were let in before the group's partition was away for a moment are not taken, and are committed again", async () => {
  const story = await Story.begin(2);
  const { cluster, producer } = story;
  let asked = 0;
  cluster.onDone = ({ api }) => {
    if (api !== "AddPartitionsToTxn" || ++asked > 1) return;
    cluster.move(offsetsTopic, 0, 3);
    cluster.move(offsetsTopic, 0, 2);
  };
  await cluster.run(producer.commitOffset("g", "orders", 7));
  expect(asked).toBe(2);
  story.told.set("t7", { outcome: "commit", places: [`${offsetsTopic}-0`] });
  await cluster.run(producer.end("commit"));
  expect(await story.findings()).toEqual([]);
});

test("a broker that asks for a transaction which is being ended is told so at once: others wait behind it", async () => {
  const story = await Story.begin(2);
  const { cluster, producer } = story;
  const name = await story.write();
  cluster.fateOf = () => "is lost";
  await cluster.run(story.end(name, "commit"));
  const { producerId, producerEpoch } = producer;
  for (const verifyOnly of [false, true]) {
    const topicsAsked = [{ name: "orders", partitions: [1] }];
    const transaction = { transactionalId: "t", producerId, producerEpoch, verifyOnly, topics: topicsAsked };
    const askedMs = cluster.clock.monotonicMs();
    const answer = await cluster.run(cluster.call(1, addPartitionsToTxn, 5, { transactions: [transaction] }));
    expect(cluster.clock.monotonicMs()).toBe(askedMs);
    const [result] = answer.resultsByTransaction[0]?.topicResults[0]?.resultsByPartition ?? [];
    expect(result?.partitionErrorCode).toBe(ErrorCode.CONCURRENT_TRANSACTIONS);
  }
});

test("a producer of version 1 that has not named a partition does not write to it, whoever leads it", async () => {
  const story = await Story.begin(1);
  const { cluster, producer } = story;
  await cluster.run(producer.send("orders", 1, "t1"));
  for (const partition of [0, 2])
    await expect(cluster.run(producer.sendUnnamed("orders", partition, "t1"))).rejects.toThrow("TRANSACTION_ABORTABLE");
  story.told.set("t1", { outcome: "abort", places: ["orders-1"] });
  await cluster.run(producer.end("abort"));
  expect(await story.findings()).toEqual([]);
});

test("while its coordinator cannot be asked, nothing of a transaction is written", async () => {
  const story = await Story.begin(2);
  const { cluster, producer } = story;
  cluster.fateOf = ({ to }) => (to === 1 ? "is lost" : "arrives");
  const sent = cluster.run(producer.send("orders", 1, "t1"));
  await cluster.clock.advance(5_000);
  expect(await cluster.batches("orders", 1)).toEqual([]);
  cluster.fateOf = () => "arrives";
  await sent;
  expect(await cluster.batches("orders", 1)).toHaveLength(1);
});

test("who was let in while its partition was led by this broker is not let in when that was led elsewhere since", async () => {
  const story = await Story.begin(2);
  const { cluster, producer } = story;
  const partition = must(cluster.place("orders", 1).partition, "it is led");
  let asked = 0;
  cluster.onDone = ({ api }) => {
    if (api !== "AddPartitionsToTxn" || ++asked > 1) return;
    // It was away and is back, as one object: its guards do not know what was appended meanwhile.
    Object.defineProperty(partition, "leaderEpoch", { value: 2 });
  };
  await cluster.run(producer.send("orders", 1, "t1"));
  expect(asked).toBe(2);
});

test("what a follower has not heard the end of is not taken for an orphan", async () => {
  const story = await Story.begin(1);
  const { cluster, producer } = story;
  const name = await story.write();
  await cluster.run(story.end(name, "commit"));
  await cluster.run(producer.settled());
  const { producerId, producerEpoch } = producer;
  const behind = { producerId, epoch: producerEpoch, currentTxnFirstOffset: 0 };
  const follower = { topic: "orders", index: 2, log: { producers: () => [behind] } };
  cluster.broker(2).followed = [follower as unknown as Partition];
  cluster.move(transactionsTopic, 0, 2);
  const next = await story.write();
  await cluster.run(story.end(next, "abort"));
  expect(await story.findings()).toEqual([]);
  expect(producer.producerEpoch).toBe(producerEpoch);
});

describe("a coordinator whose partition has gone elsewhere", () => {
  const describeAt = (cluster: TestCluster, brokerId: number) =>
    cluster.call(brokerId, describeTransactions, 0, { transactionalIds: ["t"] });

  test("answers NOT_COORDINATOR, and who waited is told so at once", async () => {
    const story = await Story.begin(2);
    const { cluster, producer } = story;
    await story.write();
    cluster.fateOf = () => "is lost";
    const { producerId, producerEpoch } = producer;
    const body = { transactionalId: "t", producerId, producerEpoch };
    await cluster.run(cluster.call(1, endTxn, 5, { ...body, committed: true }));
    // It waits for the end of what was open.
    const waiting = cluster.call(1, initProducerId, 5, { transactionalId: "t", transactionTimeoutMs: 60_000 });
    await cluster.turn();
    cluster.move(transactionsTopic, 0, 3);
    // No time passes.
    await cluster.clock.settle();
    expect(await waiting).toMatchObject({ errorCode: ErrorCode.NOT_COORDINATOR });
    expect((await describeAt(cluster, 1)).transactionStates).toMatchObject([{ errorCode: ErrorCode.NOT_COORDINATOR }]);
    expect((await describeAt(cluster, 3)).transactionStates).toMatchObject([{ transactionState: "PrepareCommit" }]);
  });

  test("of groups answers NOT_COORDINATOR to whoever commits, reads or waits", async () => {
    const story = await Story.begin(2);
    const { cluster } = story;
    await story.write();
    const { coordinator } = cluster.broker(2).coordinators.groups;
    const join = {
      ...{ groupId: "g2", sessionTimeoutMs: 10_000, rebalanceTimeoutMs: 10_000, memberId: "", groupInstanceId: null },
      ...{ protocolType: "consumer", protocols: [{ name: "range", metadata: Buffer.alloc(0) }], reason: null },
    };
    const connection = { id: "1", clientHost: "127.0.0.1", listenerName: "PLAINTEXT", kind: "broker" } as const;
    const context: RequestContext = { version: 3, correlationId: 1, clientId: "c", connection };
    const waiting = coordinator.joinGroup(join, context);
    await cluster.turn();
    cluster.move(offsetsTopic, 0, 3);
    await cluster.clock.settle();
    expect(await waiting).toMatchObject({ errorCode: ErrorCode.NOT_COORDINATOR });
    const beat = { groupId: "g", generationId: 1, memberId: "m", groupInstanceId: null };
    expect(await coordinator.heartbeat(beat)).toMatchObject({ errorCode: ErrorCode.NOT_COORDINATOR });
    const group = { groupId: "g", memberId: null, memberEpoch: -1, topics: null };
    const request = { groupId: "", topics: null, groups: [group], requireStable: false };
    const fetched = await coordinator.offsetFetch(request, { ...context, version: 8 });
    expect(fetched.groups).toMatchObject([{ errorCode: ErrorCode.NOT_COORDINATOR }]);
  });

  test.for([transactionsTopic, offsetsTopic])(
    "is found where %s is led, and nowhere while nobody leads it",
    async (topic) => {
      const { cluster } = await Story.begin(2);
      const keyType = topic === transactionsTopic ? 1 : 0;
      const foundBy = async (brokerId: number): Promise<unknown> => {
        const { coordinators } = await cluster.call(brokerId, findCoordinator, 4, { keyType, coordinatorKeys: ["t"] });
        return coordinators[0];
      };
      const expected = { nodeId: 3, host: "host3", port: 9092, errorCode: ErrorCode.NONE };
      cluster.move(topic, 0, 3);
      for (const brokerId of [1, 2, 3]) expect(await foundBy(brokerId)).toMatchObject(expected);
      cluster.move(topic, 0, -1);
      for (const brokerId of [1, 3])
        expect(await foundBy(brokerId)).toMatchObject({ nodeId: -1, errorCode: ErrorCode.COORDINATOR_NOT_AVAILABLE });
    },
  );
});

test.for([transactionsTopic, offsetsTopic])(
  "nothing is coordinated when %s is deleted, and all begins anew with another one",
  async (name) => {
    const story = await Story.begin(2);
    const { cluster } = story;
    await story.write();
    const { coordinators } = cluster.broker(name === transactionsTopic ? 1 : 2);
    const { coordinator } = name === transactionsTopic ? coordinators.transactions : coordinators.groups;
    const topic = must(
      cluster.topics().find((each) => each.name === name),
      name,
    );
    expect(coordinator.isActive(0)).toBe(true);
    coordinators.apply({ changedTopics: [], deletedTopics: [topic] });
    expect(coordinator.isActive(0)).toBe(false);
    // The new one has the same leader epoch.
    coordinators.apply({ changedTopics: [topic], deletedTopics: [] });
    await cluster.clock.settle();
    expect(coordinator.isActive(0)).toBe(true);
    // A change that is not of its leader leaves it alone: nobody who waits is sent away.
    coordinators.apply({ changedTopics: [topic], deletedTopics: [] });
    expect(coordinator.isActive(0)).toBe(true);
  },
);

describe("WriteTxnMarkers", () => {
  const write = async (cluster: TestCluster, topic: string, index: number, coordinatorEpoch: number) => {
    const marker = { producerId: 7, producerEpoch: 1, transactionResult: false, coordinatorEpoch };
    const topics = [{ name: topic, partitionIndexes: [index] }];
    const answer = cluster.call(1, writeTxnMarkers, 2, { markers: [{ ...marker, topics }] });
    return (await cluster.run(answer)).markers[0]?.topics[0]?.partitions[0]?.errorCode;
  };

  test("says why not, for each partition, as Apache Kafka does", async () => {
    const cluster = await open();
    expect(await write(cluster, "orders", 0, 5)).toBe(ErrorCode.NONE);
    expect(await write(cluster, "orders", 0, 4)).toBe(ErrorCode.TRANSACTION_COORDINATOR_FENCED);
    expect(await write(cluster, "orders", 1, 5)).toBe(ErrorCode.NOT_LEADER_OR_FOLLOWER);
    expect(await write(cluster, offsetsTopic, 0, 5)).toBe(ErrorCode.NOT_LEADER_OR_FOLLOWER);
    expect(await write(cluster, "orders", 3, 5)).toBe(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    expect(await write(cluster, "nothing", 0, 5)).toBe(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    const { partition } = cluster.place("orders", 0);
    Object.defineProperty(partition, "hasEnoughReplicas", { value: false });
    expect(await write(cluster, "orders", 0, 5)).toBe(ErrorCode.NOT_ENOUGH_REPLICAS);
  });

  test("does not wait for a high watermark that does not move", async () => {
    const cluster = await open();
    const { partition } = cluster.place("orders", 0);
    Object.defineProperty(partition, "whenCommitted", { value: () => {} });
    expect(await write(cluster, "orders", 0, 5)).toBe(ErrorCode.REQUEST_TIMED_OUT);
  });
});
