import { AssertionFailure } from "@millrace/base/assert";
import type { Logger } from "@millrace/base/logger";
import { failed } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { TimeMs } from "@millrace/base/units";
import type { Clock, Timer } from "@millrace/base/world";
import { adaptiveLinger, Gathering } from "./gathering.ts";
import { HeardClock } from "./heard-clock.ts";
import type { Decision, MachineTypes, ShardMachine, Ticket } from "./machine.ts";
import { Shard } from "./shard.ts";
import type { CoordinatorFailure, ShardHost } from "./shard.ts";
import type { MarkerAppendFailure, ShardCommitFailure, ShardLog, TransactionMarker } from "./shard-log.ts";

export interface RuntimeOptions<Types extends MachineTypes, Machine extends ShardMachine<Types>> {
  /** For log lines: "group". */
  readonly name: string;
  readonly clock: Clock;
  readonly logger: Logger;
  createMachine(partition: number): Machine;
  /** How long an answer may wait for the high watermark (offsets.commit.timeout.ms). */
  readonly commitTimeoutMs: number;
  readonly batchBytesMax?: number;
  observe?(partition: number, event: Types["event"]): void;
  /**
   * A decision is committed, and asks for something outside of its log. `isCurrent` turns false when the shard that decided it has
   * gone: the next incarnation decides on it again, so whoever is still at it stops.
   */
  act?(partition: number, effect: Types["effect"], isCurrent: () => boolean): void;
  /**
   * Small decisions share a batch of at most so many bytes, which is appended a little later. Default 0: each has its own batch at
   * once, where what others append next must come after it.
   */
  readonly gatheredBytesMax?: number;
  /** When it is: see `Gathering`. Default: the adaptive one. */
  readonly lingerMs?: number;
  /** A partition's state is complete, and requests are taken. */
  onLoaded?(partition: number, machine: Machine): void;
  /** A bug in a machine showed itself outside any request. */
  fatal(error: unknown): void;
}

/** At least this often the clock is read while timers are armed: what is longer was a stall. */
const TICK_MS = 1_000;
const STALL_TOLERANCE_MS = 1_000;
const RELOAD_AFTER_MS = 1_000;
const RELOAD_AFTER_MAX_MS = 60_000;
const BATCH_BYTES_MAX = 512 * 1024;

/**
 * Hosts the shards of one kind of coordinator, one for each partition of its internal topic that this broker leads.
 *
 *     request ──> decide ──> append ──> replay at once, in the order of the log ──> answer when committed
 *
 * Small decisions may share a batch: then it is appended a little later, and who asked waits for it all the same.
 * A read answers when everything queued before it is committed, so nobody is told of what a failover could take back.
 * When an append fails or the leadership is lost, those who wait get a retriable error, and the shard is dropped and
 * loaded again from its log: nothing is undone by hand.
 */
export class CoordinatorRuntime<Types extends MachineTypes, Machine extends ShardMachine<Types>> {
  readonly #options: RuntimeOptions<Types, Machine>;
  readonly #heard: HeardClock;
  readonly #host: ShardHost<Types>;
  readonly #shards = new Map<number, Shard<Types, Machine>>();
  /** What was told to all while a shard was still loading. */
  readonly #toldWhileLoading = new Map<number, ((machine: Machine) => Decision<Types>)[]>();
  readonly #reloads = new Map<number, { readonly timer: Timer; readonly attempt: number }>();
  #wake: Timer | null = null;
  #wakeAtMs = Infinity;

