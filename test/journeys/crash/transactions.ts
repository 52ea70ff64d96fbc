import type { Prng } from "@millrace/base/prng";
import type { Clock } from "@millrace/base/world";
import { ErrorCode, errorName } from "kafka-protocol-ts/errors";
import { offsetFetch } from "kafka-protocol-ts/messages/09-offset-fetch";
import { createTopic, describeTopics } from "../calls.ts";
import { coordinatorOf } from "../members.ts";
import type { RawClient } from "../raw-client.ts";
import { readValues, transactionCoordinatorOf, TransactionalProducer } from "../transactional.ts";
import type { Pause } from "../transactional.ts";
import type { Violation } from "./inspection.ts";
import type { Expectation } from "./expectation.ts";
import type { Mark, SentTransaction, TransactionWrite } from "./marks.ts";

export const ledger = "ledger";
const partitions = 3;
/** One of each version of the protocol. */
const producers = [
  { transactionalId: "ledger-1", version: 1 },
  { transactionalId: "ledger-2", version: 2 },
] as const;
/** None is aborted by itself: a run takes less. */
const transactionTimeoutMs = 900_000;
const groupOf = (transactionalId: string): string => `${transactionalId}-readers`;

/** Producers that write to several partitions and commit an offset, all or nothing, again and again. */
export class TransactionWork {
  readonly #prng: Prng;
  readonly #mark: (mark: Mark) => void;
  #nextNumber = 1;

  constructor(options: { readonly prng: Prng; mark(mark: Mark): void }) {
    this.#prng = options.prng;
    this.#mark = (mark) => options.mark(mark);
  }

  async createTopic(client: RawClient): Promise<void> {
    this.#mark({ kind: "creating", topic: ledger });
    // The records of a transactional producer have a fixed time.
    await createTopic(client, ledger, partitions, { "retention.ms": "-1" });
  }

  async session(
    connect: () => Promise<RawClient>,
    around: { isGoingOn(): boolean; think(): Promise<void> },
  ): Promise<void> {
    await Promise.all(
      producers.map(async ({ transactionalId, version }) => {
        await using client = await connect();
        const producer = new TransactionalProducer(client, transactionalId, around.think);
        await coordinatorOf(client, groupOf(transactionalId), around.think);
        expectCode("a transactional id", await producer.init({ timeoutMs: transactionTimeoutMs }));
        while (around.isGoingOn()) {
          await around.think();
          await this.#transaction(producer, version, around.think);
        }
      }),
    );
  }

  async #transaction(producer: TransactionalProducer, version: 1 | 2, think: () => Promise<void>): Promise<void> {
    const prng = this.#prng;
    const number = this.#nextNumber++;
    const { transactionalId } = producer;
    const chosen = Array.from({ length: prng.between(1, 4) }, () => prng.between(0, partitions - 1));
    const values = chosen.map((partition, index) => ({ partition, value: `t${number}.${index}` }));
    const transaction: SentTransaction = {
      number,
      transactionalId,
      values,
      outcome: prng.chance(0.75) ? "commit" : "abort",
    };
    const group = groupOf(transactionalId);
    if (version === 1) {
      expectCode(
        "naming partitions",
        (await producer.add([...new Set(chosen)], { topic: ledger })).find((code) => code),
      );
      expectCode("naming a group", await producer.addOffsets(group));
    }
    const write = async (ofPartition: typeof values): Promise<void> => {
      for (const { partition, value } of ofPartition) {
        const { producerId, producerEpoch } = producer;
        const sequence = producer.nextSequence(ledger, partition);
        const written = { transactionalId, number, producerId, producerEpoch, partition, value, sequence };
        this.#mark({ kind: "transaction-writing", write: written });
        const sent = await producer.send([value], { topic: ledger, partition, version: version === 1 ? 11 : 12 });
        expectCode(`a record of transaction ${number}`, sent.errorCode);
        this.#mark({ kind: "transaction-written", write: written });
        if (prng.chance(0.2)) await think();
      }
    };
    // To several partitions at once, as producers do that do not wait for each record; or one record after the other.
    const byPartition = [...Map.groupBy(values, ({ partition }) => partition).values()];
    await Promise.all((prng.chance(0.7) ? byPartition : [values]).map(write));
    const commit = { topic: ledger, version: version === 1 ? 4 : 5 };
    expectCode(`an offset of transaction ${number}`, await producer.commitOffset(group, number, commit));
    this.#mark({ kind: "transaction-ending", transaction });
    expectCode(`ending transaction ${number}`, await producer.end(transaction.outcome, version === 1 ? 3 : 5));
    this.#mark({ kind: "transaction-ended", transaction });
  }
}

