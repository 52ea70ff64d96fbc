import { ErrorCode } from "kafka-protocol-ts/errors";
import { expect, test } from "vitest";
import { FakeCluster } from "../../test/fake-cluster.ts";
import { FakeTransactions } from "../../test/fake-transactions.ts";
import type { ClusterOptions } from "../cluster.ts";
import type { ConsumedOffsets } from "../consumer/consumed-offsets.ts";
import type { ProducerOptions } from "./options.ts";

type Version = 1 | 2;
const versions: readonly Version[] = [1, 2];
const numbered = (count: number): string[] => Array.from({ length: count }, (_, index) => `value ${index}`);

async function started(version: Version, options: ProducerOptions = {}, cluster: Partial<ClusterOptions> = {}) {
  const fake = await FakeCluster.start({ brokers: 2 });
  fake.create("bills", [0, 1, 0]);
  const transactions = new FakeTransactions(fake, version);
  const client = fake.client(cluster);
  const producer = client.producer({ transactionalId: "billing", ...options });
  return { fake, transactions, client, producer };
}

const consumed: ConsumedOffsets = {
  group: { groupId: "readers", memberId: "member-1", epoch: 7, instanceId: "instance-1" },
  offsets: [
    { topic: "orders", partition: 0, offset: 42, leaderEpoch: 3 },
    { topic: "orders", partition: 1, offset: 17, leaderEpoch: -1, metadata: "note" },
  ],
};

/** What went over the wire, without what every client asks. */
function asked(fake: FakeCluster): string[] {
  const plain = new Set(["Metadata", "FindCoordinator"]);
  return fake.brokers.flatMap((broker) => broker.names).filter((name) => !plain.has(name));
}

test.for(versions)(
  "version %i: what is sent in a transaction is seen when it returns, with the offsets",
  async (version) => {
    const { fake, transactions, client, producer } = await started(version);
    for (let round = 0; round < 3; round++) {
      const value = await producer.transaction(async (tx) => {
        const sent = await tx.send("bills", { partition: 0, value: `sent ${round}` });
        tx.enqueue("bills", { partition: 1, value: `enqueued ${round}` });
        const [result] = await tx.sendAll("bills", [{ partition: 2, value: `of all ${round}` }]);
        expect([sent.partition, result!.error]).toEqual([0, null]);
        await tx.commitOffsets(round === 1 ? { consumedOffsets: () => consumed } : consumed);
        expect(transactions.committed("bills")).toHaveLength(round);
        return round;
      });
      expect(value).toBe(round);
    }
    expect(transactions.committed("bills", 0)).toEqual(["sent 0", "sent 1", "sent 2"]);
    expect(transactions.committed("bills", 1)).toEqual(["enqueued 0", "enqueued 1", "enqueued 2"]);
    expect(Object.fromEntries(transactions.offsets)).toEqual({ "readers orders-0": 42, "readers orders-1": 17 });
    expect(transactions.commits[0]).toMatchObject({
      groupId: "readers",
      generationId: 7,
      memberId: "member-1",
      groupInstanceId: "instance-1",
      topics: [{ name: "orders", partitions: [{ committedLeaderEpoch: 3 }, { committedMetadata: "note" }] }],
    });
    expect(fake.requests("InitProducerId")).toBe(1);
    expect(fake.requests("AddOffsetsToTxn")).toBe(version === 1 ? 3 : 0);
    expect(fake.requests("AddPartitionsToTxn")).toBe(version === 1 ? 6 : 0);
    const { epoch } = transactions.ids.get("billing")!;
    expect(epoch).toBe(version === 1 ? 0 : 3);
    for (const attempt of fake.attempts) {
      expect(attempt.isTransactional).toBe(true);
      if (version === 1) expect(attempt.version).toBeLessThanOrEqual(11);
      else expect(attempt.version).toBeGreaterThanOrEqual(12);
    }
    await client.close();
  },
);

test("version 1: partitions of one moment are added together, and once a transaction", async () => {
  const { fake, transactions, client, producer } = await started(1);
  await producer.transaction(async (tx) => {
    await Promise.all([0, 1, 2].map(async (partition) => tx.send("bills", { partition, value: "a" })));
    await Promise.all([0, 1, 2].map(async (partition) => tx.send("bills", { partition, value: "b" })));
  });
  expect(fake.requests("AddPartitionsToTxn")).toBe(1);
  expect(transactions.committed("bills", 2)).toEqual(["a", "b"]);
  await client.close();
});

