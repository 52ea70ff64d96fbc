import type { GroupIdentity } from "../consumer/membership/membership.ts";
import type { Wire } from "../network/wire.ts";
import type { ProducerOptions } from "../producer/options.ts";
import { Producer as CoreProducer } from "../producer/producer.ts";
import type { ICustomPartitioner, ProducerConfig } from "./config-types.ts";
import { KafkaJSError, KafkaJSNonRetriableError } from "./errors.ts";
import { Instrumentation, producerEvents } from "./events.ts";
import { Link } from "./link.ts";
import type { Shared } from "./link.ts";
import type { Logger } from "./logger.ts";
import type { Offsets, ProducerBatch, RecordMetadata } from "./message-types.ts";
import { defaultPartitionerOf } from "./partitioners.ts";
import type { Producer } from "./producer-types.ts";
import { pausesMsSum } from "./retry.ts";
import { checkBatch, compressionNames, sendMessages } from "./sending.ts";
import type { SendAll } from "./sending.ts";
import { beginTransaction } from "./transaction.ts";
import type { OpenTransaction } from "./transaction.ts";

const knownOptions: readonly (keyof ProducerConfig)[] = [
  "createPartitioner",
  "retry",
  "metadataMaxAge",
  "allowAutoTopicCreation",
  "idempotent",
  "transactionalId",
  "transactionTimeout",
  "maxInFlightRequests",
];

/** The consumers of the program, as a transaction needs them. */
export interface GroupMembers {
  /** As whom offsets of a group are committed. */
  memberOf(offsets: Offsets & { readonly consumerGroupId: string }): GroupIdentity;
  sent(offsets: Offsets & { readonly consumerGroupId: string }): void;
}

const acksNames: Readonly<Record<number, "all" | 1 | 0>> = { [-1]: "all", 1: 1, 0: 0 };

/** KafkaJS's producer, over producers of this client: one for each `acks`, and one for transactions. */
export class FacadeProducer implements Producer {
  readonly events: Producer["events"] = producerEvents;
  readonly #config: ProducerConfig;
  readonly #shared: Shared;
  readonly #link: Link;
  readonly #logger: Logger;
  readonly #instrumentation: Instrumentation;
  readonly #partitioner: ReturnType<ICustomPartitioner>;
  readonly #members: GroupMembers;
  readonly #producers = new Map<string, CoreProducer>();
  /** Of the send that came last: batches are compressed as that asks. */
  #compression = 0;
  #transaction: OpenTransaction | null = null;
  #isBeginning = false;
  #isDisconnecting = false;
  /** Sends that are under way. */
  readonly #sending = new Set<Promise<unknown>>();

