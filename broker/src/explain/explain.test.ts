import type { TimeMs } from "@millrace/base/units";
import { describe, expect, test } from "vitest";
import type { RecentEvent } from "../coordinator/recent-events.ts";
import type { GroupEvent } from "../groups/events.ts";
import type { GroupSnapshot, MemberSnapshot } from "../groups/snapshot.ts";
import type { ProducerRefusal } from "../partitions/producer-refusals.ts";
import type { TransactionEvent } from "../transactions/events.ts";
import type { PendingMarker } from "../transactions/marker-writer.ts";
import type { Transaction } from "../transactions/transaction.ts";
import { explainGroup } from "./group.ts";
import type { GroupFacts, ReadLog } from "./group.ts";
import { explainOffline, explainPartition } from "./partition.ts";
import type { Coordination, OpenHere, PartitionFacts } from "./partition.ts";
import { explainProducer } from "./producer.ts";
import type { ProducerFacts } from "./producer.ts";
import { explainTransaction } from "./transaction.ts";

/* Hand-made facts, and what is said of them. Whole brokers say it in test/journeys/explain.test.ts. */

const nowMs = Date.UTC(2026, 0, 31, 12) as TimeMs;
const ago = (ms: number): TimeMs => (nowMs - ms) as TimeMs;

function transactionOf(changes: Partial<Transaction> = {}): Transaction {
  return {
    transactionalId: "payments",
    producerId: 7,
    previousProducerId: -1,
    nextProducerId: -1,
    producerEpoch: 3,
    timeoutMs: 60_000,
    state: "Ongoing",
    partitions: new Map([["orders", [0, 1]]]),
    updateMs: ago(20_000),
    startMs: ago(20_000),
    clientVersion: 2,
    ...changes,
  };
}

function openBy(coordination: Coordination): OpenHere {
  return { producerId: 7, producerEpoch: 3, firstOffset: 5, lastTimestamp: ago(1_000), coordination };
}

const known = (changes: Partial<Transaction> = {}, hasPartition = true): OpenHere =>
  openBy({ kind: "known", transaction: transactionOf(changes), hasPartition });

describe("a partition", () => {
  const facts = (changes: Partial<PartitionFacts>): PartitionFacts => ({
    ...{ topic: "a-b", index: 2, nowMs, bootstrap: "broker:9092", leaderEpoch: 4, durability: "fsync", open: [] },
    ...{ logStartOffset: 0, lastStableOffset: 9, highWatermark: 9, logEndOffset: 9, isDiskFull: false, damaged: [] },
    ...changes,
  });
  const held = { lastStableOffset: 5 };
  const whyOf = (changes: Partial<PartitionFacts>): string => explainPartition(facts(changes)).reasons.join("\n");

  test("nothing is held back", () => {
    expect(explainPartition(facts({})).name).toBe("a-b-2");
    expect(whyOf({})).toMatch(/^Nothing is held back/);
  });

  test.for([
    [known(), /open in a-b-2 since offset 5, for 20 s\..* otherwise it is aborted in 40 s/],
    [known({ timeoutMs: 10_000 }), /its time is over .* and it is aborted at once\.$/],
    [
      known({ state: "PrepareCommit" }),
      /It is decided \(commit\), .* `millrace explain transaction payments` says why\.$/,
    ],
    [known({}, false), /its coordinator does not know that it wrote here: it is hanging/],
    [
      openBy({ kind: "nobody" }),
      /A transaction of producer 7, epoch 3 .*no transactional id has this producer id: it is hanging/,
    ],
    [openBy({ kind: "not-asked" }), /does not answer at the moment/],
  ] as const)("the last stable offset is held by a transaction: %#", ([open, sentence]) => {
    const reasons = whyOf({ ...held, open: [open] });
    expect(reasons).toMatch(/^The last stable offset stands at 5, and the high watermark at 9/);
    expect(reasons).toMatch(sentence);
    const isHanging = reasons.includes("hanging");
    const command =
      "kafka-transactions.sh --bootstrap-server broker:9092 abort --topic a-b --partition 2 --start-offset 5";
    expect(reasons.includes(command)).toBe(isHanging);
  });

  test("by a marker that is not acknowledged, by many, by the disk", () => {
    expect(whyOf(held)).toMatch(/its marker is written and not acknowledged yet/);
    expect(whyOf({ ...held, open: Array.from({ length: 25 }, () => known()) })).toMatch(
      /5 more transactions are open behind these\.$/,
    );
    expect(whyOf({ logEndOffset: 10 })).toMatch(/^1 offset behind the high watermark wait for the disk/);
    expect(whyOf({ logEndOffset: 10, isDiskFull: true })).toMatch(/^The disk is full: .*Free space/);
    expect(whyOf({ damaged: [{ firstOffset: 2, lastOffset: 4 }] })).toMatch(/^Offsets 2 to 4 are damaged/);
  });

  test("offline", () => {
    const { summary, reasons } = explainOffline({ topic: "a-b", index: 2, failure: "the disk has failed" });
    expect(summary).toBe("offline");
    expect(reasons).toEqual([expect.stringMatching(/^a-b-2 is offline: the disk has failed\. .*`millrace verify`/)]);
  });
});

