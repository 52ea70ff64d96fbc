import type { Logger } from "@millrace/base/logger";
import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { Clock } from "@millrace/base/world";
import type { Offset } from "@millrace/storage/types";
import type { BrokerConfigs } from "./config/broker-configs.ts";
import type { TransactionMarker } from "./coordinator/shard-log.ts";
import type { GroupCoordinator } from "./groups/coordinator.ts";
import { offsetsTopic } from "./groups-host.ts";
import { localOnly } from "./inter-broker.ts";
import type { InterBroker } from "./inter-broker.ts";
import type { MetadataDelta, MetadataImage } from "./metadata/image.ts";
import { CoordinatorLog } from "./partitions/coordinator-log.ts";
import { appendMarker } from "./partitions/markers.ts";
import type { Partition } from "./partitions/partition.ts";
import type { Partitions } from "./partitions/partitions.ts";
import type { ProducerIds } from "./producer-ids.ts";
import { admit, admitElsewhere } from "./transactions/admission.ts";
import type { Admission, AdmissionRequest } from "./transactions/admission.ts";
import { TransactionCoordinator } from "./transactions/coordinator.ts";
import type { OpenTransaction } from "./transactions/orphans.ts";
import type { MarkerFailure } from "./transactions/marker-writer.ts";
import { RemoteCoordinator } from "./transactions/remote-coordinator.ts";
import { RemoteMarkers } from "./transactions/remote-markers.ts";

export const transactionsTopic = "__transaction_state";
/** Kafka's request.timeout.ms, which it waits here: for the high watermark, and for the answers of other brokers. */
const commitTimeoutMs = 30_000;

export interface TransactionsHostOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly configs: BrokerConfigs;
  readonly partitions: Partitions;
  readonly groups: GroupCoordinator;
  readonly producerIds: ProducerIds;
  /** Default: this node is by itself. */
  readonly interBroker?: InterBroker;
  image(): MetadataImage;
  fatal(error: unknown): void;
}

/**
 * Sets the transaction coordinator upon the partitions of `__transaction_state` that this broker leads, takes its markers to their partitions,
 * here and on other brokers, and asks the coordinators of other brokers about what is written here.
 */
export class TransactionsHost {
  readonly coordinator: TransactionCoordinator;
  readonly #options: TransactionsHostOptions;
  readonly #interBroker: InterBroker;
  readonly #markers: RemoteMarkers;
  readonly #elsewhere: RemoteCoordinator;
  /** By index: the leader epoch in which its state was loaded. */
  readonly #hosted = new Map<number, number>();

