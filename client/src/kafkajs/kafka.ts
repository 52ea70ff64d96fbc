import { nodeWorld } from "@millrace/base/node/node-world";
import { environmentVariable } from "@millrace/base/node/process-output";
import { ErrorCode } from "kafka-protocol-ts/errors";
import type { GroupIdentity } from "../consumer/membership/membership.ts";
import type { ClientWorld } from "../network/wire.ts";
import { partitionKey } from "../topic-partition.ts";
import { FacadeAdmin } from "./admin.ts";
import type { Admin } from "./admin-types.ts";
import type { AdminConfig, ConsumerConfig, KafkaConfig, ProducerConfig } from "./config-types.ts";
import { FacadeConsumer } from "./consumer.ts";
import type { Consumer } from "./consumer-types.ts";
import { logLevel } from "./enums.ts";
import { protocolSource } from "./error-mapping.ts";
import { KafkaJSProtocolError } from "./errors.ts";
import type { Shared } from "./link.ts";
import { consoleLogCreator, createLogger } from "./logger.ts";
import type { Logger } from "./logger.ts";
import type { Offsets } from "./message-types.ts";
import { FacadeProducer } from "./producer.ts";
import type { Producer } from "./producer-types.ts";
import { Warnings } from "./warnings.ts";

const knownOptions: readonly (keyof KafkaConfig)[] = [
  "brokers",
  "ssl",
  "sasl",
  "clientId",
  "connectionTimeout",
  "authenticationTimeout",
  "reauthenticationThreshold",
  "requestTimeout",
  "enforceRequestTimeout",
  "retry",
  "socketFactory",
  "logLevel",
  "logCreator",
  "world",
];

/**
 * KafkaJS's entry point: a program that was written for KafkaJS runs with this one imported instead. What differs is listed
 * in docs/client/migrate-from-kafkajs.md.
 *
 * @example
 *     const kafka = new Kafka({ clientId: "billing", brokers: ["localhost:9092"] });
 *     const producer = kafka.producer();
 *     await producer.connect();
 *     await producer.send({ topic: "bills", messages: [{ key: "o1", value: "42.00" }] });
 */
export class Kafka {
  readonly #shared: Shared;
  readonly #consumers = new Set<FacadeConsumer>();

  constructor(config: KafkaConfig) {
    const world: ClientWorld = config.world ?? nodeWorld();
    const logger = createLogger({
      level: config.logLevel ?? logLevel.INFO,
      logCreator: config.logCreator ?? consoleLogCreator,
      clock: world.clock,
      forcedLevel: environmentVariable("KAFKAJS_LOG_LEVEL"),
    });
    const warnings = new Warnings(logger);
    warnings.unknownOptions("new Kafka", config, knownOptions);
    if (config.socketFactory !== undefined)
      warnings.once("new Kafka: socketFactory is not used: this client opens its sockets by itself");
    this.#shared = { config, world, logger, warnings };
  }

  /** A producer; `connect` it before it sends. */
  producer(config: ProducerConfig = {}): Producer {
    return new FacadeProducer(this.#shared, config, {
      memberOf: (offsets) => this.#memberOf(offsets),
      sent: ({ consumerGroupId, topics }) => {
        for (const consumer of this.#consumers)
          if (consumer.groupId === consumerGroupId) consumer.noteCommitted(topics);
      },
    });
  }

  /** A member of a group; `connect` it, `subscribe`, and `run`. */
  consumer(config: ConsumerConfig): Consumer {
    const consumer = new FacadeConsumer(this.#shared, config);
    this.#consumers.add(consumer);
    return consumer;
  }

  /** Administration of the cluster. */
  admin(config: AdminConfig = {}): Admin {
    return new FacadeAdmin(this.#shared, config);
  }

  /** The logger that all of them write to. */
  logger(): Logger {
    return this.#shared.logger;
  }

  /**
   * Where consumers of the group run in this program, one that owns the partitions commits as the member that it is, so that
   * the coordinator refuses it once it has lost them (KIP-447). Else nobody in particular does.
   *
   * @throws KafkaJSProtocolError where they own them no more.
   */
  #memberOf({ consumerGroupId: groupId, topics }: Offsets & { readonly consumerGroupId: string }): GroupIdentity {
    const running = [...this.#consumers].filter((consumer) => consumer.groupId === groupId && consumer.isRunning);
    if (running.length === 0) return { groupId, memberId: "", epoch: -1, instanceId: null };
    const wanted = topics.flatMap(({ topic, partitions }) =>
      partitions.map(({ partition }) => partitionKey({ topic, partition })),
    );
    let member: GroupIdentity | null = null;
    for (const key of wanted) {
      const owner = running.find((consumer) => consumer.owns(key))?.identity ?? null;
      if (owner === null) {
        const sentence = `${key} is not this program's any more: another member of group ${groupId} goes on with it`;
        throw new KafkaJSProtocolError(protocolSource(ErrorCode.REBALANCE_IN_PROGRESS, sentence));
      }
      member ??= owner;
    }
    return member ?? { groupId, memberId: "", epoch: -1, instanceId: null };
  }
}
