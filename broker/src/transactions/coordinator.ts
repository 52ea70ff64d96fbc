import type { Logger } from "@millrace/base/logger";
import type { Result } from "@millrace/base/result";
import { failed, ok } from "@millrace/base/result";
import type { TimeMs } from "@millrace/base/units";
import type { Clock } from "@millrace/base/world";
import type { Ticket } from "../coordinator/machine.ts";
import { partitionFor } from "../coordinator/partition-for.ts";
import { RecentEvents } from "../coordinator/recent-events.ts";
import type { RecentEvent } from "../coordinator/recent-events.ts";
import { CoordinatorRuntime } from "../coordinator/runtime.ts";
import type { CoordinatorFailure } from "../coordinator/shard.ts";
import type { ShardLog } from "../coordinator/shard-log.ts";
import type {
  AddAnswer,
  AddCommand,
  DescribeAnswer,
  EndCommand,
  InitCommand,
  ListAnswer,
  ListCommand,
  Producer,
  ProducerAnswer,
  VerifyAnswer,
  VerifyCommand,
} from "./commands.ts";
import { isFrequent } from "./events.ts";
import type { TransactionEvent } from "./events.ts";
import type { TransactionFailure } from "./failures.ts";
import { MarkerWriter } from "./marker-writer.ts";
import type { MarkerWriterOptions, PendingMarker } from "./marker-writer.ts";
import { orphansOf } from "./orphans.ts";
import type { OpenTransaction } from "./orphans.ts";
import type { Transaction } from "./transaction.ts";
import { TransactionShard } from "./transaction-shard.ts";
import type { TransactionSettings } from "./transaction-shard.ts";
import type { MarkersToWrite, TransactionDecision, TransactionTypes } from "./types.ts";

export interface TransactionCoordinatorOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly settings: TransactionSettings & {
    /** How long an answer may wait for the high watermark. */
    readonly commitTimeoutMs: number;
    /** `add.partitions.to.txn.retry.backoff.max.ms`: how long a request waits for the end of the transaction before. */
    readonly concurrentWaitMs: number;
  };
  /** Of __transaction_state, as it is or will be made. */
  partitionCount(): number;
  /** The leader epoch in which a partition of __transaction_state was loaded here: its markers carry it. */
  coordinatorEpoch(partition: number): number;
  newProducerId(): Promise<Result<number, unknown>>;
  readonly end: MarkerWriterOptions["end"];
  /** Transactions that are open in partitions here, whoever coordinates them. */
  openTransactions(): Iterable<OpenTransaction>;
  /** A bug showed itself outside of any request. */
  fatal(error: unknown): void;
}

/** Why a request got nothing. */
export type TransactionRequestFailure = TransactionFailure | CoordinatorFailure;
type Answer<T> = Promise<Result<T, TransactionRequestFailure>>;
type Decide<T> = (shard: TransactionShard, ticket: Ticket<T>, nowMs: TimeMs) => TransactionDecision;

/**
 * The transaction coordinator of this broker, over the shards of those partitions of __transaction_state that are led here. It finds the
 * shard, gives producer ids, writes the markers of what was decided, and lets a request wait a moment for the end of the transaction
 * before; the rules are the machine's.
 */
export class TransactionCoordinator {
  readonly #options: TransactionCoordinatorOptions;
  readonly #runtime: CoordinatorRuntime<TransactionTypes, TransactionShard>;
  readonly #markers: MarkerWriter;
  readonly #recentEvents = new RecentEvents<TransactionEvent>();
  /** By transactional id: who waits for its transaction to be complete. */
  readonly #waiting = new Map<string, Set<() => void>>();