function expectCode(what: string, errorCode: number | undefined): void {
  const code = errorCode ?? ErrorCode.NONE;
  if (code !== ErrorCode.NONE) throw new Error(`${what}: ${errorName(code)}`);
}

type Found = (kind: Violation["kind"], what: string) => void;

/** What clients were told of each transaction by the time of the crash. */
export interface ExpectedTransaction {
  readonly transaction: SentTransaction;
  isAnswered: boolean;
}

export interface OpenTransaction {
  readonly number: number;
  readonly writes: { readonly write: TransactionWrite; isAnswered: boolean }[];
  ending: SentTransaction | null;
}

/**
 * Producers outlive the broker's crash: they send again what was not answered, and go on to commit. What they are told counts as it always
 * does; only one with a record that was not answered may be told that the transaction cannot go on.
 */
async function goOn(
  client: RawClient,
  pause: Pause,
  { expected, mark, found }: { readonly expected: Expectation; mark(mark: Mark): void; readonly found: Found },
): Promise<void> {
  for (const [transactionalId, { number, writes, ending }] of [...expected.openTransactions]) {
    const first = writes[0]?.write;
    if (first === undefined) continue;
    const isFirstVersion = transactionalId === producers[0].transactionalId;
    const producer = new TransactionalProducer(client, transactionalId, pause);
    Object.assign(producer, { producerId: first.producerId, producerEpoch: first.producerEpoch });
    await transactionCoordinatorOf(client, transactionalId, pause);
    let hasStopped = false;
    for (const { write } of writes.filter(({ isAnswered }) => !isAnswered)) {
      const { partition, value, sequence } = write;
      const version = isFirstVersion ? 11 : 12;
      const { errorCode } = await producer.send([value], { topic: ledger, partition, sequence, version });
      hasStopped = mayStop.has(errorCode);
      if (hasStopped) break;
      if (errorCode !== ErrorCode.NONE) return found("does not append", `${value} once more: ${errorName(errorCode)}`);
      mark({ kind: "transaction-written", write });
    }
    if (hasStopped) continue;
    const values = writes.map(({ write: { partition, value } }) => ({ partition, value }));
    const transaction = ending ?? { number, transactionalId, values, outcome: "commit" };
    if (ending === null) {
      const group = groupOf(transactionalId);
      await coordinatorOf(client, group, pause);
      if (isFirstVersion) expectCode("naming a group", await producer.addOffsets(group));
      const commit = { topic: ledger, version: isFirstVersion ? 4 : 5 };
      expectCode("an offset", await producer.commitOffset(group, number, commit));
    }
    mark({ kind: "transaction-ending", transaction });
    expectCode(`ending transaction ${number}`, await producer.end(transaction.outcome, isFirstVersion ? 3 : 5));
    mark({ kind: "transaction-ended", transaction });
    expected.transactions.set(number, { transaction, isAnswered: true });
  }
}

/** The producer aborts, and begins anew. */
const mayStop: ReadonlySet<number> = new Set([ErrorCode.INVALID_PRODUCER_EPOCH, ErrorCode.TRANSACTION_ABORTABLE]);

/**
 * After a crash each transaction is there as a whole or not at all, and as its producer was told; the offset that it committed goes with it;
 * and once its producer is back, nothing holds readers of committed records back.
 */
