import { assert } from "@millrace/base/assert";
import { Deque } from "@millrace/base/deque";
import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { TimeMs } from "@millrace/base/units";
import type { Clock } from "@millrace/base/world";
import { readEndTransactionMarker } from "kafka-protocol-ts/records/control";
import { BATCH_HEADER_BYTES } from "kafka-protocol-ts/records/batch";
import type { RecordBatchView } from "kafka-protocol-ts/records/batch";
import { readRecords } from "kafka-protocol-ts/records/record";
import type { Gathering } from "./gathering.ts";
import type { Decision, MachineTypes, Reply, ShardMachine, Ticket, TimerChange } from "./machine.ts";
import type {
  CoordinatorRecord,
  MarkerAppendFailure,
  ShardAppendFailure,
  ShardCommitFailure,
  ShardLog,
  TransactionMarker,
} from "./shard-log.ts";
import { TimerQueue } from "./timer-queue.ts";

/**
 * Why a coordinator gave no answer of its own.
 * - loading: ask again here in a moment
 * - not-coordinator: ask FindCoordinator who it is now
 * - not-available: nobody can take it at the moment
 * - too-large: this request never will be taken
 * - stale-producer-epoch, no-transaction: what it would write belongs to a transaction that is over
 */
export type CoordinatorFailure =
  | "loading"
  | "not-coordinator"
  | "not-available"
  | "too-large"
  | "stale-producer-epoch"
  | "no-transaction";

const codeOfAppend = {
  "not-leader": "not-coordinator",
  "log-failed": "not-coordinator",
  "not-enough-replicas": "not-available",
  "too-large": "too-large",
  "stale-producer-epoch": "stale-producer-epoch",
  "no-transaction": "no-transaction",
} as const satisfies Record<ShardAppendFailure, CoordinatorFailure>;

export interface ShardHost<Types extends MachineTypes> {
  readonly clock: Clock;
  /** Time as timers count it. */
  heardMs(): number;
  readonly commitTimeoutMs: number;
  /** Records of one decision that is not atomic are split into batches of at most this. */
  readonly batchBytesMax: number;
  /** Of decisions that wait for each other; 0: none does. */
  readonly gatheredBytesMax: number;
  readonly gathering: Gathering;
  observe(partition: number, event: Types["event"]): void;
  /** Its decision is committed. Lost with the shard: the next incarnation decides on it again. */
  act(partition: number, effect: Types["effect"], isCurrent: () => boolean): void;
  /** The log refused or lost something: the shard has answered everyone and is of no use any more. */
  onFailed(shard: { readonly partition: number; readonly log: ShardLog }, failure: ShardCommitFailure): void;
  /** `nextCheckMs` came closer. */
  onTimersChanged(nextCheckMs: number): void;
}

type Settle = (result: Result<unknown, CoordinatorFailure>) => void;

/** What the machine knows as a ticket. One object for a request's whole way: there are tens of thousands a second. */
class OpenTicket implements Ticket {
  readonly id: number;
  readonly settle: Settle;
  state: "deciding" | "parked" | "answered" = "deciding";
  /** When it is answered: with what, since when, and up to where the log has to be committed first. */
  answer: unknown = undefined;
  sinceMs = 0;
  nextOffset = 0;

  constructor(id: number, settle: Settle) {
    this.id = id;
    this.settle = settle;
  }
}

/** How long loading may keep the loop from everything else. */
const LOADING_TURN_MS = 5;
/** When the log may take again what it has no room or too few replicas for. */
const RETRY_TIMER_MS = 1_000;

/** What led to a decision, and has to be told or tried again when the log does not take it. */
type Cause<Timer> = OpenTicket | { readonly timer: Timer } | null;

/**
 * One incarnation of a coordinator for one partition: from becoming its leader until the leadership or the log is lost.
 * What went wrong is never undone: the shard is dropped, and the next incarnation is loaded from the log.
 */
export class Shard<Types extends MachineTypes, Machine extends ShardMachine<Types>> {
  readonly partition: number;
  readonly log: ShardLog;
  readonly machine: Machine;
  readonly #host: ShardHost<Types>;
  readonly timers: TimerQueue<Types["timer"]> = new TimerQueue();
  #state: "loading" | "active" | "gone" = "loading";
  /** What all are answered who are not yet, once it is gone. */
  #goneAs: CoordinatorFailure = "not-coordinator";
  /** Those that the machine keeps: most are answered by the decision about them. */
  readonly #parked = new Set<OpenTicket>();
  #ticketsGiven = 0;
  /** The next offset after all that was replayed: what an answer about hard state has to wait for. */
  #endOffset = 0;
  #committedOffset = 0;
  /** The end of the log as it was loaded: until that is committed a leader after this one may take some of it back. */
  #loadedOffset = 0;
  #askedOffset = 0;
  /** Answered, as soon as the log is committed so far. */
  readonly #waiting = new Deque<OpenTicket>();
  /** What was replayed and is not appended yet: one batch will hold it. */
  #gathered: CoordinatorRecord[] = [];
  #gatheredBytes = 0;
  readonly #effects = new Deque<{ readonly nextOffset: number; readonly effect: Types["effect"] }>();

