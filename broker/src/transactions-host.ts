import type { Logger } from "@millrace/base/logger";
import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { Clock } from "@millrace/base/world";
import type { Offset } from "@millrace/storage/types";
import type { BrokerConfigs } from "./config/broker-configs.ts";
import type { TransactionMarker } from "./coordinator/shard-log.ts";
import type { GroupCoordinator } from "./groups/coordinator.ts";
import { offsetsTopic } from "./groups-host.ts";
import type { MetadataDelta, MetadataImage, TopicImage } from "./metadata/image.ts";
import { CoordinatorLog } from "./partitions/coordinator-log.ts";
import { appendMarker } from "./partitions/markers.ts";
import type { Partitions } from "./partitions/partitions.ts";
import type { ProducerIds } from "./producer-ids.ts";
import { admit } from "./transactions/admission.ts";
import type { Admission, AdmissionRequest } from "./transactions/admission.ts";
import { TransactionCoordinator } from "./transactions/coordinator.ts";
import type { OpenTransaction } from "./transactions/orphans.ts";
import type { MarkerFailure } from "./transactions/marker-writer.ts";

export const transactionsTopic = "__transaction_state";
/** Kafka's request.timeout.ms, which it waits here. */
const commitTimeoutMs = 30_000;

export interface TransactionsHostOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly configs: BrokerConfigs;
  readonly partitions: Partitions;
  readonly groups: GroupCoordinator;
  readonly producerIds: ProducerIds;
  image(): MetadataImage;
  fatal(error: unknown): void;
}

/** Sets the transaction coordinator upon the partitions of `__transaction_state` that this broker leads, and takes its markers to their partitions. */
export class TransactionsHost {
  readonly coordinator: TransactionCoordinator;
  readonly #options: TransactionsHostOptions;
  readonly #hosted = new Set<number>();

  constructor(options: TransactionsHostOptions) {
    this.#options = options;
    const { clock, logger, producerIds, partitions } = options;
    const { broker } = options.configs;
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
      coordinatorEpoch: (index) => {
        const partition = partitions.leading(transactionsTopic, index);
        return partition.ok ? partition.value.leaderEpoch : 0;
      },
      newProducerId: () => producerIds.next(),
      end: (topic, index, marker) => this.end(topic, index, marker),
      openTransactions: () => this.#openTransactions(),
      fatal: (error) => options.fatal(error),
    });
  }

  /** May a producer write to these partitions in its transaction? */
  admit(request: AdmissionRequest): Promise<Admission> {
    return admit(this.coordinator, request, (transactionalId) => {
      const index = this.coordinator.partitionFor(transactionalId);
      const found = this.#options.partitions.leading(transactionsTopic, index);
      return found.ok ? found.value : null;
    });
  }

  /** Appends a marker, from the coordinator or from an administrator's tool, and settles when it is committed. */
  async end(topic: string, index: number, marker: TransactionMarker): Promise<Result<void, MarkerFailure>> {
    const { groups, partitions, clock, image } = this.#options;
    if (topic === offsetsTopic) {
      const ended = await groups.endTransaction(index, marker);
      if (ended.ok) return ended;
      return failed(ended.failure === "loading" ? "loading" : staleOr(ended.failure), ended.message);
    }
    const found = partitions.leading(topic, index);
    if (!found.ok) {
      const isThere = (image().topic(topic)?.partitions.length ?? 0) > index;
      return failed(isThere ? "not-ready" : "gone", found.message);
    }
    const appended = appendMarker(found.value, marker, clock.now());
    if (!appended.ok) return failed(staleOr(appended.failure), appended.message);
    return new Promise((settle) => {
      found.value.whenCommitted(appended.value as Offset, (failure) =>
        settle(failure === null ? ok(undefined) : failed("not-ready")),
      );
    });
  }

  /** After the partitions were opened, and the groups: markers go to both. */
  apply(delta: Pick<MetadataDelta, "changedTopics" | "deletedTopics">): void {
    for (const topic of delta.deletedTopics) {
      if (topic.name !== transactionsTopic) continue;
      for (const index of this.#hosted) this.coordinator.onResigned(index);
      this.#hosted.clear();
    }
    for (const topic of delta.changedTopics) if (topic.name === transactionsTopic) this.#host(topic);
  }

  /** Transactional ids whose partition is offline have no coordinator until a restart. */
  partitionsWentOffline(): void {
    for (const index of this.#hosted) {
      if (this.#options.partitions.leading(transactionsTopic, index).ok) continue;
      this.#hosted.delete(index);
      this.coordinator.onResigned(index);
    }
  }

  #host(topic: TopicImage): void {
    const { partitions } = this.#options;
    for (const { index } of topic.partitions) {
      const partition = partitions.leading(transactionsTopic, index);
      if (!partition.ok || this.#hosted.has(index)) continue;
      this.#hosted.add(index);
      this.coordinator.onLeader(index, new CoordinatorLog(partition.value, partitions));
    }
  }

  *#openTransactions(): Iterable<OpenTransaction> {
    for (const { topic, index, log } of this.#options.partitions.all()) {
      if (topic === transactionsTopic) continue;
      for (const { producerId, epoch, currentTxnFirstOffset } of log.producers()) {
        if (currentTxnFirstOffset === -1) continue;
        const hasSequences = topic !== offsetsTopic;
        yield { topic, partition: index, producerId, producerEpoch: epoch, hasSequences };
      }
    }
  }
}

function staleOr(failure: string): MarkerFailure {
  return failure === "stale-producer-epoch" || failure === "stale-coordinator-epoch" ? failure : "not-ready";
}
