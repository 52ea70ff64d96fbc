import { nodeWorld } from "@millrace/base/node/node-world";
import type { Address, Clock, Network, Random } from "@millrace/base/world";
import type { Api } from "kafka-protocol-ts/api";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { metadata } from "kafka-protocol-ts/messages/03-metadata";
import { installNodeAccelerators } from "kafka-protocol-ts/node";
import { Admin } from "./admin.ts";
import { BrokerConnection } from "./broker-connection.ts";
import { Consumer } from "./consumer.ts";
import type { ConsumerOptions } from "./consumer.ts";
import { brokerError, KafkaError } from "./errors.ts";
import { Producer } from "./producer.ts";
import type { ProducerOptions } from "./producer.ts";

export interface ClusterOptions {
  /** "host:port" of some brokers; the others are learned from them. */
  readonly brokers: readonly string[];
  readonly clientId?: string;
  readonly connectTimeoutMs?: number;
  readonly requestTimeoutMs?: number;
  /** For tests: another clock and network than this machine's. */
  readonly world?: ClientWorld;
}

export interface ClientWorld {
  readonly clock: Clock;
  readonly network: Network;
  readonly random: Random;
}

export interface TopicMetadata {
  readonly name: string;
  readonly topicId: string;
  readonly isInternal: boolean;
  /** By partition index. */
  readonly partitions: readonly PartitionMetadata[];
}

export interface PartitionMetadata {
  readonly index: number;
  readonly leaderId: number;
  readonly leaderEpoch: number;
  readonly replicas: readonly number[];
  readonly inSyncReplicas: readonly number[];
}

const retryBackoffMs = 100;

/** A Kafka cluster as its clients see it: who leads what, and one connection to each broker. */
export class Cluster implements AsyncDisposable {
  readonly world: ClientWorld;
  readonly #options: Required<Omit<ClusterOptions, "world">>;
  readonly #bootstrap: readonly Address[];
  readonly #brokers = new Map<number, Address>();
  readonly #connections = new Map<string, Promise<BrokerConnection>>();
  readonly #topics = new Map<string, TopicMetadata>();
  #isClosed = false;

  constructor(options: ClusterOptions) {
    installNodeAccelerators();
    this.world = options.world ?? nodeWorld();
    this.#options = { clientId: "millrace", connectTimeoutMs: 10_000, requestTimeoutMs: 30_000, ...options };
    this.#bootstrap = options.brokers.map(parseAddress);
  }

  admin(): Admin {
    return new Admin(this);
  }

  producer(options: ProducerOptions = {}): Producer {
    return new Producer(this, options);
  }

  consumer(options: ConsumerOptions = {}): Consumer {
    return new Consumer(this, options);
  }

  /** Asks any broker. */
  async request<Req, Res, ReqInput, ResInput>(
    api: Api<Req, Res, ReqInput, ResInput>,
    message: ReqInput | ((version: number) => ReqInput),
  ): Promise<Res> {
    const connection = await this.#anyConnection();
    return connection.request(api, message);
  }

  /** The connection to one broker, opened at first use. */
  async connectionTo(nodeId: number): Promise<BrokerConnection> {
    let address = this.#brokers.get(nodeId);
    if (address === undefined) {
      await this.refresh([]);
      address = this.#brokers.get(nodeId);
    }
    if (address === undefined) {
      throw new KafkaError("BROKER_NOT_AVAILABLE", `broker ${nodeId} is not in the cluster's metadata`, {
        retriable: true,
      });
    }
    return this.#connect(address);
  }