test.for(versions)("version %i: an empty transaction asks for nothing but its identity", async (version) => {
  const { fake, client, producer } = await started(version);
  await producer.transaction(() => {});
  await expect(producer.transaction(() => Promise.reject(new Error("mine")))).rejects.toThrow("mine");
  await producer.transaction(async (tx) => tx.commitOffsets({ ...consumed, offsets: [] }));
  expect(asked(fake)).toEqual(["InitProducerId"]);
  await client.close();
});

test.for(versions)("version %i: what throws is aborted, and the next one works", async (version) => {
  const { transactions, client, producer } = await started(version);
  const failure = new Error("mine");
  const lost: Promise<unknown>[] = [];
  const aborted = producer.transaction(async (tx) => {
    await tx.send("bills", { partition: 0, value: "aborted" });
    await tx.commitOffsets(consumed);
    lost.push(...numbered(100).map(async (value) => tx.send("bills", { partition: 0, value })));
    throw failure;
  });
  await expect(aborted).rejects.toBe(failure);
  for (const outcome of await Promise.allSettled(lost))
    expect(outcome).toMatchObject({ status: "rejected", reason: { code: "TRANSACTION_ABORTED", cause: failure } });
  await producer.transaction(async (tx) => void (await tx.send("bills", { partition: 0, value: "kept" })));
  expect(transactions.committed("bills")).toEqual(["kept"]);
  expect(transactions.offsets.size).toBe(0);
  await client.close();
});

test.for(versions)("version %i: a record that is lost aborts, also where nobody waits for it", async (version) => {
  const { fake, transactions, client, producer } = await started(version);
  const { admit } = transactions;
  fake.refuse = (attempt) => (attempt.values.includes("bad") ? ErrorCode.INVALID_RECORD : admit(attempt));
  const seen: unknown[] = [];
  const aborted = producer.transaction(async (tx) => {
    tx.signal.addEventListener("abort", () => seen.push(tx.signal.reason));
    await tx.send("bills", { partition: 1, value: "good" });
    tx.enqueue("bills", { partition: 0, value: "bad" });
  });
  await expect(aborted).rejects.toMatchObject({ code: "INVALID_RECORD" });
  expect(seen).toMatchObject([{ code: "INVALID_RECORD" }]);
  // Also where the caller goes on.
  const swallowed = producer.transaction(async (tx) => {
    await tx.send("bills", { partition: 0, value: "bad" }).catch(() => {});
    await expect(tx.send("bills", { partition: 0, value: "more" })).rejects.toMatchObject({ code: "INVALID_RECORD" });
    expect(() => tx.enqueue("bills", { value: "more" })).toThrow();
  });
  await expect(swallowed).rejects.toMatchObject({ code: "INVALID_RECORD" });
  const unwritten = producer.transaction(async (tx) => {
    await tx.send("bills", { partition: 0, value: 1 as unknown as string });
  });
  await expect(unwritten).rejects.toMatchObject({ code: "SERIALIZATION_FAILED" });
  await producer.transaction(async (tx) => void (await tx.send("bills", { partition: 0, value: "kept" })));
  expect([transactions.committed("bills", 0), transactions.committed("bills", 1)]).toEqual([["kept"], []]);
  await client.close();
});

test.for(versions)("version %i: a record that is refused at once aborts, whoever passes over it", async (version) => {
  const { fake, transactions, client, producer } = await started(version, { bufferBytesMax: 1_000 });
  const records = numbered(10).map((value) => ({ partition: 0, value: value.padEnd(500) }));
  const exhausted = { code: "BUFFER_EXHAUSTED" };
  const sent = producer.transaction(
    async (tx) => void (await Promise.allSettled(records.map(async (record) => tx.send("bills", record)))),
  );
  await expect(fake.within(5_000, sent)).rejects.toMatchObject(exhausted);
  const sentAll = producer.transaction(async (tx) => void (await tx.sendAll("bills", records)));
  await expect(fake.within(5_000, sentAll)).rejects.toMatchObject(exhausted);
  const aborted = producer.transaction(async (tx) => {
    await tx.send("bills", { value: "one" });
    await tx.send("bills", { value: "two" }, { signal: AbortSignal.abort() }).catch(() => {});
  });
  await expect(fake.within(5_000, aborted)).rejects.toMatchObject({ code: "ABORTED" });
  expect(transactions.committed("bills")).toEqual([]);
  await client.close();
});

