import { setTimeout as sleep } from "node:timers/promises";
import { ErrorCode, errorName } from "kafka-protocol-ts/errors";
import { fetch } from "kafka-protocol-ts/messages/01-fetch";
import { batchesIn } from "kafka-protocol-ts/records/batch";
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
  const done = { transactions: 0, inTransactions: newTally(), without: newTally() };

  const transact = async (untilMs: number): Promise<void> => {
    const [beganMs, before] = [performance.now(), inTransactions.ackedRecords];
    while (performance.now() < untilMs) {
      const transactionBeganMs = performance.now();
      await inTransactions.produceUntil(transactionBeganMs + plan.commitEveryMs);
      await inTransactions.endTransaction();
      meter.count(performance.now() - transactionBeganMs);
      done.transactions += 1;
    }
    if (!meter.isMeasuring) return;
    done.inTransactions.seconds += (performance.now() - beganMs) / 1000;
    done.inTransactions.records += inTransactions.ackedRecords - before;
  };
  const produce = async (untilMs: number): Promise<void> => {
    const [beganMs, before] = [performance.now(), without.ackedRecords];
    await without.produceUntil(untilMs);
    if (!meter.isMeasuring) return;
    done.without.seconds += (performance.now() - beganMs) / 1000;
    done.without.records += without.ackedRecords - before;
  };
  const isFull = (): boolean => inTransactions.ackedBytes + without.ackedBytes > plan.megabytesMax * 1e6;

  await transact(performance.now() + plan.warmUpMs / 2);
  await produce(performance.now() + plan.warmUpMs / 2);
  meter.begin();
  const endMs = performance.now() + plan.measureMs;
  for (let turn = 0; performance.now() < endMs && !isFull(); turn++) {
    for (const stretch of turn % 2 === 0 ? [transact, produce] : [produce, transact]) {
      await stretch(performance.now() + stretchMs);
    }
  }
  meter.end();
  inTransactions.close();
  without.close();
  const checked = await expectCommitted(plan, inTransactions.ackedRecords + without.ackedRecords);
  meter.report({
    count: done.inTransactions.records + done.without.records,
    checked: `${checked}, ${done.transactions} transactions`,
    values: { withoutPerSecond: perSecond(done.without), inTransactionsPerSecond: perSecond(done.inTransactions) },
    transactions: [],
  });
}

interface Tally {
  seconds: number;
  records: number;
}

function newTally(): Tally {
  return { seconds: 0, records: 0 };
}

function perSecond({ seconds, records }: Tally): number {
  return records / seconds;
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