describe("a transaction", () => {
  const explain = (
    changes: Partial<Transaction>,
    pending: readonly PendingMarker[] = [],
    events: readonly RecentEvent<TransactionEvent>[] = [],
  ) => explainTransaction({ transaction: transactionOf(changes), nowMs, pending, events, refusals: [] });
  const marker = { topic: "orders", partition: 1, sinceMs: ago(5_000), attempts: 3, failure: null, message: null };

  test.for([
    [{ state: "Empty" }, /no open transaction/],
    [{ state: "CompleteCommit" }, /is over \(commit\)/],
    [{ state: "CompleteAbort" }, /is over \(abort\)/],
    [{}, /^It is open for 20 s: .* in orders-0 and orders-1\. .*aborted in 40 s/],
    [{ state: "PrepareAbort" }, /^It is decided \(abort\), and that stays: its markers are being written/],
  ] as const)("by its state: %j", ([changes, sentence]) => {
    expect(explain(changes).reasons.join("\n")).toMatch(sentence);
  });

  test("a marker that cannot be written: where, why, since when", () => {
    const failing: PendingMarker = { ...marker, failure: "not-ready", message: "no space" };
    const { summary, reasons } = explain({ state: "PrepareCommit" }, [failing, { ...marker, partition: 0 }]);
    expect(summary).toBe("PrepareCommit, producer 7 with epoch 3, 2 markers still to be written");
    expect(reasons).toEqual([
      "It is decided (commit), and that stays. It is complete when 2 partitions more have their markers; until then its producer is told CONCURRENT_TRANSACTIONS.",
      "orders-1 lacks its marker: the partition takes no records: its log is offline or its disk is full (no space); tried 3 times in 5 s. `millrace explain partition orders-1` says more; the coordinator tries on.",
      "orders-0 gets its marker just now.",
    ]);
  });

  test("who was shut out, and by whom", () => {
    const about = { transactionalId: "payments", producerId: 7 };
    const { reasons, events } = explain(
      { state: "Empty", partitions: new Map() },
      [],
      [
        {
          atMs: ago(9_000),
          event: { ...about, kind: "decided", outcome: "abort", producerEpoch: 3, cause: "successor", reason: "WHY" },
        },
        { atMs: ago(8_000), event: { ...about, kind: "producer-given", producerEpoch: 4, reason: "a process began" } },
        { atMs: ago(7_000), event: { ...about, kind: "refused", reason: "EndTxn of an old one" } },
      ],
    );
    expect(reasons.join("\n")).toMatch(/aborted, since WHY\. .*give each its own/);
    expect(reasons.join("\n")).toMatch(
      "a producer was fenced: EndTxn of an old one. Epoch 4 was given at 2026-01-31T11:59:52.000Z: a process began.",
    );
    expect(events.map(({ at }) => at)).toEqual(
      [9, 8, 7].map((seconds) => new Date(ago(seconds * 1_000)).toISOString()),
    );
  });
});