test.for(versions)("version %i: a signal aborts, whatever the function waits for", async (version) => {
  const { transactions, client, producer } = await started(version);
  const controller = new AbortController();
  const aborted = producer.transaction(
    async (tx) => {
      await tx.send("bills", { partition: 0, value: "aborted" });
      controller.abort(new Error("enough"));
      await new Promise(() => {});
    },
    { signal: controller.signal },
  );
  await expect(aborted).rejects.toMatchObject({ code: "ABORTED", cause: { message: "enough" } });
  await expect(producer.transaction(() => {}, { signal: controller.signal })).rejects.toMatchObject({
    code: "ABORTED",
  });
  await producer.transaction(async (tx) => void (await tx.send("bills", { partition: 0, value: "kept" })));
  expect(transactions.committed("bills")).toEqual(["kept"]);
  await client.close();
});

test.for(versions)(
  "version %i: two at once are refused; nothing is sent outside, or after the end",
  async (version) => {
    const { client, producer } = await started(version);
    let late: (() => Promise<unknown>) | null = null;
    await producer.transaction(async (tx) => {
      await expect(producer.transaction(() => {})).rejects.toMatchObject({ code: "CONCURRENT_TRANSACTION" });
      late = async () => tx.send("bills", { value: "late" });
    });
    await expect(late!()).rejects.toMatchObject({ code: "INVALID_TXN_STATE" });
    await expect(producer.send("bills", { value: "x" })).rejects.toMatchObject({ code: "INVALID_TXN_STATE" });
    expect(() => producer.enqueue("bills", { value: "x" })).toThrow("inside of transaction() only");
    await expect(client.producer().transaction(() => {})).rejects.toMatchObject({ code: "INVALID_CONFIG" });
    await client.close();
  },
);

test.for(versions)(
  "version %i: a later producer of the id fences the earlier one, which is of no more use",
  async (version) => {
    const { fake, transactions, client, producer } = await started(version);
    await producer.transaction(async (tx) => void (await tx.send("bills", { partition: 0, value: "first" })));
    const other = client.producer({ transactionalId: "billing" });
    const fenced = producer.transaction(async (tx) => {
      await tx.send("bills", { partition: 0, value: "lost" });
      await other.transaction(async (otherTx) => void (await otherTx.send("bills", { partition: 0, value: "other" })));
      await tx.send("bills", { partition: 0, value: "lost, too" });
    });
    await expect(fake.within(5_000, fenced)).rejects.toMatchObject({ code: "PRODUCER_FENCED", fatal: true });
    await expect(producer.transaction(() => {})).rejects.toMatchObject({ code: "PRODUCER_FENCED", fatal: true });
    await other.transaction(async (tx) => void (await tx.send("bills", { partition: 0, value: "again" })));
    expect(transactions.committed("bills")).toEqual(["first", "other", "again"]);
    await client.close();
  },
);

test.for(versions)(
  "version %i: one that the coordinator has timed out is lost, and the next one works",
  async (version) => {
    const { fake, transactions, client, producer } = await started(version);
    const late = producer.transaction(async (tx) => {
      await tx.send("bills", { partition: 0, value: "late" });
      transactions.timeOut("billing");
      await tx.send("bills", { partition: 0, value: "later" });
    });
    await expect(late).rejects.toMatchObject({ code: "INVALID_PRODUCER_EPOCH", fatal: false });
    await fake.within(
      5_000,
      producer.transaction(async (tx) => void (await tx.send("bills", { partition: 0, value: "kept" }))),
    );
    expect(transactions.committed("bills")).toEqual(["kept"]);
    await client.close();
  },
);

