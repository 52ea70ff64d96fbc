import type { Logger } from "@millrace/base/logger";
import { silentLogger } from "@millrace/base/logger";
import type { Address, Clock, Network, Random, TlsClientOptions } from "@millrace/base/world";
import type { Api } from "kafka-protocol-ts/api";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { metadata as metadataApi } from "kafka-protocol-ts/messages/03-metadata";
import type { MetadataResponse } from "kafka-protocol-ts/messages/03-metadata";
import { findCoordinator } from "kafka-protocol-ts/messages/10-find-coordinator";
import { brokerError, KafkaError } from "../errors.ts";
import { addressText } from "./address.ts";
import type { SaslOptions } from "./sasl.ts";
import { BrokerConnection } from "./broker-connection.ts";
import { saslWanted } from "./connection-errors.ts";
import { metadataAsked } from "./diagnostics.ts";
import type { RequestObserver } from "./diagnostics.ts";
import { firstOf } from "./first-of.ts";
import { Metadata, topicOf } from "./metadata.ts";
import type { TopicMetadata } from "./metadata.ts";
import { isTimedOut, Retries } from "./retries.ts";
import type { RetryOptions } from "./retries.ts";

/** What of the world a client uses: a simulation gives others. */
export interface ClientWorld {
  /** Time and timers. */
  readonly clock: Clock;
  /** Connections to addresses. */
  readonly network: Network;
  /** Chance: for pauses, partitions of records without a key, nonces. */
  readonly random: Random;
}

export interface WireOptions {
  readonly bootstrap: readonly Address[];
  readonly clientId: string;
  readonly connectTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly metadataMaxAgeMs: number;
  readonly tls?: TlsClientOptions;
  readonly sasl?: SaslOptions;
  readonly logger?: Logger;
  readonly observer?: RequestObserver;
}

/** A topic that does not exist is made by the broker, where its settings allow that. Reading never makes one. */
export interface TopicOptions {
  /** Default false. */
  readonly mayCreate?: boolean;
}

/**
 * What a connection is for. A broker answers the requests of a connection one after the other, so that a Fetch or a
 * JoinGroup that waits would hold up everything behind it: each of those has a connection of its own.
 */
export type Purpose = "main" | (string & {});

export type CoordinatorKind = "group" | "transaction" | "share";

const coordinatorTypes = { group: 0, transaction: 1, share: 2 } as const satisfies Record<CoordinatorKind, number>;

/** A broker that could not be reached is left alone for so long at first, and up to ten times as long later. */
const reconnectBackoffMsMin = 100;
const reconnectBackoffMsMax = 1_000;

/** Between two tries to learn anew of a topic of which something is known. */
const refreshPauseMs = 1_000;

/** Where one broker is silent for so long, the next one is asked, too. */
const patienceMs = 1_000;

/** So many connections in a row that end at their first request, at a broker that has never answered one: then it is not chance. */
const unwantedMax = 5;
/** How long brokers may need to hear of a topic that the controller has made, before it counts as unknown. */
export const creationNewsMsMax = 2_000;

interface Endpoint {
  readonly purpose: Purpose;
  connection: BrokerConnection | Promise<BrokerConnection> | null;
  failuresCount: number;
  unwantedCount: number;
  hasWorked: boolean;
  /** Monotonic. */
  notBeforeMs: number;
}

/**
 * A Kafka cluster as the parts of a client reach it: who leads what, who coordinates what, and the connections there.
 * Producer, consumer and admin ask it for a connection each time and keep none.
 */
export class Wire {
  readonly world: ClientWorld;
  readonly logger: Logger;
  readonly metadata: Metadata = new Metadata();
  /** Aborted when the cluster is closed. */
  readonly closed: AbortSignal;
  readonly #options: WireOptions;
  readonly #endpoints = new Map<string, Endpoint>();
  readonly #asking = new Map<string, Promise<TopicMetadata>>();
  /** Of topics whose last refresh did not succeed. Monotonic. */
  readonly #refreshNotBeforeMs = new Map<string, number>();
  readonly #coordinators = new Map<string, number>();
  readonly #retries: Retries;
  readonly #closing = new AbortController();
  #purposesCount = 0;
  /** How often any broker was asked for. */
  #turnsCount = 0;