  constructor(options: TransactionsHostOptions) {
    this.#options = options;
    const { clock, logger, producerIds, interBroker = localOnly(options.configs.nodeId) } = options;
    const { broker } = options.configs;
    this.#interBroker = interBroker;
    const around = {
      clock,
      interBroker,
      timeoutMs: commitTimeoutMs,
      fatal: (error: unknown): void => options.fatal(error),
    };
    this.#markers = new RemoteMarkers(around);
    this.#elsewhere = new RemoteCoordinator({
      ...around,
      concurrentWaitMs: broker["add.partitions.to.txn.retry.backoff.max.ms"],
      // One that has come here meanwhile is asked when the producer comes again.
      coordinatorOf: (transactionalId) =>
        this.#leaderElsewhere(transactionsTopic, this.coordinator.partitionFor(transactionalId)),
    });
    this.coordinator = new TransactionCoordinator({
      clock,
      logger,
      settings: {
        timeoutMaxMs: broker["transaction.max.timeout.ms"],
        idExpirationMs: broker["transactional.id.expiration.ms"],
        idExpirationCheckMs: broker["transaction.remove.expired.transaction.cleanup.interval.ms"],
        commitTimeoutMs,
        concurrentWaitMs: broker["add.partitions.to.txn.retry.backoff.max.ms"],
      },
      partitionCount: () =>
        options.image().topic(transactionsTopic)?.partitions.length ?? broker["transaction.state.log.num.partitions"],
      coordinatorEpoch: (index) => this.#hosted.get(index) ?? 0,
      newProducerId: () => producerIds.next(),
      end: (topic, index, marker, isCurrent) => this.#deliver(topic, index, marker, isCurrent),
      openTransactions: () => this.#openTransactions(),
      fatal: (error) => options.fatal(error),
    });
  }

  /** Whether every transactional id is coordinated here: otherwise one that nobody here knows may be known elsewhere. */
  get isEveryIdHere(): boolean {
    return this.#hosted.size === (this.#options.image().topic(transactionsTopic)?.partitions.length ?? 0);
  }

  /** May a producer write to these partitions in its transaction? */
  admit(request: AdmissionRequest): Promise<Admission> {
    const index = this.coordinator.partitionFor(request.transactionalId);
    const state = this.#options.partitions.leading(transactionsTopic, index);
    if (!state.ok && this.#leaderElsewhere(transactionsTopic, index) !== null)
      return admitElsewhere(this.#elsewhere, request);
    return admit(this.coordinator, request, state.ok ? state.value : null);
  }

  /** Appends a marker to a partition that is led here, and settles when it is committed. */
  async end(topic: string, index: number, marker: TransactionMarker): Promise<Result<void, MarkerFailure>> {
    const { partitions } = this.#options;
    const found = partitions.leading(topic, index);
    if (found.ok) return this.#endHere(found.value, marker);
    if (this.#isGone(topic, index)) return failed("gone", found.message);
    return failed(this.#leaderHere(topic, index) ? "not-ready" : "not-leader", found.message);
  }

  /** Where the partition is led at this moment. */
  #deliver(
    topic: string,
    index: number,
    marker: TransactionMarker,
    isCurrent: () => boolean,
  ): Promise<Result<void, MarkerFailure>> {
    const found = this.#options.partitions.leading(topic, index);
    if (found.ok) return this.#endHere(found.value, marker);
    const leader = this.#isGone(topic, index) ? null : this.#leaderElsewhere(topic, index);
    if (leader === null) return this.end(topic, index, marker);
    return this.#markers.write(leader, topic, index, marker, isCurrent);
  }

  async #endHere(partition: Partition, marker: TransactionMarker): Promise<Result<void, MarkerFailure>> {
    const { groups, clock } = this.#options;
    const { topic, index } = partition;
    // A marker is for all replicas: what cannot be committed soon is not begun.
    if (!partition.hasEnoughReplicas) return failed("not-enough-replicas");
    if (topic === offsetsTopic) {
      const ended = await groups.endTransaction(index, marker);
      if (ended.ok) return ended;
      return failed(ended.failure === "loading" ? "loading" : staleOr(ended.failure), ended.message);
    }
    const appended = appendMarker(partition, marker, clock.now());
    if (!appended.ok) return failed(staleOr(appended.failure), appended.message);
    return new Promise((settle) => {
      partition.whenCommitted(appended.value as Offset, (failure) =>
        settle(failure === null ? ok(undefined) : failed(failure === "not-leader" ? failure : "not-ready")),
      );
    });
  }

  #isGone(topic: string, index: number): boolean {
    return (this.#options.image().topic(topic)?.partitions.length ?? 0) <= index;
  }

  #leaderHere(topic: string, index: number): boolean {
    return this.#interBroker.leaderOf(topic, index) === this.#options.configs.nodeId;
  }

  #leaderElsewhere(topic: string, index: number): number | null {
    const leader = this.#interBroker.leaderOf(topic, index);
    return leader === this.#options.configs.nodeId ? null : leader;
  }

  /**
   * After the partitions were opened and have their roles, and after the groups: markers go to both. A partition of the internal topic is
   * hosted while it is led here; in a new leader epoch it is loaded anew, since others may have written to it meanwhile.
   */
  apply(delta: Pick<MetadataDelta, "changedTopics" | "deletedTopics">): void {
    for (const topic of delta.deletedTopics) {
      if (topic.name !== transactionsTopic) continue;
      for (const index of [...this.#hosted.keys()]) this.#resign(index);
    }
    for (const topic of delta.changedTopics) {
      if (topic.name !== transactionsTopic) continue;
      for (const { index } of topic.partitions) this.#host(index);
    }
  }

  /** Transactional ids whose partition is offline have no coordinator until a restart, or until another broker leads it. */
  partitionsWentOffline(): void {
    for (const index of [...this.#hosted.keys()])
      if (!this.#options.partitions.leading(transactionsTopic, index).ok) this.#resign(index);
  }

  #host(index: number): void {
    const { partitions } = this.#options;
    const found = partitions.leading(transactionsTopic, index);
    if (!found.ok) return this.#resign(index);
    const { leaderEpoch } = found.value;
    if (this.#hosted.get(index) === leaderEpoch) return;
    // First: the markers of what is loaded carry it.
    this.#hosted.set(index, leaderEpoch);
    this.coordinator.onLeader(index, new CoordinatorLog(found.value, partitions));
  }

  #resign(index: number): void {
    if (this.#hosted.delete(index)) this.coordinator.onResigned(index);
  }

  *#openTransactions(): Iterable<OpenTransaction> {
    const { partitions } = this.#options;
    for (const { topic, index, log } of partitions.all()) {
      // The end of a transaction comes to the leader first: a follower may not have heard of it.
      if (topic === transactionsTopic || !partitions.leading(topic, index).ok) continue;
      for (const { producerId, epoch, currentTxnFirstOffset } of log.producers()) {
        if (currentTxnFirstOffset === -1) continue;
        const hasSequences = topic !== offsetsTopic;
        yield { topic, partition: index, producerId, producerEpoch: epoch, hasSequences };
      }
    }
  }
}

function staleOr(failure: string): MarkerFailure {
  switch (failure) {
    case "stale-producer-epoch":
    case "stale-coordinator-epoch":
    case "not-leader":
      return failure;
    case "not-coordinator":
      return "not-leader";
    case "not-available":
      return "timed-out";
    default:
      return "not-ready";
  }
}