test.for(versions)("version %i: a coordinator that is busy, loading or has moved is asked again", async (version) => {
  const { fake, transactions, client, producer } = await started(version);
  const passing = [
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.CONCURRENT_TRANSACTIONS,
  ];
  for (const api of ["InitProducerId", "AddPartitionsToTxn", "AddOffsetsToTxn", "TxnOffsetCommit", "EndTxn"])
    transactions.trouble(api, ...passing, "lost");
  const begun = producer.transaction(async (tx) => {
    await tx.send("bills", { partition: 0, value: "a" });
    transactions.coordinatorId = 1;
    await tx.commitOffsets(consumed);
  });
  await fake.within(30_000, begun);
  expect(transactions.committed("bills")).toEqual(["a"]);
  expect(transactions.offsets.size).toBe(2);
  await client.close();
});

test.for(versions)("version %i: an end whose answer is lost is asked for again until it is known", async (version) => {
  const { fake, transactions, client, producer } = await started(version);
  const send = async (value: string): Promise<void> =>
    producer.transaction(async (tx) => void (await tx.send("bills", { partition: 0, value })));
  transactions.trouble("EndTxn", "done, and lost");
  await fake.within(5_000, send("a"));
  transactions.trouble("EndTxn", "lost", "done, and lost");
  await fake.within(5_000, send("b"));
  await fake.within(5_000, send("c"));
  expect(transactions.committed("bills")).toEqual(["a", "b", "c"]);
  await client.close();
});

test.for(versions)(
  "version %i: where nobody learns of the end, that is said, and the producer is of no more use",
  async (version) => {
    const { fake, transactions, client, producer } = await started(version, { deliveryTimeoutMs: 10_000 });
    await producer.transaction(async (tx) => void (await tx.send("bills", { partition: 0, value: "a" })));
    transactions.trouble("EndTxn", ...Array.from({ length: 100 }, () => "lost" as const));
    const unknown = producer.transaction(async (tx) => void (await tx.send("bills", { partition: 0, value: "b" })));
    await expect(fake.within(11_000, unknown)).rejects.toMatchObject({
      code: "TRANSACTION_OUTCOME_UNKNOWN",
      fatal: true,
    });
    await expect(producer.transaction(() => {})).rejects.toMatchObject({ code: "TRANSACTION_OUTCOME_UNKNOWN" });
    await client.close();
  },
);

test.for(
  versions.flatMap((version) =>
    [
      ErrorCode.ILLEGAL_GENERATION,
      ErrorCode.FENCED_INSTANCE_ID,
      ErrorCode.UNKNOWN_MEMBER_ID,
      ErrorCode.GROUP_AUTHORIZATION_FAILED,
      ErrorCode.TRANSACTION_ABORTABLE,
    ].map((code) => [version, code] as const),
  ),
)("version %i: offsets refused with %i abort, and the next one works", async ([version, code]) => {
  const { transactions, client, producer } = await started(version);
  transactions.trouble("TxnOffsetCommit", code);
  const refused = producer.transaction(async (tx) => {
    await tx.send("bills", { partition: 0, value: "a" });
    await tx.commitOffsets(consumed);
  });
  await expect(refused).rejects.toMatchObject({ fatal: false, retriable: false });
  // Not even where nobody waited for it.
  transactions.trouble("TxnOffsetCommit", code);
  const unwaited = producer.transaction(async (tx) => {
    await tx.send("bills", { partition: 0, value: "b" });
    void tx.commitOffsets(consumed).catch(() => {});
  });
  await expect(unwaited).rejects.toMatchObject({ fatal: false });
  await producer.transaction(async (tx) => void (await tx.send("bills", { partition: 0, value: "kept" })));
  expect(transactions.committed("bills")).toEqual(["kept"]);
  await client.close();
});

test.for([
  [1, "InitProducerId", ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED],
  [2, "InitProducerId", ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED],
  [1, "AddPartitionsToTxn", ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED],
  [1, "AddPartitionsToTxn", ErrorCode.PRODUCER_FENCED],
  [1, "EndTxn", ErrorCode.INVALID_PRODUCER_EPOCH],
  [2, "EndTxn", ErrorCode.PRODUCER_FENCED],
  [2, "InitProducerId", ErrorCode.INVALID_TRANSACTION_TIMEOUT],
] as const)("version %i: %s answered with %i ends the producer", async ([version, api, code]) => {
  const { transactions, client, producer } = await started(version);
  transactions.trouble(api, code);
  const send = async (): Promise<void> =>
    producer.transaction(async (tx) => void (await tx.send("bills", { partition: 0, value: "a" })));
  await expect(send()).rejects.toMatchObject({ fatal: true });
  await expect(send()).rejects.toMatchObject({ fatal: true });
  expect(transactions.committed("bills")).toEqual([]);
  await client.close();
});