  constructor(options: RuntimeOptions<Types, Machine>) {
    this.#options = options;
    const { clock } = options;
    this.#heard = new HeardClock(clock, { tickMs: TICK_MS, toleranceMs: STALL_TOLERANCE_MS });
    this.#host = {
      clock,
      heardMs: () => this.#heard.nowMs(),
      commitTimeoutMs: options.commitTimeoutMs,
      batchBytesMax: options.batchBytesMax ?? BATCH_BYTES_MAX,
      gatheredBytesMax: options.gatheredBytesMax ?? 0,
      gathering: new Gathering(clock, options.lingerMs ?? adaptiveLinger),
      observe: (partition, event) => options.observe?.(partition, event),
      act: (partition, effect, isCurrent) => options.act?.(partition, effect, isCurrent),
      onFailed: ({ partition, log }, failure) => this.#failed(partition, log, failure),
      onTimersChanged: (nextCheckMs) => this.#timersChanged(nextCheckMs),
    };
  }

  /** The partitions led here, loaded or not, in no particular order. */
  get partitions(): readonly number[] {
    return [...this.#shards.keys()];
  }

  isActive(partition: number): boolean {
    return this.#shards.get(partition)?.state === "active";
  }

  /** Whether a partition's requests still go to this machine: false once it was loaded again, or is led elsewhere. */
  isCurrent(partition: number, machine: Machine): boolean {
    const shard = this.#shards.get(partition);
    return shard?.state === "active" && shard.machine === machine;
  }

  onLeader(partition: number, log: ShardLog): void {
    this.onResigned(partition);
    this.#begin(partition, log);
  }

  onResigned(partition: number): void {
    this.#reloads.get(partition)?.timer.cancel();
    this.#reloads.delete(partition);
    this.#toldWhileLoading.delete(partition);
    const shard = this.#shards.get(partition);
    this.#shards.delete(partition);
    shard?.drop("not-coordinator");
  }

  close(): void {
    for (const partition of this.partitions) this.onResigned(partition);
    this.#wake?.cancel();
    this.#wake = null;
  }

  /** Puts a request to the shard of a partition. */
  ask<Response>(
    partition: number,
    decide: (machine: Machine, ticket: Ticket<Response>, nowMs: TimeMs) => Decision<Types>,
  ): Promise<Result<Response, CoordinatorFailure>> {
    const shard = this.#shards.get(partition);
    if (shard === undefined || shard.state === "gone") return Promise.resolve(failed("not-coordinator"));
    if (shard.state === "loading") return Promise.resolve(failed("loading"));
    return shard.ask<Response>(decide);
  }

  /** For people: how long a timer of a shard still runs; null: it does not. */
  timerLeftMs(partition: number, timerId: string): number | null {
    const dueMs = this.#shards.get(partition)?.timers.dueMs(timerId) ?? null;
    return dueMs === null ? null : Math.max(0, dueMs - this.#heard.nowMs());
  }

  /** Ends a transaction that wrote to a shard's log: the marker goes through the shard, since its state changes with it. */
  async endTransaction(
    partition: number,
    marker: TransactionMarker,
  ): Promise<Result<void, CoordinatorFailure | MarkerAppendFailure>> {
    const shard = this.#shards.get(partition);
    if (shard === undefined || shard.state === "gone") return failed("not-coordinator");
    if (shard.state === "loading") return failed("loading");
    return shard.endTransaction(marker);
  }

  /** Something for one shard that nobody waits for. One that is not active does not hear of it. */
  tell(partition: number, decide: (machine: Machine, nowMs: TimeMs) => Decision<Types>): void {
    const shard = this.#shards.get(partition);
    if (shard?.state === "active") shard.tell((machine) => decide(machine, this.#options.clock.now()));
  }

  /** Puts something to every shard; to one that is loading, once it has loaded. */
  tellAll(decide: (machine: Machine, nowMs: TimeMs) => Decision<Types>): void {
    const decideNow = (machine: Machine): Decision<Types> => decide(machine, this.#options.clock.now());
    for (const shard of [...this.#shards.values()]) {
      if (shard.state === "active") shard.tell(decideNow);
      else
        this.#toldWhileLoading.set(shard.partition, [
          ...(this.#toldWhileLoading.get(shard.partition) ?? []),
          decideNow,
        ]);
    }
  }

  #begin(partition: number, log: ShardLog): void {
    const shard = new Shard({ partition, log, machine: this.#options.createMachine(partition), host: this.#host });
    this.#shards.set(partition, shard);
    this.#load(shard);
  }

  #load(shard: Shard<Types, Machine>): void {
    const { name, logger, clock } = this.#options;
    const beganMs = clock.monotonicMs();
    const { partition, log } = shard;
    shard
      .load()
      .then(
        () => {
          if (shard.state !== "active") return;
          logger.debug(`${name} coordinator loaded`, { partition, tookMs: Math.round(clock.monotonicMs() - beganMs) });
          this.#reloads.delete(partition);
          const told = this.#toldWhileLoading.get(partition) ?? [];
          this.#toldWhileLoading.delete(partition);
          for (const decide of told) if (this.isActive(partition)) shard.tell(decide);
          if (this.isActive(partition)) this.#options.onLoaded?.(partition, shard.machine);
        },
        (error: unknown) => {
          if (shard.state === "gone") return;
          if (error instanceof AssertionFailure) throw error;
          logger.error(`${name} coordinator could not be loaded`, { partition, error });
          shard.drop("not-coordinator");
          this.#failed(partition, log, "log-failed");
        },
      )
      .catch((error: unknown) => this.#options.fatal(error));
  }

  #failed(partition: number, log: ShardLog, failure: ShardCommitFailure): void {
    const { name, logger, clock } = this.#options;
    logger.warn(`${name} coordinator dropped`, { partition, reason: failure });
    if (failure === "not-leader") {
      this.onResigned(partition);
      return;
    }
    const attempt = (this.#reloads.get(partition)?.attempt ?? 0) + 1;
    const timer = clock.schedule(Math.min(RELOAD_AFTER_MS * 2 ** (attempt - 1), RELOAD_AFTER_MAX_MS), () =>
      this.#begin(partition, log),
    );
    this.#reloads.set(partition, { timer, attempt });
  }

  /** Most answers wait for a commit long before the time at which somebody looks at them: then the other shards are let alone. */
  #timersChanged(nextCheckMs: number): void {
    const isLookedAtInTime = this.#wake !== null && this.#wakeAtMs <= nextCheckMs;
    if (!isLookedAtInTime) this.#schedule();
  }

  #schedule(): void {
    let checkMs = Infinity;
    for (const shard of this.#shards.values()) checkMs = Math.min(checkMs, shard.nextCheckMs);
    if (checkMs === Infinity) return;
    const nowMs = this.#heard.nowMs();
    const wakeAtMs = Math.min(Math.max(checkMs, nowMs), nowMs + TICK_MS);
    if (this.#wake !== null && this.#wakeAtMs <= wakeAtMs) return;
    this.#wake?.cancel();
    this.#wakeAtMs = wakeAtMs;
    this.#wake = this.#options.clock.schedule(Math.ceil(wakeAtMs - nowMs), () => this.#onWake());
  }

  #onWake(): void {
    this.#wake = null;
    this.#wakeAtMs = Infinity;
    const nowMs = this.#heard.nowMs();
    const isAnyDue = [...this.#shards.values()].some((shard) => shard.nextCheckMs <= nowMs);
    if (!isAnyDue) return this.#schedule();
    // A heartbeat may lie in a socket since before its session ran out: it is served first, and moves the timer.
    this.#options.clock.afterTurn(() => {
      try {
        for (const shard of [...this.#shards.values()]) if (shard.state === "active") shard.runTimers(nowMs);
      } catch (error) {
        this.#options.fatal(error);
        return;
      }
      this.#schedule();
    });
  }
}
