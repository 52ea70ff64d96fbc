import type { TimeMs } from "@millrace/base/units";
import type { CoordinatorRecord, TransactionalProducer } from "./shard-log.ts";

/** What one kind of coordinator is made of. A machine names these and the runtime hosts it. */
export interface MachineTypes {
  /** Hard state: what the log holds. */
  readonly record: unknown;
  /** Soft state: what only this broker's memory holds and clients rebuild (who waits, who was heard). Never logged. */
  readonly soft: unknown;
  readonly timer: CoordinatorTimer;
  /** What the host is to do once a decision is committed, outside of this log; never, where there is no such thing. */
  readonly effect: unknown;
  /** What happened, for people: logged lines and explanations. Nothing depends on it. */
  readonly event: unknown;
}

export interface CoordinatorTimer {
  /** Unique in its shard: setting a timer again moves it. */
  readonly id: string;
}

/**
 * Stands for one request that waits for its answer. A decision answers it at once, or the machine keeps it in its soft
 * state and a later decision does. When the shard goes, the runtime answers what is still open.
 */
export interface Ticket<out Response = unknown> {
  readonly id: number;
  /** Never there: ties the ticket to what answers it. */
  readonly response?: Response;
}

export interface Reply {
  readonly ticket: Ticket;
  readonly response: unknown;
  /**
   * committed: leaves when everything queued so far is committed, since it tells of hard state.
   * now: tells of soft state only, so a slow replica or disk must not delay it, once all that was loaded is committed.
   */
  readonly when: "committed" | "now";
}

export interface TimerChange<Timer extends CoordinatorTimer> {
  readonly timer: Timer;
  /** From now on; null cancels. */
  readonly afterMs: number | null;
}

/**
 * What a machine wants: nothing has changed yet. The runtime appends the records; when the log has taken them it
 * applies the soft changes, replays the records, moves the timers and sends the replies, in this order.
 * If the log refuses, nothing of it ever happened.
 */
export interface Decision<Types extends MachineTypes> {
  readonly records: readonly Types["record"][];
  /** False: any prefix of the records leaves a state that is true, so they may be split over batches. */
  readonly isAtomic: boolean;
  /** The records are part of its transaction, and count when that is committed. */
  readonly producer: TransactionalProducer | null;
  readonly soft: readonly Types["soft"][];
  readonly timers: readonly TimerChange<Types["timer"]>[];
  readonly replies: readonly Reply[];
  /** Begun when everything queued so far is committed: nothing outside happens for what a failover could take back. */
  readonly effects: readonly Types["effect"][];
  readonly events: readonly Types["event"][];
}

/** What every decision begins with: a machine adds to it what it wants. */
export const nothingDecided: Decision<{ record: never; soft: never; timer: never; effect: never; event: never }> = {
  records: [],
  isAtomic: true,
  producer: null,
  soft: [],
  timers: [],
  replies: [],
  effects: [],
  events: [],
};

/** Where in the log a replayed record stands. */
export interface RecordPlace {
  readonly offset: number;
  /** −1: not part of a transaction. Otherwise it counts only once the transaction of this producer is committed. */
  readonly producerId: number;
}

/**
 * A coordinator's state for one partition of its internal topic, and the rules by which it changes: no clock, no log,
 * no socket, no promise. Its decide methods change nothing; `replay`, `replayEndTransaction` and `applySoft` are the only change.
 */
export interface ShardMachine<Types extends MachineTypes> {
  encode(record: Types["record"]): CoordinatorRecord;
  /** Null for a kind of record this machine does not know: it is left alone. Throws MalformedMessage for bytes it should. */
  decode(key: Uint8Array, value: Uint8Array | null): Types["record"] | null;
  replay(record: Types["record"], place: RecordPlace): void;
  replayEndTransaction(producerId: number, outcome: "commit" | "abort"): void;
  applySoft(soft: Types["soft"]): void;
  /** Everything in the log has been replayed: the first timers. */
  decideLoaded(nowMs: TimeMs): Decision<Types>;
  /** A timer has run out. Its reason may be gone: then nothing is decided. */
  decideTimer(timer: Types["timer"], nowMs: TimeMs): Decision<Types>;
}