test("version 1: a partition that may not be written to aborts, and the next one works", async () => {
  const { transactions, client, producer } = await started(1);
  transactions.trouble("AddPartitionsToTxn", ErrorCode.TOPIC_AUTHORIZATION_FAILED);
  const send = async (): Promise<void> =>
    producer.transaction(async (tx) => void (await tx.send("bills", { partition: 0, value: "a" })));
  await expect(send()).rejects.toMatchObject({ code: "TOPIC_AUTHORIZATION_FAILED", fatal: false });
  await send();
  expect(transactions.committed("bills")).toEqual(["a"]);
  await client.close();
});

test.for(versions)(
  "version %i: after a batch of unknown fate the next transaction has another epoch",
  async (version) => {
    const { fake, transactions, client, producer } = await started(
      version,
      { deliveryTimeoutMs: 10_000 },
      { requestTimeoutMs: 4_000 },
    );
    await producer.transaction(async (tx) => void (await tx.send("bills", { partition: 0, value: "a" })));
    fake.mishaps.push("stored, and the connection breaks", "no answer", "no answer", "no answer", "no answer");
    const lost = producer.transaction(async (tx) => void (await tx.send("bills", { partition: 0, value: "perhaps" })));
    await expect(fake.within(20_000, lost)).rejects.toMatchObject({ code: "TIMED_OUT" });
    fake.mishaps.length = 0;
    await fake.within(
      5_000,
      producer.transaction(async (tx) => void (await tx.send("bills", { partition: 0, value: "kept" }))),
    );
    expect(transactions.committed("bills")).toEqual(["a", "kept"]);
    expect(fake.attempts.at(-1)).toMatchObject({ sequence: 0 });
    expect(fake.requests("InitProducerId")).toBe(version === 1 ? 2 : 1);
    await client.close();
  },
);

test.for(versions)(
  "version %i: order and number hold within a transaction through a broken connection",
  async (version) => {
    const { fake, transactions, client, producer } = await started(version, { batchBytesMax: 200 });
    for (const round of [0, 1]) {
      fake.mishaps.push("none", "stored, and the connection breaks", { code: ErrorCode.NOT_LEADER_OR_FOLLOWER });
      const values = numbered(50).map((value) => `${round} ${value}`);
      const done = producer.transaction((tx) => {
        for (const value of values) tx.enqueue("bills", { partition: 0, value });
      });
      await fake.within(20_000, done);
      expect(transactions.committed("bills").slice(-50)).toEqual(values);
    }
    expect(transactions.committed("bills")).toHaveLength(100);
    await client.close();
  },
);

test.for(versions)("version %i: closing aborts what is open", async (version) => {
  const { fake, transactions, client, producer } = await started(version);
  const open = Promise.withResolvers<void>();
  const cut = producer.transaction(async (tx) => {
    await tx.send("bills", { partition: 0, value: "a" });
    open.resolve();
    await new Promise(() => {});
  });
  const outcome = Promise.allSettled([cut]);
  await open.promise;
  await producer.close();
  expect((await outcome)[0]).toMatchObject({ reason: { code: "CLOSED" } });
  expect(transactions.ids.get("billing")!.state).toBe("aborted");
  await expect(producer.transaction(() => {})).rejects.toMatchObject({ code: "CLOSED" });
  await client.close();
  expect(fake.world.clock.pendingTimers).toBe(0);
});