export async function inspectTransactions(
  client: RawClient,
  clock: Clock,
  options: { readonly expectation: Expectation; readonly areProducersAlive: boolean; mark(mark: Mark): void },
): Promise<readonly Violation[]> {
  const violations: Violation[] = [];
  const found: Found = (kind, what) => void violations.push({ kind, what });
  const expected = options.expectation.transactions;
  const isThere = (await describeTopics(client, null)).some(({ name }) => name === ledger);
  if (!isThere) {
    if (expected.size > 0) found("lost topic", ledger);
    return violations;
  }
  const pause = patience(clock);
  if (options.areProducersAlive) {
    try {
      await goOn(client, pause, { expected: options.expectation, mark: (mark) => options.mark(mark), found });
    } catch (error) {
      found("lost write", `a producer that goes on: ${String(error)}`);
    }
  }
  for (const { transactionalId } of producers) {
    options.mark({ kind: "transaction-fencing", transactionalId });
    try {
      const errorCode = await new TransactionalProducer(client, transactionalId, pause).init();
      expectCode(transactionalId, errorCode);
      await coordinatorOf(client, groupOf(transactionalId), pause);
    } catch (error) {
      found("does not append", `${transactionalId}: ${String(error)}`);
      return violations;
    }
  }
  const visible = new Map<number, string[]>();
  for (let partition = 0; partition < partitions; partition++) {
    const place = `${ledger}-${partition}`;
    let read: Awaited<ReturnType<typeof readValues>>;
    try {
      read = await readValues(client, { topic: ledger, partition });
    } catch (error) {
      found("offline", `${place} cannot be read: ${String(error)}`);
      continue;
    }
    if (read.lastStableOffset !== read.highWatermark)
      found("hanging transaction", `${place} at ${read.lastStableOffset} of ${read.highWatermark}`);
    for (const value of read.values) {
      const number = Number(value.slice(1, value.indexOf(".")));
      const ofTransaction = visible.get(number) ?? [];
      visible.set(number, ofTransaction);
      ofTransaction.push(`${partition}:${value}`);
    }
  }
  for (const [number, values] of visible) {
    const known = expected.get(number);
    const text = `transaction ${number} shows ${values.join(" ")}`;
    if (known === undefined) found("aborted read", `${text}; its end was not asked for`);
    else if (known.transaction.outcome === "abort") found("aborted read", text);
    if (new Set(values).size < values.length) found("duplicate", text);
  }
  for (const { transaction, isAnswered } of expected.values()) {
    if (transaction.outcome === "abort") continue;
    const sent = transaction.values.map(({ partition, value }) => `${partition}:${value}`);
    const shown = visible.get(transaction.number) ?? [];
    const text = `transaction ${transaction.number} wrote ${sent.join(" ")}, shown is ${shown.join(" ") || "nothing"}`;
    if (shown.length === 0 && isAnswered) found("lost write", text);
    else if (shown.length > 0 && sent.some((value) => !shown.includes(value))) found("torn transaction", text);
  }
  for (const { transactionalId } of producers)
    await inspectOffset(client, transactionalId, { expected, visible, found });
  return violations;
}

/** A coordinator that is not there after so long will not come. */
function patience(clock: Clock): Pause {
  let left = 300;
  return async () => {
    if (left-- <= 0) throw new Error("a coordinator was asked for 30 s and was never ready");
    await new Promise<void>((resolve) => {
      clock.schedule(100, resolve);
    });
  };
}

/** The group's offset is the number of the last transaction that is there. */
async function inspectOffset(
  client: RawClient,
  transactionalId: string,
  {
    expected,
    visible,
    found,
  }: {
    readonly expected: ReadonlyMap<number, ExpectedTransaction>;
    readonly visible: ReadonlyMap<number, readonly string[]>;
    readonly found: Found;
  },
): Promise<void> {
  const groupId = groupOf(transactionalId);
  const { groups } = await client.request(offsetFetch, 8, {
    groups: [{ groupId, topics: [{ name: ledger, partitionIndexes: [0] }] }],
    requireStable: true,
  });
  const told = groups[0]?.topics[0]?.partitions[0];
  if (told === undefined || told.errorCode !== ErrorCode.NONE)
    return found("hanging transaction", `offsets of ${groupId}: ${errorName(told?.errorCode ?? -1)}`);
  const numbers = [...visible.keys()].filter(
    (number) => expected.get(number)?.transaction.transactionalId === transactionalId,
  );
  const last = Math.max(-1, ...numbers);
  if (told.committedOffset !== last)
    found("torn transaction", `${groupId} has offset ${told.committedOffset}, the last transaction is ${last}`);
}