  constructor(shared: Shared, config: ProducerConfig, members: GroupMembers) {
    shared.warnings.unknownOptions("kafka.producer", config, knownOptions);
    const { clock, random } = shared.world;
    this.#shared = shared;
    this.#config = config;
    this.#members = members;
    this.#logger = shared.logger.namespace("Producer");
    this.#instrumentation = new Instrumentation(producerEvents, { clock, logger: this.#logger });
    this.#link = new Link(shared, {
      retry: config.retry,
      metadataMaxAgeMs: config.metadataMaxAge ?? 300_000,
      instrumentation: this.#instrumentation,
      events: producerEvents,
    });
    if (config.idempotent === true && this.#link.retry.retries < 1)
      throw new KafkaJSNonRetriableError("retry.retries: an idempotent producer needs at least one");
    const { createPartitioner = defaultPartitionerOf(random) } = config;
    this.#partitioner = createPartitioner();
  }

  // Programs take these out of the object: they are bound to it.

  readonly connect: Producer["connect"] = async () => {
    await this.#link.connect();
    this.#instrumentation.emit(producerEvents.CONNECT);
  };

  readonly disconnect: Producer["disconnect"] = async () => {
    this.#isDisconnecting = true;
    try {
      while (this.#sending.size > 0) await Promise.allSettled(this.#sending);
      const producers = [...this.#producers.values()];
      this.#producers.clear();
      await Promise.all(producers.map(async (producer) => producer.close()));
    } finally {
      await this.#link.disconnect();
      this.#isDisconnecting = false;
      this.#transaction = null;
    }
    this.#instrumentation.emit(producerEvents.DISCONNECT);
  };

  readonly isIdempotent: Producer["isIdempotent"] = () => this.#config.idempotent === true;

  readonly logger: Producer["logger"] = () => this.#logger;

  readonly on: Producer["on"] = (name, listener) => this.#instrumentation.on(name, listener);

  readonly send: Producer["send"] = async (record) => {
    const { topic, messages, ...options } = record;
    return this.sendBatch({ ...options, topicMessages: [{ topic, messages }] });
  };

  readonly sendBatch: Producer["sendBatch"] = async (batch) => {
    const { acks = -1 } = batch;
    const name = acksNames[acks];
    if (name === undefined) throw new KafkaJSNonRetriableError(`acks: ${acks} is none of -1, 0 and 1`);
    if (this.isIdempotent() && acks !== -1)
      throw new KafkaJSNonRetriableError(`acks: an idempotent producer needs -1, not ${acks}`);
    const wire = this.#connected(batch);
    const answers = await this.#send(wire, batch, async (topic, records) => {
      const producer = this.#producer(wire, `acks ${acks}`, { acks: name });
      return producer.sendAll(topic, records);
    });
    return acks === 0 ? [] : answers;
  };

  readonly transaction: Producer["transaction"] = async () => {
    const { transactionalId, transactionTimeout } = this.#config;
    if (!transactionalId)
      throw new KafkaJSNonRetriableError("transactionalId: a producer without one has no transactions");
    if (this.#isBeginning || this.#transaction?.isActive() === true)
      throw new KafkaJSNonRetriableError(`a transaction of ${transactionalId} is open: end it before the next one`);
    const wire = this.#connected();
    this.#isBeginning = true;
    try {
      const producer = this.#producer(wire, "transactions", {
        transactionalId,
        ...(transactionTimeout === undefined ? {} : { transactionTimeoutMs: transactionTimeout }),
      });
      const parts = {
        producer,
        retry: this.#link.retry,
        send: async (batch: ProducerBatch, sendAll: SendAll) => {
          if ((batch.acks ?? -1) !== -1)
            throw new KafkaJSNonRetriableError(`acks: a transaction needs -1, not ${batch.acks}`);
          return this.#send(this.#connected(batch), batch, sendAll);
        },
        memberOf: this.#members.memberOf,
        sent: this.#members.sent,
        failed: (error: unknown) => this.#lookAtFailure(error),
      };
      this.#transaction = await beginTransaction(parts);
      return this.#transaction;
    } finally {
      this.#isBeginning = false;
    }
  };

  async #send(wire: Wire, batch: ProducerBatch, sendAll: SendAll): Promise<RecordMetadata[]> {
    const { compression = 0 } = batch;
    const prepared: SendAll = async (topic, records) => {
      this.#compression = compression;
      return sendAll(topic, records);
    };
    const sending = sendMessages(wire, checkBatch(batch), prepared, {
      retry: this.#link.retry,
      mayCreateTopics: this.#config.allowAutoTopicCreation ?? true,
      partitioner: this.#partitioner,
    });
    this.#sending.add(sending);
    try {
      return await sending;
    } finally {
      this.#sending.delete(sending);
    }
  }

  /**
   * A producer that is of no more use because nobody knows how its transaction ended: the next one begins with the same
   * transactional id, which settles that. One that was fenced by another stays fenced.
   */
  #lookAtFailure(error: unknown): void {
    const { fatal = false, code } = error as { readonly fatal?: boolean; readonly code?: string };
    if (fatal && code !== "PRODUCER_FENCED" && code !== "INVALID_PRODUCER_EPOCH")
      this.#producers.delete("transactions");
  }

  /** @param batch what is to be sent: it is looked at first. */
  #connected(batch: ProducerBatch = {}): Wire {
    checkBatch(batch);
    const { compression = 0 } = batch;
    if (compressionNames[compression] === undefined)
      throw new KafkaJSNonRetriableError(`compression: ${compression} is no codec; take one of CompressionTypes`);
    if (this.#isDisconnecting)
      throw new KafkaJSNonRetriableError("the producer is disconnecting: it takes no more messages");
    const { wire } = this.#link;
    if (wire === null) throw new KafkaJSError("the producer is disconnected: call connect() first");
    return wire;
  }

  #producer(wire: Wire, kind: string, options: ProducerOptions): CoreProducer {
    const found = this.#producers.get(kind);
    if (found !== undefined) return found;
    const { maxInFlightRequests } = this.#config;
    const { requestTimeout = 30_000 } = this.#shared.config;
    const producer = new CoreProducer(wire, {
      ...options,
      compression: () => compressionNames[this.#compression] ?? "none",
      deliveryTimeoutMs: Math.max(pausesMsSum(this.#link.retry), requestTimeout),
      ...(maxInFlightRequests === undefined || maxInFlightRequests === null
        ? {}
        : { inFlightMax: Math.min(5, Math.max(1, maxInFlightRequests)) }),
    });
    this.#producers.set(kind, producer);
    return producer;
  }
}