  /** The topic's partitions, from memory where it is known. */
  async topic(name: string): Promise<TopicMetadata> {
    const known = this.#topics.get(name);
    if (known !== undefined) return known;
    await this.refresh([name]);
    const found = this.#topics.get(name);
    if (found === undefined) throw brokerError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, `topic ${name}`);
    return found;
  }

  /** Forgets what is known of a topic: its next use asks again. */
  forget(name: string): void {
    this.#topics.delete(name);
  }

  /** Asks for these topics (null: all of them) and remembers the answer. */
  async refresh(names: readonly string[] | null): Promise<readonly TopicMetadata[]> {
    const answer = await this.request(metadata, {
      topics: names === null ? null : names.map((name) => ({ name })),
      allowAutoTopicCreation: true,
    });
    for (const { nodeId, host, port } of answer.brokers) this.#brokers.set(nodeId, { host, port });
    const topics: TopicMetadata[] = [];
    for (const { errorCode, name, topicId, isInternal, partitions } of answer.topics) {
      if (name === null) continue;
      if (errorCode === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION) {
        this.#topics.delete(name);
        continue;
      }
      if (errorCode !== ErrorCode.NONE && errorCode !== ErrorCode.LEADER_NOT_AVAILABLE) {
        throw brokerError(errorCode, `topic ${name}`);
      }
      const found: TopicMetadata = {
        name,
        topicId,
        isInternal,
        partitions: partitions
          .map(({ partitionIndex, leaderId, leaderEpoch, replicaNodes, isrNodes }) => ({
            index: partitionIndex,
            leaderId,
            leaderEpoch,
            replicas: replicaNodes,
            inSyncReplicas: isrNodes,
          }))
          .sort((a, b) => a.index - b.index),
      };
      if (found.partitions.length > 0 && found.partitions.every(({ leaderId }) => leaderId >= 0))
        this.#topics.set(name, found);
      topics.push(found);
    }
    return topics;
  }

  /** Runs until it succeeds, fails for good, or `timeoutMs` are over. */
  async retrying<T>(timeoutMs: number, attempt: () => Promise<T>): Promise<T> {
    const { clock, random } = this.world;
    const endMs = clock.monotonicMs() + timeoutMs;
    for (;;) {
      try {
        return await attempt();
      } catch (error) {
        const isWorthMore =
          error instanceof KafkaError && error.retriable && clock.monotonicMs() < endMs && !this.#isClosed;
        if (!isWorthMore) throw error;
      }
      const backoffMs = retryBackoffMs * (0.8 + 0.4 * random.fraction());
      await new Promise<void>((resolve) => {
        clock.schedule(backoffMs, resolve);
      });
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const connections = await Promise.allSettled(this.#connections.values());
    for (const connection of connections) if (connection.status === "fulfilled") connection.value.close();
    this.#connections.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #anyConnection(): Promise<BrokerConnection> {
    const addresses = [...this.#brokers.values(), ...this.#bootstrap];
    let lastFailure: unknown = new KafkaError("NOT_CONNECTED", "no broker address was given");
    for (const address of addresses) {
      try {
        return await this.#connect(address);
      } catch (error) {
        lastFailure = error;
      }
    }
    throw lastFailure;
  }

  async #connect(address: Address): Promise<BrokerConnection> {
    if (this.#isClosed) throw new KafkaError("CLOSED", "the cluster was closed");
    const key = `${address.host}:${address.port}`;
    const existing = this.#connections.get(key);
    if (existing !== undefined) {
      const connection = await existing.catch(() => null);
      if (connection?.isOpen === true) return connection;
      if (this.#connections.get(key) === existing) this.#connections.delete(key);
      return this.#connect(address);
    }
    const { clientId, connectTimeoutMs, requestTimeoutMs } = this.#options;
    const opening = BrokerConnection.open(this.world.network, address, {
      clock: this.world.clock,
      clientId,
      connectTimeoutMs,
      requestTimeoutMs,
    });
    this.#connections.set(key, opening);
    try {
      return await opening;
    } catch (error) {
      if (this.#connections.get(key) === opening) this.#connections.delete(key);
      throw error;
    }
  }
}

/** "host:port", also "[::1]:9092". */
export function parseAddress(text: string): Address {
  const match = /^(?:\[([^\]]+)\]|([^:\s]+)):(\d{1,5})$/.exec(text.trim());
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || !(port > 0 && port < 65536)) {
    throw new KafkaError("INVALID_CONFIG", `"${text}" is not a broker address (host:port)`);
  }
  return { host, port };
}