describe("a producer", () => {
  const explain = (changes: Partial<ProducerFacts>) =>
    explainProducer({
      ...{ name: "7", producerId: 7, nowMs, bootstrap: "b:1", transaction: null, partitions: [], refusals: [] },
      ...changes,
    });
  const remembered = { topic: "orders", index: 0, producerEpoch: 3, lastSequence: -1, lastTimestamp: -1, open: null };
  const refusal = (kind: ProducerRefusal["kind"]): RecentEvent<ProducerRefusal> => ({
    atMs: ago(1_000),
    event: { producerId: 7, producerEpoch: 2, topic: "orders", index: 0, kind, message: "WHY" },
  });

  test("of which nothing is open", () => {
    const { summary, reasons, facts } = explain({ partitions: [remembered] });
    expect(summary).toBe("remembered by 1 partition, no transaction open, nothing refused lately");
    expect(reasons).toEqual([expect.stringMatching(/^Nothing of it is open/)]);
    expect(facts.at(-1)).toEqual(["orders-0", "epoch 3, no sequence in it yet"]);
  });

  test("with a transaction", () => {
    const { summary, reasons } = explain({
      transaction: transactionOf(),
      partitions: [{ ...remembered, open: known() }],
    });
    expect(summary).toMatch(/^producer 7 of payments, .* a transaction open in 1, /);
    expect(reasons).toEqual([expect.stringMatching(/open in orders-0 since offset 5/)]);
  });

  test.for([
    ["sequence-gap", /A batch before it is missing/],
    ["stale-producer-epoch", /newer epoch/],
    ["no-transaction", /has ended meanwhile/],
    ["producer-fenced", /newer process/],
    ["producer-id-mapping", /transactional\.id\.expiration\.ms/],
    ["abortable", /has to abort and may go on/],
    ["other", /has to abort/],
  ] as const)("refused for %s", ([kind, sentence]) => {
    const { reasons, events } = explain({ refusals: [refusal(kind)], transaction: transactionOf() });
    expect(reasons[0]).toMatch(/^At 2026-01-31T11:59:59\.000Z orders-0 refused a batch of epoch 2: WHY\. /);
    expect(reasons[0]).toMatch(sentence);
    expect(reasons[0]).toMatch(/payments has epoch 3 now: `millrace explain transaction payments`/);
    expect(events[0]?.text).toBe("orders-0 refused a batch of producer 7, epoch 2: WHY");
  });
});