test("records that wait for their topic are not told of the end of an earlier transaction", async () => {
  const { fake, transactions, client, producer } = await started(2);
  fake.canCreate = false;
  const controller = new AbortController();
  const send = async (value: string, signal?: AbortSignal): Promise<void> =>
    producer.transaction(async (tx) => void (await tx.send("none", { value })), signal === undefined ? {} : { signal });
  const aborted = Promise.allSettled([send("aborted", controller.signal)]);
  await fake.world.clock.advance(30);
  controller.abort();
  expect((await aborted)[0]).toMatchObject({ reason: { code: "ABORTED" } });
  // The look-up of the topic is the one that began for the first.
  const kept = send("kept");
  await fake.world.clock.advance(30);
  fake.create("none");
  await fake.within(5_000, kept);
  expect(transactions.committed("none")).toEqual(["kept"]);
  await client.close();
});

test("version 1: an abort waits for what the coordinator is being told, and is not overtaken by it", async () => {
  const { fake, transactions, client, producer } = await started(1);
  const send = async (value: string): Promise<void> =>
    producer.transaction(async (tx) => void (await tx.send("bills", { partition: 0, value })));
  await send("first");
  // Both the request that is under way, and the one after it.
  transactions.trouble("AddPartitionsToTxn", ErrorCode.CONCURRENT_TRANSACTIONS, ErrorCode.CONCURRENT_TRANSACTIONS);
  const aborted = producer.transaction(async (tx) => {
    tx.enqueue("bills", { partition: 0, value: "aborted" });
    await fake.world.clock.advance(1);
    throw new Error("mine");
  });
  await expect(fake.within(5_000, aborted)).rejects.toThrow("mine");
  await fake.world.clock.advance(5_000);
  expect(transactions.ids.get("billing")!.state).not.toBe("ongoing");
  // The same with the offsets of a group.
  transactions.trouble("AddOffsetsToTxn", ErrorCode.CONCURRENT_TRANSACTIONS, ErrorCode.CONCURRENT_TRANSACTIONS);
  const abortedOffsets = producer.transaction(async (tx) => {
    void tx.commitOffsets(consumed).catch(() => {});
    await fake.world.clock.advance(1);
    throw new Error("mine");
  });
  await expect(fake.within(5_000, abortedOffsets)).rejects.toThrow("mine");
  await fake.world.clock.advance(5_000);
  expect(transactions.ids.get("billing")!.state).not.toBe("ongoing");
  await fake.within(5_000, send("last"));
  expect(transactions.committed("bills")).toEqual(["first", "last"]);
  await client.close();
});

test.for(versions)(
  "version %i: a signal aborts soon, also while a coordinator does not answer well",
  async (version) => {
    const { fake, transactions, client, producer } = await started(version);
    const loading = Array.from({ length: 1_000 }, () => ErrorCode.COORDINATOR_LOAD_IN_PROGRESS);
    transactions.trouble("TxnOffsetCommit", ...loading);
    const controller = new AbortController();
    const stuck = producer.transaction(
      async (tx) => {
        await tx.send("bills", { partition: 0, value: "a" });
        await tx.commitOffsets(consumed);
      },
      { signal: controller.signal },
    );
    const outcome = Promise.allSettled([stuck]);
    await fake.world.clock.advance(10_000);
    controller.abort();
    expect((await fake.within(3_000, outcome))[0]).toMatchObject({ reason: { code: "ABORTED" } });
    expect(transactions.ids.get("billing")!.state).toBe("aborted");
    await client.close();
  },
);

test.for(versions)("version %i: closing within a time does not wait for a coordinator", async (version) => {
  const { fake, transactions, client, producer } = await started(version);
  const { clock } = fake.world;
  transactions.trouble("EndTxn", ...Array.from({ length: 1_000 }, () => ErrorCode.COORDINATOR_LOAD_IN_PROGRESS));
  const committing = Promise.allSettled([
    producer.transaction(async (tx) => void (await tx.send("bills", { partition: 0, value: "a" }))),
  ]);
  await clock.advance(500);
  const begunMs = clock.monotonicMs();
  await fake.within(2_000, producer.close({ timeoutMs: 1_000 }));
  expect(clock.monotonicMs() - begunMs).toBeLessThanOrEqual(1_010);
  // Nobody goes on to ask.
  expect((await fake.within(2_000, committing))[0]).toMatchObject({ status: "rejected", reason: { code: "CLOSED" } });
  await client.close();
  expect(clock.pendingTimers).toBe(0);
});