  constructor(world: ClientWorld, options: WireOptions) {
    this.world = world;
    this.logger = options.logger ?? silentLogger;
    this.closed = this.#closing.signal;
    this.#options = options;
    this.#retries = new Retries(world);
  }

  get clientId(): string {
    return this.#options.clientId;
  }

  get requestTimeoutMs(): number {
    return this.#options.requestTimeoutMs;
  }

  /** What is known of a topic is asked for again when it is so old. */
  get metadataMaxAgeMs(): number {
    return this.#options.metadataMaxAgeMs;
  }

  /** A purpose that nobody else has: "fetch-3". */
  newPurpose(what: string): Purpose {
    return `${what}-${++this.#purposesCount}`;
  }

  // --- Requests ---------------------------------------------------------------------------------------------------------

  /** Asks any broker. */
  async request<Req, Res, ReqInput, ResInput>(
    api: Api<Req, Res, ReqInput, ResInput>,
    message: ReqInput | ((version: number) => ReqInput),
  ): Promise<Res> {
    const connection = await this.any();
    return connection.request(api, message);
  }

  /** Runs until it succeeds, fails for good, the time is over, or the cluster is closed. */
  async retrying<T>(options: RetryOptions, attempt: () => Promise<T>): Promise<T> {
    return this.#retries.run(options, attempt);
  }

  // --- Connections ------------------------------------------------------------------------------------------------------

