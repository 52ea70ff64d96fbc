import { nodeWorld } from "@millrace/base/node/node-world";
import type { Address, Clock, Network, Random } from "@millrace/base/world";
import type { Api } from "kafka-protocol-ts/api";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { metadata } from "kafka-protocol-ts/messages/03-metadata";
import type { MetadataResponse } from "kafka-protocol-ts/messages/03-metadata";
import { installNodeAccelerators } from "kafka-protocol-ts/node";
import { addressText, parseAddress } from "./address.ts";
import { Admin } from "./admin.ts";
import { BrokerConnection } from "./broker-connection.ts";
import { Consumer } from "./consumer.ts";
import type { ConsumerOptions } from "./consumer.ts";
import { brokerError, KafkaError } from "./errors.ts";
import { Producer } from "./producer.ts";
import type { ProducerOptions } from "./producer.ts";
import { Retries } from "./retries.ts";
import type { RetryOptions } from "./retries.ts";

export interface ClusterOptions {
  /** "host:port" of some brokers; the others are learned from them. */
  readonly brokers: readonly string[];
  readonly clientId?: string;
  readonly connectTimeoutMs?: number;
  readonly requestTimeoutMs?: number;
  /** Another clock and network than this machine's, as in a simulation. */
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
  /** -1 while there is none. */
  readonly leaderId: number;
  readonly leaderEpoch: number;
  readonly replicas: readonly number[];
  readonly inSyncReplicas: readonly number[];
}

/** A topic that does not exist is made by the broker, where its settings allow that. Reading never makes one. */
export interface TopicOptions {
  readonly mayCreate?: boolean;
}

/** A Kafka cluster as its clients see it: who leads what, and one connection to each broker. */
export class Cluster implements AsyncDisposable {
  readonly world: ClientWorld;
  readonly #options: Required<Pick<ClusterOptions, "clientId" | "connectTimeoutMs" | "requestTimeoutMs">>;
  readonly #bootstrap: readonly Address[];
  #brokers: ReadonlyMap<number, Address> = new Map();
  readonly #connections = new Map<string, BrokerConnection | Promise<BrokerConnection>>();
  readonly #topics = new Map<string, TopicMetadata>();
  readonly #asking = new Map<string, Promise<TopicMetadata>>();
  readonly #retries: Retries;
  readonly #closing = new AbortController();

