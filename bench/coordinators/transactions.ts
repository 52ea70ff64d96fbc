import { setTimeout as sleep } from "node:timers/promises";
import { ErrorCode, errorName } from "kafka-protocol-ts/errors";
import { fetch } from "kafka-protocol-ts/messages/01-fetch";
import { batchesIn } from "kafka-protocol-ts/records/batch";
import { median } from "../statistics.ts";
import { failRun, Link } from "./link.ts";
import { Meter } from "./meter.ts";
import { monotonicMs, type TransactionPlan, type TransactionTimes } from "./plan.ts";
import { Producer } from "./producer.ts";

/** A stretch with transactions is followed by one without, and the order changes each time: what drifts meets both. */
const stretchMs = 500;

export async function runTransactions(plan: TransactionPlan): Promise<void> {
  if (plan.kind === "txn-throughput") await runThroughput(plan);
  else await runRate(plan);
}

/** One producer at a time writes all it can: in transactions of `commitEveryMs`, or without. */
async function runThroughput(plan: TransactionPlan): Promise<void> {
  const meter = new Meter();
  const inTransactions = await Producer.start(plan, meter, `${plan.topic}-0`);
  const without = await Producer.start(plan, meter, null);
  let transactions = 0;
  /** Give records a second. */
  const transact = async (untilMs: number): Promise<number> => {
    const [beganMs, before] = [performance.now(), inTransactions.ackedRecords];
    while (performance.now() < untilMs) {
      const transactionBeganMs = performance.now();
      await inTransactions.produceUntil(transactionBeganMs + plan.commitEveryMs);
      await inTransactions.endTransaction();
      meter.count(performance.now() - transactionBeganMs);
      transactions += 1;
    }
    return (inTransactions.ackedRecords - before) / ((performance.now() - beganMs) / 1000);
  };
  const produce = async (untilMs: number): Promise<number> => {
    const [beganMs, before] = [performance.now(), without.ackedRecords];
    await without.produceUntil(untilMs);
    return (without.ackedRecords - before) / ((performance.now() - beganMs) / 1000);
  };
  const isFull = (): boolean => inTransactions.ackedBytes + without.ackedBytes > plan.megabytesMax * 1e6;

  await transact(performance.now() + plan.warmUpMs / 2);
  await produce(performance.now() + plan.warmUpMs / 2);
  meter.begin();
  const endMs = performance.now() + plan.measureMs;
  const turns: { readonly inTransactions: number; readonly without: number }[] = [];
  const recordsBefore = inTransactions.ackedRecords + without.ackedRecords;
  while (performance.now() < endMs && !isFull()) {
    const isTransactedFirst = turns.length % 2 === 0;
    const first = await (isTransactedFirst ? transact : produce)(performance.now() + stretchMs);
    const second = await (isTransactedFirst ? produce : transact)(performance.now() + stretchMs);
    turns.push(
      isTransactedFirst ? { inTransactions: first, without: second } : { inTransactions: second, without: first },
    );
  }
  meter.end();
  inTransactions.close();
  without.close();
  const records = inTransactions.ackedRecords + without.ackedRecords;
  const checked = await expectCommitted(plan, records);
  meter.report({
    count: records - recordsBefore,
    checked: `${checked}, ${transactions} transactions`,
    values: {
      withoutPerSecond: median(turns.map((turn) => turn.without)),
      inTransactionsPerSecond: median(turns.map((turn) => turn.inTransactions)),
      // Of two stretches that follow each other: a slow moment of the disk spoils one pair, not the run.
      overhead: median(turns.map((turn) => 1 - turn.inTransactions / turn.without)),
    },
    transactions: [],
  });
}

/** Each producer one transaction after the other, of one batch each. */
async function runRate(plan: TransactionPlan): Promise<void> {
  const meter = new Meter();
  const starting = Array.from({ length: plan.producers }, (_, index) =>
    Producer.start(plan, meter, `${plan.topic}-${index}`),
  );
  const producers = await Promise.all(starting);
  const times: TransactionTimes[] = [];
  const loops = producers.map(async (producer, index) => {
    for (let turn = index; !meter.isEnded; turn++) {
      const beganMs = monotonicMs();
      await producer.produceOne(turn % plan.partitions);
      const producedMs = monotonicMs();
      await producer.endTransaction();
      const endedMs = monotonicMs();
      meter.count(endedMs - beganMs);
      if (meter.isMeasuring && plan.kind === "txn-latency") times.push({ beganMs, producedMs, endedMs });
    }
  });
  await Promise.all([meter.measure(plan), ...loops]);
  let records = 0;
  for (const producer of producers) {
    records += producer.ackedRecords;
    producer.close();
  }
  const checked = await expectCommitted(plan, records);
  meter.report({ checked, values: {}, transactions: times });
}

const fetchVersion = 16;
const partitionMaxBytes = 4 * 1024 * 1024;
const readBackMsMax = 30_000;
const lookAgainMs = 20;

/** Reads the whole topic as a consumer does that wants what is committed (read_committed). */
async function expectCommitted({ port, topicId, partitions }: TransactionPlan, expected: number): Promise<string> {
  const link = await Link.open(port);
  const offsets = Array.from({ length: partitions }, () => 0);
  const waiting = new Set(offsets.keys());
  let records = 0;
  for (const endMs = performance.now() + readBackMsMax; waiting.size > 0;) {
    const wanted = [...waiting].map((partition) => ({
      partition,
      fetchOffset: offsets[partition] ?? 0,
      partitionMaxBytes,
    }));
    const { errorCode, responses } = await link.call(fetch, fetchVersion, {
      maxWaitMs: 0,
      minBytes: 0,
      maxBytes: partitions * partitionMaxBytes,
      isolationLevel: 1,
      sessionEpoch: -1,
      topics: [{ topicId, partitions: wanted }],
    });
    if (errorCode !== ErrorCode.NONE) failRun(`Fetch was answered with ${errorName(errorCode)}`);
    let isMore = false;
    for (const one of responses.flatMap((response) => response.partitions)) {
      if (one.errorCode !== ErrorCode.NONE) failRun(`Fetch was answered with ${errorName(one.errorCode)}`);
      if ((one.abortedTransactions ?? []).length > 0) failRun("a transaction was aborted that nobody aborted");
      const bytes = one.records instanceof Uint8Array ? Buffer.from(one.records) : Buffer.alloc(0);
      for (const batch of batchesIn(bytes)) {
        if (!batch.isControl) records += batch.recordsCount;
        offsets[one.partitionIndex] = batch.lastOffset + 1;
        isMore = true;
      }
      // A marker is written after the answer to its EndTxn; until then what is behind it is not stable.
      if (offsets[one.partitionIndex] === one.highWatermark) waiting.delete(one.partitionIndex);
    }
    if (waiting.size > 0 && !isMore) {
      if (performance.now() > endMs) failRun(`${waiting.size} partitions keep a transaction open`);
      await sleep(lookAgainMs);
    }
  }
  link.close();
  if (records !== expected) failRun(`${expected} records were committed, and ${records} can be read`);
  return `${records} records read back`;
}