  /**
   * A connection to any broker: an open one that may be used at once first, then brokers that were learned; the given addresses
   * last. Of the open ones each in its turn: a broker that is cut off from its cluster answers as ever, and knows nothing new.
   */
  async any(): Promise<BrokerConnection> {
    let throttled: BrokerConnection | null = null;
    const ready: BrokerConnection[] = [];
    for (const { connection, purpose } of this.#endpoints.values()) {
      // Of the others each has a Fetch or a JoinGroup that waits, and this request would wait behind it.
      if (purpose !== "main" || !(connection instanceof BrokerConnection) || !connection.isOpen) continue;
      if (connection.isThrottled) throttled = connection;
      else ready.push(connection);
    }
    const next = ready[this.#turnsCount++ % ready.length];
    if (next !== undefined) return next;
    const known = [...this.metadata.brokers.values(), ...this.#options.bootstrap];
    const unique = [...new Map(known.map((each) => [addressText(each), each])).values()];
    const addresses = unique.filter((address) => !this.#isThrottled(this.#endpoint(address, "main")));
    if (throttled !== null && addresses.length === 0) return throttled;
    // Who could not be reached goes last, whatever pause is left to it.
    const failuresOf = (address: Address): number => this.#endpoint(address, "main").failuresCount;
    addresses.sort((a, b) => failuresOf(a) - failuresOf(b));
    const attempts = addresses.map((address) => async () => this.#connect(address, "main"));
    try {
      const options = { clock: this.world.clock, patienceMs, isFinal: isRefusal };
      return await firstOf(attempts, options, (failures) => this.#nobody(failures));
    } catch (error) {
      if (throttled !== null && throttled.isOpen) return throttled;
      throw error;
    }
  }

  /** Why none of several brokers can be asked. */
  #nobody(failures: readonly unknown[]): unknown {
    const [first] = failures;
    if (failures.length === 1 || this.closed.aborted) return first;
    const sentences = failures.map((failure) => (failure as Error).message);
    return new KafkaError("NOT_CONNECTED", `no broker can be reached: ${sentences.join("; ")}`, {
      retriable: failures.some((failure) => failure instanceof KafkaError && failure.retriable),
      cause: first,
    });
  }

  /** The connection to one broker for this purpose, opened at first use. */
  async broker(nodeId: number, purpose: Purpose = "main"): Promise<BrokerConnection> {
    if (!this.metadata.isBrokerCertain(nodeId)) await this.#ask([], {});
    const address = this.metadata.brokers.get(nodeId);
    if (address === undefined) {
      const sentence = `broker ${nodeId} is not in the cluster's metadata`;
      throw new KafkaError("BROKER_NOT_AVAILABLE", sentence, { retriable: true });
    }
    try {
      return await this.#connect(address, purpose);
    } catch (error) {
      this.metadata.doubtBroker(nodeId);
      throw error;
    }
  }

  /** The connection to one broker, where it is open already: what need not be awaited. */
  openBroker(nodeId: number, purpose: Purpose = "main"): BrokerConnection | null {
    const address = this.metadata.brokers.get(nodeId);
    if (address === undefined || this.closed.aborted) return null;
    const connection = this.#endpoints.get(`${addressText(address)} ${purpose}`)?.connection;
    return connection instanceof BrokerConnection && connection.isOpen ? connection : null;
  }

  /** The connection to a partition's leader. */
  async leader(
    { name, partitions }: TopicMetadata,
    partition: number,
    purpose: Purpose = "main",
  ): Promise<BrokerConnection> {
    const found = partitions[partition];
    if (found === undefined) throw brokerError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, `partition ${name}-${partition}`);
    if (found.leaderId < 0) throw brokerError(ErrorCode.LEADER_NOT_AVAILABLE, `partition ${name}-${partition}`);
    return this.broker(found.leaderId, purpose);
  }

  /** The connection to the controller, or where brokers pass it on (KRaft) to any broker. */
  async controller(): Promise<BrokerConnection> {
    await this.#ask([], {});
    const { controllerId, brokers } = this.metadata;
    return brokers.has(controllerId) ? this.broker(controllerId) : this.any();
  }

  /** The connection to the coordinator of a group, a transactional id or a share partition; remembered until `forgetCoordinator`. */
  async coordinator(kind: CoordinatorKind, key: string, purpose: Purpose = "main"): Promise<BrokerConnection> {
    const failure = (await this.findCoordinators(kind, [key])).get(key);
    if (failure !== undefined) throw failure;
    const nodeId = this.#coordinators.get(`${kind} ${key}`) ?? -1;
    try {
      return await this.broker(nodeId, purpose);
    } catch (error) {
      this.forgetCoordinator(kind, key);
      throw error;
    }
  }

  /**
   * Learns the coordinators that are not remembered, in one request where brokers take many keys (KIP-699). The answer has
   * the keys of which the broker says that it failed.
   */
  async findCoordinators(kind: CoordinatorKind, keys: readonly string[]): Promise<ReadonlyMap<string, KafkaError>> {
    const failures = new Map<string, KafkaError>();
    const unknown = keys.filter((key) => !this.#coordinators.has(`${kind} ${key}`));
    if (unknown.length === 0) return failures;
    const keyType = coordinatorTypes[kind];
    const connection = await this.any();
    const answers =
      connection.versionOf(findCoordinator) >= 4
        ? (await connection.request(findCoordinator, { keyType, coordinatorKeys: unknown })).coordinators
        : await Promise.all(
            unknown.map(async (key) => ({ ...(await connection.request(findCoordinator, { keyType, key })), key })),
          );
    const answered = new Map(answers.map((answer) => [answer.key, answer]));
    for (const key of unknown) {
      const what = `coordinator of ${kind} ${key}`;
      const found = answered.get(key);
      if (found === undefined) failures.set(key, brokerError(ErrorCode.COORDINATOR_NOT_AVAILABLE, what));
      else if (found.errorCode !== ErrorCode.NONE)
        failures.set(key, brokerError(found.errorCode, what, found.errorMessage));
      else {
        const { nodeId, host, port } = found;
        this.metadata.learnBroker({ nodeId, host, port, rack: null });
        this.#coordinators.set(`${kind} ${key}`, nodeId);
      }
    }
    return failures;
  }

  /** After NOT_COORDINATOR, COORDINATOR_NOT_AVAILABLE, or a lost connection. */
  forgetCoordinator(kind: CoordinatorKind, key: string): void {
    this.#coordinators.delete(`${kind} ${key}`);
  }

  /** Closes the connections of one purpose, as when a consumer ends. */
  closePurpose(purpose: Purpose): void {
    for (const [key, { connection, purpose: ofEndpoint }] of this.#endpoints) {
      if (ofEndpoint !== purpose) continue;
      this.#endpoints.delete(key);
      if (connection instanceof BrokerConnection) connection.close();
      else void connection?.then((opened) => opened.close()).catch(() => {});
    }
  }

  // --- Metadata ---------------------------------------------------------------------------------------------------------

  /**
   * The topic's partitions, from memory where it is known; what is older than metadataMaxAgeMs is asked for again meanwhile.
   * Whoever asks while an answer is under way gets that one.
   */
  async topic(name: string, options: TopicOptions = {}): Promise<TopicMetadata> {
    const known = this.metadata.topic(name);
    if (known === null) return this.#askOnce(name, options);
    this.refreshIfOld(name);
    return known;
  }

  /** As `topic`, but one that may have been made just now is waited for: its brokers have yet to hear of it. */
  async topicSoon(name: string): Promise<TopicMetadata> {
    try {
      const options = { what: `topic ${name}`, timeoutMs: creationNewsMsMax };
      return await this.retrying(options, async () => this.topic(name));
    } catch (error) {
      // What is wrong with the topic says more than how often it was asked for.
      throw isTimedOut(error) ? ((error as KafkaError).cause ?? error) : error;
    }
  }

  /** Asks for what is older than metadataMaxAgeMs, in the background. */
  refreshIfOld(name: string): void {
    const nowMs = this.world.clock.monotonicMs();
    if (nowMs - this.metadata.learnedAtMs(name) < this.#options.metadataMaxAgeMs) return;
    // Who asks for each batch, of a topic that is gone or may not be seen, does not ask a broker for each.
    if (nowMs < (this.#refreshNotBeforeMs.get(name) ?? 0)) return;
    this.#refreshNotBeforeMs.set(name, nowMs + refreshPauseMs);
    this.#askOnce(name, {}).then(
      () => this.#refreshNotBeforeMs.delete(name),
      (error: unknown) => {
        this.logger.debug("the metadata of a topic could not be refreshed", { topic: name, error });
      },
    );
  }

  /** Asks for the topic, whatever is known of it. */
  async refresh(name: string, options: TopicOptions = {}): Promise<TopicMetadata> {
    return this.#askOnce(name, options);
  }

  /**
   * Asks for all these topics in one request, whatever is known of them. One that is missing in the answer does not exist, is
   * being made, or may not be seen.
   */
  async lookUp(names: readonly string[]): Promise<ReadonlyMap<string, TopicMetadata>> {
    const found = new Map<string, TopicMetadata>();
    if (names.length === 0) return found;
    for (const answer of await this.#ask(names, {})) {
      if (answer.errorCode !== ErrorCode.NONE || answer.name === null) continue;
      found.set(answer.name, this.metadata.learnTopic(answer, this.world.clock.monotonicMs()));
    }
    return found;
  }

  /** All topics. */
  async topics(): Promise<readonly TopicMetadata[]> {
    const topics: TopicMetadata[] = [];
    for (const answer of await this.#ask(null, {})) {
      if (answer.errorCode !== ErrorCode.NONE) throw brokerError(answer.errorCode, `topic ${answer.name}`);
      topics.push(topicOf(answer));
    }
    return topics;
  }

  // --- The end ----------------------------------------------------------------------------------------------------------

  /** Closes all connections. What still waits for an answer fails. */
  async close(): Promise<void> {
    if (this.closed.aborted) return;
    this.#closing.abort();
    this.#retries.stop(closedError());
    const opening = [...this.#endpoints.values()].map(({ connection }) => connection);
    this.#endpoints.clear();
    for (const connection of opening) if (connection instanceof BrokerConnection) connection.close();
    await Promise.allSettled(opening.map(async (connection) => connection));
  }

  // --- Within -----------------------------------------------------------------------------------------------------------

  async #askOnce(name: string, options: TopicOptions): Promise<TopicMetadata> {
    const key = `${options.mayCreate === true ? "create" : "look at"} ${name}`;
    let asking = this.#asking.get(key);
    if (asking === undefined) {
      asking = this.#askFor(name, options).finally(() => this.#asking.delete(key));
      this.#asking.set(key, asking);
    }
    return asking;
  }

  async #askFor(name: string, options: TopicOptions): Promise<TopicMetadata> {
    const answer = await this.#ask([name], options);
    const found = answer.find((topic) => topic.name === name);
    if (found === undefined) throw brokerError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, `topic ${name}`);
    return this.metadata.learnTopic(found, this.world.clock.monotonicMs());
  }

  /** Asks for these topics (null: all of them; none: the brokers only) and remembers the brokers. */
  async #ask(
    names: readonly string[] | null,
    { mayCreate = false }: TopicOptions,
  ): Promise<MetadataResponse["topics"]> {
    const connection = await this.any();
    const startedMs = this.world.clock.monotonicMs();
    const answer = await connection.request(metadataApi, {
      topics: names === null ? null : names.map((name) => ({ name })),
      allowAutoTopicCreation: mayCreate,
    });
    metadataAsked({
      broker: connection.name,
      clientId: this.clientId,
      topics: names,
      durationMs: this.world.clock.monotonicMs() - startedMs,
      brokersCount: answer.brokers.length,
    });
    if (answer.errorCode === ErrorCode.REBOOTSTRAP_REQUIRED) {
      // KIP-1102: what this broker knows is not the cluster that was meant, or not any more.
      this.metadata.forgetBrokers();
      connection.close();
      const sentence = `${connection.name} is not of the cluster any more: the addresses that were given are asked again`;
      throw new KafkaError("REBOOTSTRAP_REQUIRED", sentence, { retriable: true, broker: connection.name });
    }
    if (answer.errorCode !== ErrorCode.NONE) throw brokerError(answer.errorCode, `metadata of ${connection.name}`);
    this.metadata.learnBrokers(answer);
    return answer.topics;
  }

  #isThrottled({ connection }: Endpoint): boolean {
    return connection instanceof BrokerConnection && connection.isOpen && connection.isThrottled;
  }

  #endpoint(address: Address, purpose: Purpose): Endpoint {
    const key = `${addressText(address)} ${purpose}`;
    let endpoint = this.#endpoints.get(key);
    if (endpoint === undefined) {
      endpoint = { purpose, connection: null, failuresCount: 0, unwantedCount: 0, hasWorked: false, notBeforeMs: 0 };
      this.#endpoints.set(key, endpoint);
    }
    return endpoint;
  }

  async #connect(address: Address, purpose: Purpose): Promise<BrokerConnection> {
    if (this.closed.aborted) throw closedError();
    const endpoint = this.#endpoint(address, purpose);
    const { connection } = endpoint;
    if (connection instanceof Promise) return connection;
    if (connection?.isOpen === true) return connection;
    if (connection !== null) this.#lookBack(endpoint, connection);
    endpoint.connection = this.#open(endpoint, address);
    return endpoint.connection;
  }

