import { ErrorCode } from "kafka-protocol-ts/errors";
import { metadata as metadataApi } from "kafka-protocol-ts/messages/03-metadata";
import type { MetadataRequestInput, MetadataResponse } from "kafka-protocol-ts/messages/03-metadata";
import { brokerError, KafkaError } from "../errors.ts";
import type { BrokerConnection } from "../network/broker-connection.ts";
import type { CoordinatorKind, Wire } from "../network/wire.ts";
import type { TopicPartition } from "../topic-partition.ts";
import { partitionKey } from "../topic-partition.ts";

/** Which broker is responsible for an item. */
export interface Route<Item> {
  /** Before each try: what can be learned of many items at once. */
  prepare(items: readonly Item[]): Promise<void>;
  /** Items of one key go to the same broker. */
  key(item: Item): string;
  connect(item: Item): Promise<BrokerConnection>;
  /** After a failure that may pass: what was believed of the item may be wrong. */
  forget(item: Item): void;
}

const nothingToDo = { prepare: async (): Promise<void> => {}, forget: (): void => {} } as const;

/** Whatever broker is open. */
export function anyBroker(wire: Wire): Route<unknown> {
  return { ...nothingToDo, key: () => "", connect: () => wire.any() };
}

/** The controller, looked up with each try; where brokers pass requests on (KRaft), any broker. */
export function controller(wire: Wire): Route<unknown> {
  return { ...nothingToDo, key: () => "", connect: () => wire.controller() };
}

/** The broker with this id. */
export function brokerOf<Item>(wire: Wire, nodeId: (item: Item) => number): Route<Item> {
  return { ...nothingToDo, key: (item) => `${nodeId(item)}`, connect: (item) => wire.broker(nodeId(item)) };
}

/** The coordinator of the item's group or transactional id. */
export function coordinatorOf<Item>(wire: Wire, kind: CoordinatorKind, keyOf: (item: Item) => string): Route<Item> {
  let failures: ReadonlyMap<string, KafkaError> = new Map();
  return {
    prepare: async (items) => {
      failures = await wire.findCoordinators(kind, [...new Set(items.map(keyOf))]);
    },
    key: keyOf,
    connect: async (item) => {
      const failure = failures.get(keyOf(item));
      if (failure !== undefined) throw failure;
      return wire.coordinator(kind, keyOf(item));
    },
    forget: (item) => wire.forgetCoordinator(kind, keyOf(item)),
  };
}

/** The leader of the item's partition. */
export function leaderOf<Item extends TopicPartition>(wire: Wire): Route<Item> {
  let failures: ReadonlyMap<string, KafkaError> = new Map();
  return {
    prepare: async (items) => {
      failures = await learnTopics(wire, [...new Set(items.map(({ topic }) => topic))]);
    },
    key: partitionKey,
    connect: async ({ topic, partition }) => {
      const failure = failures.get(topic);
      if (failure !== undefined) throw failure;
      return wire.leader(await wire.topic(topic), partition);
    },
    forget: ({ topic }) => wire.metadata.forget(topic),
  };
}

/** One request for all topics that are not known, and the failure of each that is not to be learned. */
async function learnTopics(wire: Wire, names: readonly string[]): Promise<ReadonlyMap<string, KafkaError>> {
  const failures = new Map<string, KafkaError>();
  const unknown = names.filter((name) => wire.metadata.topic(name) === null);
  if (unknown.length === 0) return failures;
  const answer = await askMetadata(wire, await wire.any(), {
    topics: unknown.map((name) => ({ name })),
    allowAutoTopicCreation: false,
  });
  for (const topic of answer.topics) {
    try {
      wire.metadata.learnTopic(topic, wire.world.clock.monotonicMs());
    } catch (error) {
      if (!(error instanceof KafkaError)) throw error;
      failures.set(topic.name ?? "", error);
    }
  }
  return failures;
}

/** A Metadata request whose answer is the caller's; the wire learns its brokers. */
export async function askMetadata(
  wire: Wire,
  connection: BrokerConnection,
  message: MetadataRequestInput,
): Promise<MetadataResponse> {
  const answer = await connection.request(metadataApi, message);
  if (answer.errorCode === ErrorCode.REBOOTSTRAP_REQUIRED) {
    // KIP-1102: the next try begins with the addresses that were given.
    wire.metadata.forgetBrokers();
    connection.close();
    throw new KafkaError("REBOOTSTRAP_REQUIRED", `metadata of ${connection.name}: it is not of this cluster any more`, {
      retriable: true,
      broker: connection.name,
    });
  }
  if (answer.errorCode !== ErrorCode.NONE)
    throw brokerError(answer.errorCode, `metadata of ${connection.name}`, null, { broker: connection.name });
  wire.metadata.learnBrokers(answer);
  return answer;
}