  constructor(options: TransactionCoordinatorOptions) {
    this.#options = options;
    const { clock, logger, settings } = options;
    this.#markers = new MarkerWriter({ clock, logger, end: options.end });
    this.#runtime = new CoordinatorRuntime({
      name: "transaction",
      clock,
      logger,
      createMachine: () => new TransactionShard(settings),
      commitTimeoutMs: settings.commitTimeoutMs,
      observe: (partition, event) => this.#observe(partition, event),
      act: (partition, effect, isCurrent) => {
        this.#complete(partition, effect, isCurrent).catch((error: unknown) => options.fatal(error));
      },
      onLoaded: (partition, shard) => {
        this.#endOrphans(partition, shard).catch((error: unknown) => options.fatal(error));
      },
      fatal: (error) => options.fatal(error),
    });
  }

  partitionFor(transactionalId: string): number {
    return partitionFor(transactionalId, this.#options.partitionCount());
  }

  onLeader(partition: number, log: ShardLog): void {
    this.#runtime.onLeader(partition, log);
  }

  onResigned(partition: number): void {
    this.#runtime.onResigned(partition);
    // Who waits for the end of a transaction is told where to ask.
    for (const [transactionalId, waiting] of this.#waiting) {
      if (this.partitionFor(transactionalId) === partition) for (const wake of [...waiting]) wake();
    }
  }

  isActive(partition: number): boolean {
    return this.#runtime.isActive(partition);
  }

  close(): void {
    this.#runtime.close();
  }

  /** The latest events, oldest first: who was fenced and by whom, why a transaction was aborted. */
  recentEvents(transactionalId: string): readonly RecentEvent<TransactionEvent>[] {
    return this.#recentEvents.filter((event) => event.transactionalId === transactionalId);
  }

  /** Which partitions lack the marker of what was decided, and why. */
  pendingMarkers(transactionalId: string): readonly PendingMarker[] {
    return this.#markers.pendingOf(transactionalId);
  }

  /** InitProducerId. What a predecessor has open is aborted first. */
  async init(command: Omit<InitCommand, "ticket" | "newProducerId">): Answer<Producer> {
    return this.#whenComplete(command.transactionalId, () =>
      this.#producer(command.transactionalId, (shard, ticket, nowMs, newProducerId) =>
        shard.decideInit({ ...command, ticket, newProducerId }, nowMs),
      ),
    );
  }

  /** Names partitions that are about to be written to. `isPatient`: it waits a moment for the end of the transaction before. */
  async add(command: Omit<AddCommand, "ticket">, isPatient = true): Answer<void> {
    const { transactionalId } = command;
    const ask = async (): Answer<void> => {
      const answer = await this.#ask<AddAnswer>(transactionalId, (shard, ticket, nowMs) =>
        shard.decideAdd({ ...command, ticket }, nowMs),
      );
      if (!answer.ok) return answer;
      const { failure } = answer.value;
      return failure === null ? ok(undefined) : failed(failure);
    };
    return isPatient ? this.#whenComplete(transactionalId, ask) : ask();
  }

  /** Which of these partitions belong to the open transaction. `isPatient` as for `add`. */
  async verify(command: Omit<VerifyCommand, "ticket">, isPatient = true): Answer<VerifyAnswer["isIn"]> {
    const { transactionalId } = command;
    const ask = async (): Answer<VerifyAnswer["isIn"]> => {
      const answer = await this.#ask<VerifyAnswer>(transactionalId, (shard, ticket) =>
        shard.decideVerify({ ...command, ticket }),
      );
      if (!answer.ok) return answer;
      const { failure, isIn } = answer.value;
      return failure === null ? ok(isIn) : failed(failure);
    };
    return isPatient ? this.#whenComplete(transactionalId, ask) : ask();
  }

  /** EndTxn. Gives the producer to go on with. */
  async end(command: Omit<EndCommand, "ticket" | "newProducerId">): Answer<Producer> {
    return this.#producer(command.transactionalId, (shard, ticket, nowMs, newProducerId) =>
      shard.decideEnd({ ...command, ticket, newProducerId }, nowMs),
    );
  }

  /** Null: the id is not known. */
  async describe(transactionalId: string): Answer<Transaction | null> {
    const answer = await this.#ask<DescribeAnswer>(transactionalId, (shard, ticket) =>
      shard.decideDescribe({ ticket, transactionalIds: [transactionalId] }),
    );
    return answer.ok ? ok(answer.value.transactions[0] ?? null) : answer;
  }

  /** Of all ids coordinated here. One shard that is not ready makes the list incomplete, so there is none. */
  async list(filter: Omit<ListCommand, "ticket">): Answer<ListAnswer["transactions"]> {
    const answers = await Promise.all(
      this.#runtime.partitions.map((partition) =>
        this.#runtime.ask<ListAnswer>(partition, (shard, ticket, nowMs) =>
          shard.decideList({ ...filter, ticket }, nowMs),
        ),
      ),
    );
    const listed: ListAnswer["transactions"][number][] = [];
    for (const answer of answers) {
      if (answer.ok) listed.push(...answer.value.transactions);
      else if (answer.failure !== "not-coordinator") return answer;
    }
    return ok(listed);
  }

  #ask<T>(transactionalId: string, decide: Decide<T>): Promise<Result<T, CoordinatorFailure>> {
    return this.#runtime.ask<T>(this.partitionFor(transactionalId), decide);
  }

  /** A machine draws nothing by itself: where it needs a new producer id, it is asked once more with one. */
  async #producer(
    transactionalId: string,
    decide: (
      shard: TransactionShard,
      ticket: Ticket<ProducerAnswer>,
      nowMs: TimeMs,
      newProducerId: number | null,
    ) => TransactionDecision,
  ): Answer<Producer> {
    for (let newProducerId: number | null = null; ;) {
      const given = newProducerId;
      const answer = await this.#ask<ProducerAnswer>(transactionalId, (shard, ticket, nowMs) =>
        decide(shard, ticket, nowMs, given),
      );
      if (!answer.ok) return answer;
      if (answer.value.kind === "granted") return ok(answer.value.producer);
      if (answer.value.kind === "refused") return failed(answer.value.failure);
      const next = await this.#options.newProducerId();
      if (!next.ok) return failed("not-available");
      newProducerId = next.value;
    }
  }

  /** Most clients ask for their next transaction while the markers of the last one are being written: they are let in when that is over. */
  async #whenComplete<T>(transactionalId: string, ask: () => Answer<T>): Answer<T> {
    const { clock, settings } = this.#options;
    const untilMs = clock.monotonicMs() + settings.concurrentWaitMs;
    for (;;) {
      const answer = await ask();
      if (answer.ok || answer.failure !== "concurrent-transactions") return answer;
      const leftMs = untilMs - clock.monotonicMs();
      if (leftMs <= 0) return answer;
      // Whole milliseconds: what rounding leaves of one would not let the time pass.
      await this.#untilComplete(transactionalId, Math.ceil(leftMs));
    }
  }

  #untilComplete(transactionalId: string, waitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const waiting = this.#waiting.get(transactionalId) ?? new Set();
      this.#waiting.set(transactionalId, waiting);
      const wake = (): void => {
        timer.cancel();
        waiting.delete(wake);
        if (waiting.size === 0) this.#waiting.delete(transactionalId);
        resolve();
      };
      const timer = this.#options.clock.schedule(waitMs, wake);
      waiting.add(wake);
    });
  }

  async #complete(partition: number, markers: MarkersToWrite, isCurrent: () => boolean): Promise<void> {
    const isWritten = await this.#markers.write(markers, this.#options.coordinatorEpoch(partition), isCurrent);
    if (isWritten && isCurrent())
      this.#runtime.tell(partition, (shard, nowMs) => shard.decideCompleted(markers, nowMs));
  }

  /** See orphansOf. */
  async #endOrphans(partition: number, shard: TransactionShard): Promise<void> {
    if (shard.transactions.size === 0) return;
    const { logger, coordinatorEpoch } = this.#options;
    const orphans = orphansOf(shard.transactions.values(), this.#options.openTransactions());
    for (const { topics, ...orphan } of orphans)
      logger.warn("a transaction that its coordinator does not know of is aborted", { ...orphan, ...topics[0] });
    const isCurrent = (): boolean => this.#runtime.isCurrent(partition, shard);
    const epoch = coordinatorEpoch(partition);
    await Promise.all(orphans.map((markers) => this.#markers.write(markers, epoch, isCurrent)));
  }

  #observe(partition: number, event: TransactionEvent): void {
    const { clock, logger } = this.#options;
    this.#recentEvents.add(clock.now(), event, { isFrequent: isFrequent(event) });
    logger.debug("transactional id", { partition, event });
    if (event.kind === "completed") for (const wake of [...(this.#waiting.get(event.transactionalId) ?? [])]) wake();
  }
}