  constructor(options: {
    readonly partition: number;
    readonly log: ShardLog;
    readonly machine: Machine;
    readonly host: ShardHost<Types>;
  }) {
    this.partition = options.partition;
    this.log = options.log;
    this.machine = options.machine;
    this.#host = options.host;
  }

  get state(): "loading" | "active" | "gone" {
    return this.#state;
  }

  /** When a timer or an answer that waits too long must be looked at. */
  get nextCheckMs(): number {
    // Who is gone runs no timers, however long they are due: nobody is to come back for them.
    if (this.#state !== "active") return Infinity;
    const oldest = this.#waiting.first();
    const commitDueMs = oldest === undefined ? Infinity : oldest.sinceMs + this.#host.commitTimeoutMs;
    return Math.min(this.timers.nextCheckMs, commitDueMs);
  }

  /**
   * Replays the whole log, also what is not committed yet: most often it will be. Nobody is answered before it is. Rejects when the log
   * cannot be read; a shard that went meanwhile just ends.
   */
  async load(): Promise<void> {
    let turnBeganMs = this.#host.clock.monotonicMs();
    for await (const batch of this.log.batches()) {
      if (this.#state === "gone") return;
      this.#replayBatch(batch);
      if (this.#host.clock.monotonicMs() - turnBeganMs < LOADING_TURN_MS) continue;
      await new Promise<void>((resolve) => this.#host.clock.afterTurn(resolve));
      turnBeganMs = this.#host.clock.monotonicMs();
    }
    if (this.#isGone()) return;
    this.#loadedOffset = this.#endOffset;
    this.#state = "active";
    this.#askForCommit();
    if (this.#isGone()) return;
    this.#apply(this.machine.decideLoaded(this.#host.clock.now()), null);
  }

  /** Puts one request to the machine. The promise settles when it answers, or when it no longer can. */
  ask<Response>(
    decide: (machine: Machine, ticket: Ticket<Response>, nowMs: TimeMs) => Decision<Types>,
  ): Promise<Result<Response, CoordinatorFailure>> {
    return new Promise((settle) => {
      const ticket = new OpenTicket(++this.#ticketsGiven, settle as Settle);
      this.#apply(decide(this.machine, ticket, this.#host.clock.now()), ticket);
      if (ticket.state === "answered") return;
      if (this.#isGone()) return ticket.settle(failed(this.#goneAs));
      ticket.state = "parked";
      this.#parked.add(ticket);
    });
  }

  /** A transaction that wrote to this log has ended: its marker is appended, and the machine told. Settles when that is committed. */
  endTransaction(marker: TransactionMarker): Promise<Result<void, CoordinatorFailure | MarkerAppendFailure>> {
    this.appendGathered();
    if (this.#isGone()) return Promise.resolve(failed("not-coordinator"));
    const appended = this.log.appendMarker(marker, this.#host.clock.now());
    if (!appended.ok) {
      const { failure } = appended;
      if (failure === "not-leader" || failure === "log-failed") this.#fail(failure);
      return Promise.resolve(failed(failure));
    }
    this.#endOffset = appended.value;
    this.machine.replayEndTransaction(marker.producerId, marker.outcome);
    return new Promise((settle) => {
      const ticket = new OpenTicket(++this.#ticketsGiven, settle as Settle);
      this.#reply({ ticket, response: undefined, when: "committed" });
      if (ticket.state !== "answered") ticket.settle(failed(this.#goneAs));
    });
  }

  /** Something that nobody waits for. */
  tell(decide: (machine: Machine) => Decision<Types>): void {
    this.#apply(decide(this.machine), null);
  }

  runTimers(nowMs: number): void {
    this.#failUncommitted(nowMs);
    for (let timer = this.#nextDue(nowMs); timer !== null; timer = this.#nextDue(nowMs)) {
      this.#apply(this.machine.decideTimer(timer, this.#host.clock.now()), { timer });
    }
  }

  /** Answers everyone and stops. */
  drop(failure: CoordinatorFailure): void {
    if (this.#state === "gone") return;
    this.#state = "gone";
    this.#goneAs = failure;
    const tickets = [...this.#parked, ...this.#waiting];
    for (const ticket of this.#parked) {
      assert(ticket.state === "parked", "who is parked has not been answered");
      ticket.state = "answered";
    }
    this.#parked.clear();
    this.#waiting.clear();
    this.#gathered = [];
    for (const ticket of tickets) ticket.settle(failed(failure));
  }

  #nextDue(nowMs: number): Types["timer"] | null {
    return this.#state === "active" ? this.timers.takeDue(nowMs) : null;
  }

  readonly #isCurrent = (): boolean => !this.#isGone();

  #isGone(): boolean {
    return this.#state === "gone";
  }

  #replayBatch(batch: RecordBatchView): void {
    const { producerId } = batch;
    for (const record of readRecords(batch)) {
      if (batch.isControl) {
        const marker = readEndTransactionMarker(record);
        if (marker !== null) this.machine.replayEndTransaction(producerId, marker.isCommit ? "commit" : "abort");
        continue;
      }
      if (record.key === null) continue;
      const decoded = this.machine.decode(record.key, record.value);
      if (decoded === null) continue;
      this.machine.replay(decoded, { offset: record.offset, producerId: batch.isTransactional ? producerId : -1 });
    }
    this.#endOffset = batch.lastOffset + 1;
  }

  #apply(decision: Decision<Types>, cause: Cause<Types["timer"]>): void {
    if (decision.records.length === 0) {
      for (const soft of decision.soft) this.machine.applySoft(soft);
    } else if (!this.#appendAndReplay(decision, cause)) {
      return;
    }
    this.#move(decision.timers);
    for (const reply of decision.replies) this.#reply(reply);
    for (const effect of decision.effects) this.#act(effect);
    for (const event of decision.events) this.#host.observe(this.partition, event);
  }

  /** False: nothing was changed, or the shard is gone. */
  #appendAndReplay(decision: Decision<Types>, cause: Cause<Types["timer"]>): boolean {
    const { records, producer } = decision;
    const producerId = producer === null ? -1 : producer.producerId;
    const encoded = records.map((record) => this.machine.encode(record));
    if (producer === null && this.#gather(encoded)) {
      for (const soft of decision.soft) this.machine.applySoft(soft);
      for (const record of records) this.machine.replay(record, { offset: this.#endOffset++, producerId });
      return true;
    }
    // What was decided before comes before.
    this.appendGathered();
    if (this.#isGone()) return false;
    let isFirst = true;
    for (const [start, end] of decision.isAtomic ? [[0, encoded.length] as const] : this.#split(encoded)) {
      const appended = this.log.append(encoded.slice(start, end), this.#host.clock.now(), producer);
      if (!appended.ok) {
        this.#refused(appended.failure, cause, isFirst);
        return false;
      }
      if (isFirst) for (const soft of decision.soft) this.machine.applySoft(soft);
      isFirst = false;
      this.#endOffset = appended.value;
      for (let index = start; index < end; index++) {
        this.machine.replay(records[index], { offset: appended.value - end + index, producerId });
      }
    }
    this.#askForCommit();
    return !this.#isGone();
  }

  /**
   * Whether these are few, and the log takes them soon with all else that comes meanwhile. Should it refuse them then, the shard is
   * dropped: they are replayed already.
   */
  #gather(encoded: readonly CoordinatorRecord[]): boolean {
    const { gatheredBytesMax, gathering } = this.#host;
    let bytes = 0;
    for (const record of encoded) bytes += sizeAtMost(record);
    const bytesMax = Math.min(gatheredBytesMax, this.log.batchBytesMax - BATCH_HEADER_BYTES);
    if (bytes > bytesMax || !this.log.isWritable) return false;
    if (this.#gatheredBytes + bytes > bytesMax) this.appendGathered();
    if (this.#isGone()) return false;
    if (this.#gathered.length === 0) {
      this.#endOffset = this.log.nextOffset;
      gathering.begin(this);
    } else gathering.noteMore();
    for (const record of encoded) this.#gathered.push(record);
    this.#gatheredBytes += bytes;
    return true;
  }

  /** What was gathered goes to the log. */
  appendGathered(): void {
    if (this.#gathered.length === 0) return;
    const records = this.#gathered;
    this.#gathered = [];
    this.#gatheredBytes = 0;
    const appended = this.log.append(records, this.#host.clock.now(), null);
    if (!appended.ok) return this.#fail(appended.failure === "not-leader" ? "not-leader" : "log-failed");
    // An administrator may write to an internal topic as well: then they stand elsewhere than was replayed.
    if (appended.value !== this.#endOffset) return this.#fail("log-failed");
    this.#askForCommit();
  }

  *#split(encoded: readonly CoordinatorRecord[]): Iterable<readonly [number, number]> {
    let start = 0;
    let bytes = 0;
    for (const [index, record] of encoded.entries()) {
      const recordBytes = sizeAtMost(record);
      if (index > start && bytes + recordBytes > this.#host.batchBytesMax) {
        yield [start, index];
        start = index;
        bytes = 0;
      }
      bytes += recordBytes;
    }
    yield [start, encoded.length];
  }

  #refused(failure: ShardAppendFailure, cause: Cause<Types["timer"]>, isUntouched: boolean): void {
    if (failure === "not-leader" || failure === "log-failed" || !isUntouched) {
      this.#fail(failure === "not-leader" ? "not-leader" : "log-failed");
    } else if (cause instanceof OpenTicket) {
      cause.state = "answered";
      cause.settle(failed(codeOfAppend[failure]));
    } else if (cause !== null) {
      this.#move([{ timer: cause.timer, afterMs: RETRY_TIMER_MS }]);
    }
  }

  /** What is gathered asks when it is appended. */
  #askForCommit(): void {
    if (this.#endOffset <= this.#askedOffset || this.#gathered.length > 0) return;
    const nextOffset = this.#endOffset;
    this.#askedOffset = nextOffset;
    this.log.whenCommitted(nextOffset, (failure) => {
      if (this.#isGone()) return;
      if (failure === null) this.#committed(nextOffset);
      else this.#fail(failure);
    });
  }

  #committed(nextOffset: number): void {
    if (nextOffset > this.#committedOffset) this.#committedOffset = nextOffset;
    for (
      let first = this.#waiting.first();
      first !== undefined && first.nextOffset <= this.#committedOffset;
      first = this.#waiting.first()
    ) {
      this.#waiting.shift();
      first.settle(ok(first.answer));
    }
    for (
      let first = this.#effects.first();
      first !== undefined && first.nextOffset <= this.#committedOffset;
      first = this.#effects.first()
    ) {
      this.#effects.shift();
      this.#host.act(this.partition, first.effect, this.#isCurrent);
    }
  }

  #act(effect: Types["effect"]): void {
    this.#askForCommit();
    if (this.#isGone()) return;
    if (this.#endOffset <= this.#committedOffset) this.#host.act(this.partition, effect, this.#isCurrent);
    else this.#effects.push({ nextOffset: this.#endOffset, effect });
  }

  #reply({ ticket, response, when }: Reply): void {
    assert(ticket instanceof OpenTicket, "a machine answers the tickets that it was given");
    const isSoft = when === "now" && this.#loadedOffset <= this.#committedOffset;
    if (!isSoft) this.#askForCommit();
    // Then everyone is answered.
    if (this.#isGone()) return;
    assert(ticket.state !== "answered", () => `ticket ${ticket.id} is answered twice`);
    if (ticket.state === "parked") this.#parked.delete(ticket);
    ticket.state = "answered";
    if (isSoft || this.#endOffset <= this.#committedOffset) {
      ticket.settle(ok(response));
    } else {
      const isFirst = this.#waiting.length === 0;
      ticket.answer = response;
      ticket.sinceMs = this.#host.heardMs();
      ticket.nextOffset = this.#endOffset;
      this.#waiting.push(ticket);
      if (isFirst) this.#host.onTimersChanged(this.nextCheckMs);
    }
  }

  /** What was appended stays appended: the clients only stop waiting for it, as with any lost answer. */
  #failUncommitted(nowMs: number): void {
    for (let first = this.#waiting.first(); first !== undefined; first = this.#waiting.first()) {
      if (first.sinceMs + this.#host.commitTimeoutMs > nowMs) return;
      this.#waiting.shift();
      first.settle(failed("not-available"));
    }
  }

  #move(changes: readonly TimerChange<Types["timer"]>[]): void {
    if (changes.length === 0) return;
    const before = this.timers.nextCheckMs;
    const nowMs = this.#host.heardMs();
    for (const { timer, afterMs } of changes) {
      if (afterMs === null) this.timers.cancel(timer.id);
      else this.timers.set(timer, nowMs + afterMs);
    }
    if (this.timers.nextCheckMs < before) this.#host.onTimersChanged(this.nextCheckMs);
  }

  #fail(failure: ShardCommitFailure): void {
    if (this.#isGone()) return;
    this.drop("not-coordinator");
    this.#host.onFailed(this, failure);
  }
}

/** Lengths, deltas and the count of headers take a few bytes each. */
function sizeAtMost({ key, value }: CoordinatorRecord): number {
  return key.length + (value?.length ?? 0) + 32;
}
