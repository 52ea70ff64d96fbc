import type { TimeMs } from "@millrace/base/units";
import type { ShardMachine } from "../coordinator/machine.ts";
import type { CoordinatorRecord } from "../coordinator/shard-log.ts";
import { decideAdd, decideVerify } from "./add-partitions.ts";
import type {
  AddCommand,
  CompletedCommand,
  DescribeAnswer,
  DescribeCommand,
  EndCommand,
  InitCommand,
  ListAnswer,
  ListCommand,
  VerifyCommand,
} from "./commands.ts";
import { answered, decisionOf, markersOf } from "./decisions.ts";
import { decideCompleted, decideEnd, decideTimeout } from "./end-transaction.ts";
import { decideInit } from "./init-producer.ts";
import { decodeRecord, encodeRecord } from "./records.ts";
import type { TransactionRecord } from "./records.ts";
import { isPrepared } from "./transaction.ts";
import type { Transaction } from "./transaction.ts";
import { expiryTimer, timeoutTimer } from "./types.ts";
import type { SoftTransaction, TransactionDecision, TransactionTimer, TransactionTypes } from "./types.ts";

export interface TransactionSettings {
  /** `transaction.max.timeout.ms` */
  readonly timeoutMaxMs: number;
  /** `transactional.id.expiration.ms` */
  readonly idExpirationMs: number;
  /** `transaction.remove.expired.transaction.cleanup.interval.ms` */
  readonly idExpirationCheckMs: number;
}

/** All transactional ids of one partition of __transaction_state. Pure: SPEC.md beside this file says what it does. */
export class TransactionShard implements ShardMachine<TransactionTypes> {
  readonly #settings: TransactionSettings;
  readonly #transactions = new Map<string, Transaction>();
  /** Soft: see SoftTransaction. */
  readonly #retriedFromEpochs = new Map<string, number>();

  constructor(settings: TransactionSettings) {
    this.#settings = settings;
  }

  get transactions(): ReadonlyMap<string, Transaction> {
    return this.#transactions;
  }

  // --- Deciding: nothing changes -------------------------------------------------------------------------------------

  decideInit(command: InitCommand, nowMs: TimeMs): TransactionDecision {
    const { transactionalId } = command;
    return decideInit(this.#find(transactionalId), command, {
      nowMs,
      timeoutMaxMs: this.#settings.timeoutMaxMs,
      retriedFromEpoch: this.#retriedFromEpochs.get(transactionalId) ?? null,
    });
  }

  decideAdd(command: AddCommand, nowMs: TimeMs): TransactionDecision {
    return decideAdd(this.#find(command.transactionalId), command, nowMs);
  }

  decideVerify(command: VerifyCommand): TransactionDecision {
    return decideVerify(this.#find(command.transactionalId), command);
  }

  decideEnd(command: EndCommand, nowMs: TimeMs): TransactionDecision {
    return decideEnd(this.#find(command.transactionalId), command, nowMs);
  }

  decideCompleted(command: CompletedCommand, nowMs: TimeMs): TransactionDecision {
    return decideCompleted(this.#find(command.transactionalId), command, nowMs);
  }

  decideDescribe({ ticket, transactionalIds }: DescribeCommand): TransactionDecision {
    const transactions = transactionalIds.map((each) => this.#find(each));
    return answered<DescribeAnswer>(ticket, { transactions }, "committed");
  }

  decideList(command: ListCommand, nowMs: TimeMs): TransactionDecision {
    const { ticket, states, producerIds, openForMs, pattern } = command;
    const transactions = [...this.#transactions.values()].filter(({ transactionalId, producerId, state, startMs }) => {
      // An id that never had a transaction is in the list as well: so it is with Apache Kafka.
      const isOpenLong = openForMs === null || nowMs - startMs > openForMs;
      const isWanted =
        (states.size === 0 || states.has(state)) && (producerIds.size === 0 || producerIds.has(producerId));
      return isWanted && isOpenLong && (pattern === null || pattern.matches(transactionalId));
    });
    return answered<ListAnswer>(ticket, { transactions }, "committed");
  }

  /** What was decided and not completed is completed here. What is open has the rest of its time. */
  decideLoaded(nowMs: TimeMs): TransactionDecision {
    const all = [...this.#transactions.values()];
    const open = all.filter(({ state }) => state === "Ongoing");
    return decisionOf({
      timers: [
        ...open.map(({ transactionalId, startMs, timeoutMs }) => {
          // The wall clock may have been set back since.
          const openMs = Math.max(0, nowMs - startMs);
          return { timer: timeoutTimer(transactionalId), afterMs: Math.max(0, timeoutMs - openMs) };
        }),
        { timer: expiryTimer, afterMs: this.#settings.idExpirationCheckMs },
      ],
      effects: all.filter(({ state }) => isPrepared(state)).map(markersOf),
    });
  }

  decideTimer(timer: TransactionTimer, nowMs: TimeMs): TransactionDecision {
    switch (timer.kind) {
      case "timeout":
        return decideTimeout(this.#find(timer.transactionalId), nowMs);
      case "expiry":
        return this.#decideExpiry(nowMs);
    }
  }

  #decideExpiry(nowMs: TimeMs): TransactionDecision {
    const expired = [...this.#transactions.values()].filter(
      ({ state, updateMs }) =>
        state !== "Ongoing" && !isPrepared(state) && nowMs - updateMs >= this.#settings.idExpirationMs,
    );
    return decisionOf({
      records: expired.map(({ transactionalId }) => ({ transactionalId, transaction: null })),
      // Each is a whole sentence.
      isAtomic: false,
      timers: [{ timer: expiryTimer, afterMs: this.#settings.idExpirationCheckMs }],
      events: expired.map(({ transactionalId, producerId }) => ({ kind: "expired", transactionalId, producerId })),
    });
  }

  #find(transactionalId: string): Transaction | null {
    return this.#transactions.get(transactionalId) ?? null;
  }

  // --- The only change -----------------------------------------------------------------------------------------------

  encode(record: TransactionRecord): CoordinatorRecord {
    return encodeRecord(record);
  }

  decode(key: Uint8Array, value: Uint8Array | null): TransactionRecord | null {
    return decodeRecord(key, value);
  }

  replay({ transactionalId, transaction }: TransactionRecord): void {
    if (transaction !== null) {
      this.#transactions.set(transactionalId, transaction);
      return;
    }
    this.#transactions.delete(transactionalId);
    this.#retriedFromEpochs.delete(transactionalId);
  }

  /** Nobody writes to this topic in a transaction. */
  replayEndTransaction(): void {}

  applySoft({ transactionalId, retriedFromEpoch }: SoftTransaction): void {
    if (retriedFromEpoch === null) this.#retriedFromEpochs.delete(transactionalId);
    else this.#retriedFromEpochs.set(transactionalId, retriedFromEpoch);
  }
}
