import type { Logger } from "@millrace/base/logger";
import type { Clock } from "@millrace/base/world";
import type { BrokerConfigs } from "../config/broker-configs.ts";
import type { MetadataDelta, TopicImage } from "../metadata/image.ts";
import type { Partitions } from "../partitions/partitions.ts";
import { ReplicaFetcher } from "./fetcher.ts";
import type { FetcherCounts } from "./fetcher.ts";
import { Followed, keyOf } from "./followed.ts";
import { ReplicationQuota } from "./quota.ts";
import type { ReplicaLink } from "./replica-link.ts";

export interface ReplicasOptions {
  readonly partitions: Partitions;
  readonly configs: BrokerConfigs;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Of this broker's registration; -1 before. */
  brokerEpoch(): number;
  /** Does not wait: a link that cannot be made rejects its first fetch. */
  connect(leader: number): ReplicaLink;
  fatal(error: unknown): void;
}

/** Which partitions are fetched from which leader: one fetcher for each broker that leads something that is followed here. */
export class Replicas {
  readonly #options: ReplicasOptions;
  readonly #fetchers = new Map<number, ReplicaFetcher>();
  /** By partition: the leader whose fetcher has it. */
  readonly #leaderOf = new Map<string, number>();
  #isClosed = false;

  readonly #quota: ReplicationQuota;

  constructor(options: ReplicasOptions) {
    this.#options = options;
    const { clock, configs } = options;
    this.#quota = new ReplicationQuota(clock, () => configs.broker["follower.replication.throttled.rate"]);
  }

  /** Brokers that something is fetched from. */
  get leaders(): readonly number[] {
    return [...this.#fetchers.keys()];
  }

  counts(leader: number): FetcherCounts | null {
    return this.#fetchers.get(leader)?.counts ?? null;
  }

  /** After `Partitions` has applied the same change, so that each replica has its role; at the start, with all topics. */
  apply({ changedTopics, deletedTopics }: Pick<MetadataDelta, "changedTopics" | "deletedTopics">): void {
    if (this.#isClosed) return;
    for (const topic of deletedTopics) for (const { index } of topic.partitions) this.#drop(keyOf(topic.id, index));
    for (const topic of changedTopics) this.#assign(topic);
    for (const [leader, fetcher] of this.#fetchers) {
      if (fetcher.size > 0) continue;
      fetcher.close();
      this.#fetchers.delete(leader);
    }
  }

  close(): void {
    this.#isClosed = true;
    for (const fetcher of this.#fetchers.values()) fetcher.close();
    this.#fetchers.clear();
    this.#leaderOf.clear();
  }

  #assign(topic: TopicImage): void {
    for (const { index } of topic.partitions) {
      const key = keyOf(topic.id, index);
      const partition = this.#options.partitions.replica(topic.id, index);
      const following = partition?.followingIn(partition.leaderEpoch) ?? null;
      if (partition === undefined || following === null) {
        this.#drop(key);
        continue;
      }
      const { leader } = following;
      if (this.#leaderOf.get(key) !== leader) this.#drop(key);
      const followed = new Followed(partition, following);
      const fetcher = this.#fetcherOf(leader);
      if (fetcher.has(followed)) continue;
      fetcher.add(followed);
      this.#leaderOf.set(key, leader);
    }
  }

  #drop(key: string): void {
    const leader = this.#leaderOf.get(key);
    if (leader === undefined) return;
    this.#leaderOf.delete(key);
    this.#fetchers.get(leader)?.remove(key);
  }

  #fetcherOf(leader: number): ReplicaFetcher {
    let fetcher = this.#fetchers.get(leader);
    if (fetcher !== undefined) return fetcher;
    const { configs, clock, logger, fatal, brokerEpoch } = this.#options;
    const { broker } = configs;
    fetcher = new ReplicaFetcher({
      leader,
      nodeId: configs.nodeId,
      clock,
      logger,
      settings: {
        partitionBytesMax: broker["replica.fetch.max.bytes"],
        responseBytesMax: broker["replica.fetch.response.max.bytes"],
        bytesMin: broker["replica.fetch.min.bytes"],
        waitMaxMs: broker["replica.fetch.wait.max.ms"],
        backoffMs: broker["replica.fetch.backoff.ms"],
      },
      quota: this.#quota,
      brokerEpoch,
      connect: () => this.#options.connect(leader),
      fatal,
    });
    this.#fetchers.set(leader, fetcher);
    return fetcher;
  }
}