  /** Opening succeeds again and again at a broker that wants to hear who we are: the end of each connection tells. */
  #lookBack(endpoint: Endpoint, connection: BrokerConnection): void {
    endpoint.connection = null;
    endpoint.hasWorked ||= connection.hasAnswered;
    endpoint.unwantedCount = connection.isUnwanted ? endpoint.unwantedCount + 1 : 0;
    if (endpoint.hasWorked || endpoint.unwantedCount < unwantedMax) return;
    endpoint.unwantedCount = 0;
    throw saslWanted(connection.name);
  }

  async #open(endpoint: Endpoint, address: Address): Promise<BrokerConnection> {
    const { clock, network, random } = this.world;
    const signal = this.closed;
    try {
      await this.#pauseUntil(endpoint.notBeforeMs);
      const connection = await BrokerConnection.open(network, address, { ...this.#options, clock, random, signal });
      if (signal.aborted) connection.close();
      endpoint.connection = connection;
      endpoint.failuresCount = 0;
      endpoint.notBeforeMs = 0;
      return connection;
    } catch (error) {
      endpoint.connection = null;
      const backoffMs = Math.min(reconnectBackoffMsMax, reconnectBackoffMsMin * 2 ** endpoint.failuresCount++);
      endpoint.notBeforeMs = clock.monotonicMs() + backoffMs * (0.8 + 0.4 * random.fraction());
      throw signal.aborted ? closedError() : error;
    }
  }

  async #pauseUntil(untilMs: number): Promise<void> {
    const restMs = untilMs - this.world.clock.monotonicMs();
    if (!(restMs > 0)) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = this.world.clock.schedule(restMs, resolve, { isAwaited: true });
    const onClosed = (): void => resolve();
    this.closed.addEventListener("abort", onClosed);
    await promise;
    timer.cancel();
    this.closed.removeEventListener("abort", onClosed);
    if (this.closed.aborted) throw closedError();
  }
}

/**
 * The broker knows what we say of ourselves, and does not believe it. Asking everybody with the same wrong password locks
 * accounts.
 */
function isRefusal(error: unknown): boolean {
  return error instanceof KafkaError && error.code === "SASL_AUTHENTICATION_FAILED";
}

function closedError(): KafkaError {
  return new KafkaError("CLOSED", "the cluster was closed");
}