describe("a group", () => {
  const member = (changes: Partial<MemberSnapshot> = {}): MemberSnapshot => ({
    ...{ memberId: "m-1", instanceId: null, clientId: "app", clientHost: "/10.0.0.7", memberEpoch: null },
    ...{
      sessionTimeoutMs: 45_000,
      rebalanceTimeoutMs: 300_000,
      owes: null,
      owedLeftMs: null,
      sessionLeftMs: 44_000,
      isWaiting: false,
    },
    ...{ partitions: [{ topic: "orders", index: 0 }], toGiveUp: [], waitsFor: [] },
    ...changes,
  });
  const log: ReadLog = { logStartOffset: 0, lastStableOffset: 9, highWatermark: 9, logEndOffset: 9, open: [] };
  const offset = { topic: "orders", index: 0, offset: 9, commitMs: ago(1_000), pendingProducerIds: [] };
  const explain = (changes: Partial<GroupSnapshot> = {}, others: Partial<GroupFacts> = {}) =>
    explainGroup({
      snapshot: {
        ...{ groupId: "readers", type: "classic", state: "Stable", epoch: 4, assignmentEpoch: null, protocol: "range" },
        ...{ leaderId: "m-1", isInitialDelay: false, phaseLeftMs: null, pendingMembersCount: 0 },
        ...{ members: [member()], offsets: [offset] },
        ...changes,
      },
      ...{ nowMs, bootstrap: "broker:9092", logOf: () => log, transactionalIdOf: () => null, events: [] },
      ...others,
    });
  const whyOf = (...given: Parameters<typeof explain>): string => explain(...given).reasons.join("\n");
  const event = (ms: number, what: Omit<GroupEvent, "groupId">): RecentEvent<GroupEvent> => ({
    atMs: ago(ms),
    event: { groupId: "readers", ...what } as GroupEvent,
  });
  const rebalancing = { state: "PreparingRebalance", phaseLeftMs: 100_000 };

  test("all is well", () => {
    const { summary, reasons, facts } = explain();
    expect(summary).toBe("Stable, generation 4, 1 member, lag 0");
    expect(reasons).toEqual([expect.stringMatching(/^Nothing is stuck/)]);
    expect(facts).toContainEqual(["member m-1", "client app at /10.0.0.7, heard of 1 s ago, has orders-0"]);
    expect(facts.at(-1)?.[1]).toBe(
      "committed 9 1 s ago, lag 0, log 0 to 9, high watermark 9, last stable offset 9, read by m-1",
    );
  });

  test("nobody is there", () => {
    const events = [event(5_000, { kind: "member-removed", memberId: "m-1", reason: "left" } as never)];
    expect(whyOf({ members: [], state: "Empty" }, { events })).toMatch(
      /^Nobody is in the group, so no partition gets on\. The last one, m-1, went at 2026-01-31T11:59:55\.000Z: left\./,
    );
  });

  test.for([
    [
      { owes: "join" },
      /waits for m-1 \(client app at \/10\.0\.0\.7\) to join again, for 7 s now\. The group goes on without it in 1 min 40 s/,
    ],
    [{ owes: "join", instanceId: "i" }, /its partitions wait for it until its session ends/],
    [{ owes: "sync" }, /waits for the assignment by its leader m-1/],
    [{ owes: "sync", memberId: "m-2" }, /waits for m-2 .* to ask for its assignment/],
  ] as const)("a member is awaited: %j", ([owing, sentence]) => {
    const events = [
      event(7_000, { kind: "rebalance-began", generation: 4, reason: "m-9 joins" } as never),
      event(2_000, { kind: "generation-joined", generation: 5, memberCount: 1, protocol: "range" } as never),
    ];
    const why = whyOf({ ...rebalancing, members: [member({ ...owing, owedLeftMs: 100_000 })] }, { events });
    expect(why).toMatch(sentence);
    expect(why).toMatch(/The rebalance began at 2026-01-31T11:59:53\.000Z: m-9 joins\./);
  });

  test("what happened is forgotten: how long it is awaited follows from what is left", () => {
    const members = [member({ owes: "join", owedLeftMs: 100_000 })];
    expect(whyOf({ ...rebalancing, members })).toMatch("for 3 min 20 s now");
  });

  test("it was empty, and waits; or for clients that never came back", () => {
    expect(whyOf({ ...rebalancing, isInitialDelay: true })).toMatch(
      /^The group was empty, and waits .* It does so in 1 min 40 s at the latest/,
    );
    expect(whyOf({ ...rebalancing, pendingMembersCount: 2 })).toMatch(/waits for 2 clients that asked for a member id/);
  });

  test("a member is silent for more than a third of its session, or has left for a moment", () => {
    expect(whyOf({ members: [member({ sessionLeftMs: 31_000 })] })).toMatch(/^Nothing is stuck/);
    expect(whyOf({ members: [member({ sessionLeftMs: 15_000 })] })).toMatch(
      /^Nothing was heard of m-1 .* for 30 s\. It is removed in 15 s .*orders-0 goes to others/,
    );
    expect(whyOf({ members: [member({ sessionLeftMs: 15_000, isWaiting: true })] })).toMatch(/^Nothing is stuck/);
    expect(whyOf({ type: "consumer", members: [member({ sessionLeftMs: 9_000, memberEpoch: -2 })] })).toMatch(
      /^m-1 .* said 36 s ago that it comes back/,
    );
  });

  test("a consumer group: no target yet, partitions to be given up, and waited for", () => {
    const base = { type: "consumer", epoch: 6, assignmentEpoch: 5, protocol: "", leaderId: null } as const;
    expect(whyOf({ ...base, state: "Assigning" })).toMatch(/^Epoch 6 has no target assignment yet, the last is of 5/);
    const members = [
      member({ owes: "revocation", owedLeftMs: 290_000, toGiveUp: [{ topic: "orders", index: 0 }], memberEpoch: 5 }),
      member({ memberId: "m-2", partitions: [], waitsFor: [{ topic: "orders", index: 0, ownerId: "m-1" }] }),
    ];
    const events = [event(11_000, { kind: "epoch-bumped", epoch: 6, reason: "m-2 joined" } as never)];
    const why = whyOf({ ...base, state: "Reconciling", members }, { events });
    expect(why).toMatch(/m-1 .* has to give up orders-0 .*, for 10 s now\. It is removed in 4 min 50 s otherwise/);
    expect(why).toMatch(/m-2 .* waits for orders-0, which m-1 still has\./);
    expect(why).toMatch("Epoch 6 began at 2026-01-31T11:59:49.000Z: m-2 joined.");
  });

  test.for([
    [
      "an old commit",
      { commitMs: ago(200_000), offset: 4 },
      log,
      /^orders-0 has a lag of 5, and m-1 .* nothing for 3 min 20 s/,
    ],
    ["a fresh commit", { offset: 4 }, log, /^Nothing is stuck/],
    ["nothing committed", { offset: null, commitMs: null }, log, /^orders-0 has no committed offset/],
    [
      "before the log",
      { offset: 1 },
      { ...log, logStartOffset: 2 },
      /has the offset 1 committed, and its log holds 2 to 9/,
    ],
    ["behind the log", { offset: 12 }, log, /has the offset 12 committed/],
    [
      "in a transaction",
      { pendingProducerIds: [7] },
      log,
      /^orders-0 has an offset in the open transaction of producer 7: .*explain producer 7/,
    ],
    [
      "gone",
      {},
      "there is no such partition any more",
      /^orders-0 cannot be read: there is no such partition any more\.$/,
    ],
    [
      "held",
      { offset: 5 },
      { ...log, lastStableOffset: 5, open: [known()] },
      /^orders-0 is read up to its last stable offset 5: .* The transaction of payments/,
    ],
  ] as const)("a partition stands: %s", ([, changes, read, sentence]) => {
    expect(whyOf({ offsets: [{ ...offset, ...changes }] }, { logOf: () => read })).toMatch(sentence);
  });

  test("a partition that no member has", () => {
    expect(whyOf({ members: [member({ partitions: [] })], offsets: [{ ...offset, offset: 4 }] })).toMatch(
      /^orders-0 has 5 records to be read, and no member has it/,
    );
  });

  test("the partition with the largest lag comes first, and many reasons are counted", () => {
    const offsets = Array.from({ length: 50 }, (_, index) => ({ ...offset, index, offset: index === 30 ? 0 : 8 }));
    const { facts, reasons, summary } = explain({ members: [member({ partitions: [] })], offsets });
    expect(summary).toMatch(/lag 58$/);
    expect(facts.find(([label]) => label.startsWith("orders-"))?.[0]).toBe("orders-30");
    expect(reasons).toHaveLength(31);
    expect(reasons.at(-1)).toBe("20 more reasons of this kind.");
  });
});