  constructor(options: ClusterOptions) {
    installNodeAccelerators();
    this.world = options.world ?? nodeWorld();
    const { clientId = "millrace", connectTimeoutMs = 10_000, requestTimeoutMs = 30_000 } = options;
    this.#options = { clientId, connectTimeoutMs, requestTimeoutMs };
    this.#bootstrap = options.brokers.map(parseAddress);
    if (this.#bootstrap.length === 0) throw new KafkaError("INVALID_CONFIG", "no broker address was given");
    this.#retries = new Retries(this.world);
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

  /** Settles when a broker has answered; every call does this by itself, but fails later. */
  async connect(): Promise<void> {
    await this.#anyConnection();
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
    if (!this.#brokers.has(nodeId)) await this.#ask([], {});
    const address = this.#brokers.get(nodeId);
    if (address === undefined) {
      const sentence = `broker ${nodeId} is not in the cluster's metadata`;
      throw new KafkaError("BROKER_NOT_AVAILABLE", sentence, { retriable: true });
    }
    return this.#connect(address);
  }

  /** The connection to a partition's leader. */
  async leaderOf({ name, partitions }: TopicMetadata, partition: number): Promise<BrokerConnection> {
    const found = partitions[partition];
    if (found === undefined) throw brokerError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, `partition ${name}-${partition}`);
    if (found.leaderId < 0) throw brokerError(ErrorCode.LEADER_NOT_AVAILABLE, `partition ${name}-${partition}`);
    return this.connectionTo(found.leaderId);
  }

  /** What is known of a topic, without asking. */
  known(name: string): TopicMetadata | null {
    return this.#topics.get(name) ?? null;
  }

  /** The topic's partitions, from memory where it is known. Whoever asks while an answer is under way gets that one. */
  async topic(name: string, options: TopicOptions = {}): Promise<TopicMetadata> {
    const known = this.#topics.get(name);
    if (known !== undefined) return known;
    const key = `${options.mayCreate === true ? "create" : "look at"} ${name}`;
    let asking = this.#asking.get(key);
    if (asking === undefined) {
      asking = this.#askFor(name, options).finally(() => this.#asking.delete(key));
      this.#asking.set(key, asking);
    }
    return asking;
  }

  /** All topics. */
  async topics(): Promise<readonly TopicMetadata[]> {
    const answer = await this.#ask(null, {});
    const topics: TopicMetadata[] = [];
    for (const topic of answer) {
      if (topic.errorCode !== ErrorCode.NONE) throw brokerError(topic.errorCode, `topic ${topic.name}`);
      topics.push(metadataOf(topic));
    }
    return topics;
  }

  /** Forgets what is known of a topic: its next use asks again. */
  forget(name: string): void {
    this.#topics.delete(name);
  }

  /** Runs until it succeeds, fails for good, the time is over, or the cluster is closed. */
  async retrying<T>(options: RetryOptions, attempt: () => Promise<T>): Promise<T> {
    return this.#retries.run(options, attempt);
  }

  /** Closes all connections. What still waits for an answer fails. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    this.#retries.stop(closedError());
    const opening = [...this.#connections.values()];
    this.#connections.clear();
    for (const connection of opening) if (connection instanceof BrokerConnection) connection.close();
    await Promise.allSettled(opening.map(async (connection) => connection));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #askFor(name: string, options: TopicOptions): Promise<TopicMetadata> {
    const answer = await this.#ask([name], options);
    const found = answer.find((topic) => topic.name === name);
    if (found === undefined) throw brokerError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, `topic ${name}`);
    // Replicas or listeners that are missing are the matter of single partitions; what is there can be used.
    if (found.errorCode !== ErrorCode.NONE) throw brokerError(found.errorCode, `topic ${name}`);
    const topic = metadataOf(found);
    this.#topics.set(name, topic);
    return topic;
  }

  /** Asks for these topics (null: all of them; none: the brokers only) and remembers the brokers. */
  async #ask(
    names: readonly string[] | null,
    { mayCreate = false }: TopicOptions,
  ): Promise<MetadataResponse["topics"]> {
    const answer = await this.request(metadata, {
      topics: names === null ? null : names.map((name) => ({ name })),
      allowAutoTopicCreation: mayCreate,
    });
    if (answer.brokers.length > 0) {
      this.#brokers = new Map(answer.brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }]));
    }
    return answer.topics;
  }

  /** An open one first, then those that were learned; the addresses that were given are the last resort, and always one. */
  async #anyConnection(): Promise<BrokerConnection> {
    for (const connection of this.#connections.values()) {
      if (connection instanceof BrokerConnection && connection.isOpen) return connection;
    }
    const addresses = new Map([...this.#brokers.values(), ...this.#bootstrap].map((each) => [addressText(each), each]));
    const failures: unknown[] = [];
    for (const address of addresses.values()) {
      try {
        return await this.#connect(address);
      } catch (error) {
        failures.push(error);
      }
    }
    const [first] = failures;
    if (failures.length === 1 || this.#closing.signal.aborted) throw first;
    const sentences = failures.map((failure) => (failure as Error).message);
    throw new KafkaError("NOT_CONNECTED", `no broker can be reached: ${sentences.join("; ")}`, {
      retriable: failures.some((failure) => failure instanceof KafkaError && failure.retriable),
      cause: first,
    });
  }

  async #connect(address: Address): Promise<BrokerConnection> {
    if (this.#closing.signal.aborted) throw closedError();
    const key = addressText(address);
    const existing = this.#connections.get(key);
    if (existing instanceof Promise) return existing;
    if (existing?.isOpen === true) return existing;
    const opening = this.#open(key, address);
    this.#connections.set(key, opening);
    return opening;
  }

  async #open(key: string, address: Address): Promise<BrokerConnection> {
    const { clock, network } = this.world;
    const { signal } = this.#closing;
    try {
      const connection = await BrokerConnection.open(network, address, { ...this.#options, clock, signal });
      if (signal.aborted) connection.close();
      else this.#connections.set(key, connection);
      return connection;
    } catch (error) {
      this.#connections.delete(key);
      throw signal.aborted ? closedError() : error;
    }
  }
}

function closedError(): KafkaError {
  return new KafkaError("CLOSED", "the cluster was closed");
}

function metadataOf({ name, topicId, isInternal, partitions }: MetadataResponse["topics"][number]): TopicMetadata {
  const found = partitions
    .map(({ partitionIndex, leaderId, leaderEpoch, replicaNodes, isrNodes }) => ({
      index: partitionIndex,
      leaderId,
      leaderEpoch,
      replicas: replicaNodes,
      inSyncReplicas: isrNodes,
    }))
    .sort((a, b) => a.index - b.index);
  if (found.length === 0 || found.some(({ index }, at) => index !== at)) {
    throw new KafkaError("CORRUPT_MESSAGE", `topic ${name}: its metadata names no partition, or leaves one out`);
  }
  return { name: name ?? "", topicId, isInternal, partitions: found };
}
