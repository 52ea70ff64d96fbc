import { MalformedMessage } from "kafka-protocol-ts/malformed";
import type { DataCodec } from "kafka-protocol-ts/api";
import * as kafka from "kafka-protocol-ts/internal/metadata-records";
import { ByteReader } from "kafka-protocol-ts/reader";
import type { Uuid } from "@millrace/storage/types";
import { ImportRefused } from "./import-refused.ts";

/** What a cluster of Apache Kafka knows of itself, by its metadata log (KIP-631): changed by replay only. */
export class KafkaMetadata {
  readonly topics: Map<Uuid, KafkaTopic> = new Map();
  /** By type of resource, its name, and the name of the setting. */
  readonly configs: Map<number, Map<string, Map<string, string>>> = new Map();
  readonly features: Map<string, number> = new Map();
  nextProducerId = 0;
  /** What is there and has no counterpart here: by kind, the names. */
  readonly foreign: Readonly<Record<ForeignKind, Set<string>>> = {
    "access control list": new Set(),
    "client quota": new Set(),
    "delegation token": new Set(),
    "SCRAM credential": new Set(),
  };
  /** The changes of a metadata transaction (KIP-868): all of them count when it ends, or none. */
  #transaction: (() => void)[] | null = null;

  /** Takes over one record. @throws ImportRefused for one that is not known, with its type, version and offset. */
  replay(bytes: Buffer, offset: number): void {
    const reader = new ByteReader(bytes);
    try {
      const frameVersion = reader.unsignedVarint();
      if (frameVersion !== 1) {
        throw new ImportRefused(`metadata record at offset ${offset}: frame version ${frameVersion} is unknown`);
      }
      const type = reader.unsignedVarint();
      const version = reader.unsignedVarint();
      const known = kinds.get(type);
      if (known === undefined) {
        throw new ImportRefused(`metadata record at offset ${offset}: type ${type} (version ${version}) is unknown`);
      }
      const { name, versions } = known.codec;
      if (version < versions[0] || version > versions[1]) {
        throw new ImportRefused(
          `metadata record at offset ${offset}: version ${version} of ${name} (type ${type}) is unknown; versions ${versions[0]} to ${versions[1]} are known`,
        );
      }
      this.#apply(known, known.codec.read(reader, version), () => `metadata record at offset ${offset}, ${name}`);
    } catch (error) {
      if (!(error instanceof MalformedMessage)) throw error;
      throw new ImportRefused(`metadata record at offset ${offset} cannot be read: ${error.message}`, error);
    }
  }

  topicOf(id: Uuid, where: string): KafkaTopic {
    const topic = this.topics.get(id);
    if (topic === undefined) throw new ImportRefused(`${where}: there is no topic with id ${id}`);
    return topic;
  }

  #apply({ codec, replay }: Kind, message: unknown, where: () => string): void {
    if (codec === kafka.beginTransactionRecord) this.#transaction = [];
    else if (codec === kafka.abortTransactionRecord) this.#transaction = null;
    else if (codec === kafka.endTransactionRecord) {
      const changes = this.#transaction ?? [];
      this.#transaction = null;
      for (const change of changes) change();
    } else if (this.#transaction === null) replay(this, message, where);
    else this.#transaction.push(() => replay(this, message, where));
  }
}

export interface KafkaTopic {
  readonly name: string;
  readonly id: Uuid;
  readonly partitions: Map<number, KafkaPartition>;
}

export interface KafkaPartition {
  readonly replicas: readonly number[];
  readonly leaderEpoch: number;
  readonly partitionEpoch: number;
}

export type ForeignKind = "access control list" | "client quota" | "delegation token" | "SCRAM credential";

interface Kind {
  readonly codec: DataCodec<unknown, never>;
  readonly replay: (image: KafkaMetadata, message: unknown, where: () => string) => void;
}

function on<Message>(
  codec: DataCodec<Message, never>,
  replay: (image: KafkaMetadata, message: Message, where: () => string) => void,
): Kind {
  return { codec, replay: replay as Kind["replay"] };
}

/** Nothing of it outlives the broker that wrote it: who is up, and how controllers work. */
function skip(codec: DataCodec<unknown, never>): Kind {
  return on(codec, () => {});
}

/** Every record that is known, by name: what stands nowhere here is refused, not skipped. */
const knownKinds: readonly Kind[] = [
  on(kafka.topicRecord, (image, { name, topicId }) => {
    image.topics.set(topicId, { name, id: topicId, partitions: new Map() });
  }),
  on(kafka.removeTopicRecord, (image, { topicId }, where) => {
    const { name } = image.topicOf(topicId, where());
    image.topics.delete(topicId);
    image.configs.get(topicResource)?.delete(name);
  }),
  on(kafka.partitionRecord, (image, record, where) => {
    const { partitionId, topicId, replicas, leaderEpoch, partitionEpoch } = record;
    image.topicOf(topicId, where()).partitions.set(partitionId, { replicas, leaderEpoch, partitionEpoch });
  }),
  on(kafka.partitionChangeRecord, (image, record, where) => {
    const { partitions, name } = image.topicOf(record.topicId, where());
    const before = partitions.get(record.partitionId);
    if (before === undefined) throw new ImportRefused(`${where()}: ${name} has no partition ${record.partitionId}`);
    partitions.set(record.partitionId, changedPartition(before, record));
  }),
  on(kafka.configRecord, (image, { resourceType, resourceName, name, value }) => {
    const ofType = upsert(image.configs, resourceType, () => new Map<string, Map<string, string>>());
    const ofResource = upsert(ofType, resourceName, () => new Map<string, string>());
    if (value === null) ofResource.delete(name);
    else ofResource.set(name, value);
  }),
  on(kafka.featureLevelRecord, (image, { name, featureLevel }) => {
    image.features.set(name, featureLevel);
  }),
  on(kafka.producerIdsRecord, (image, { nextProducerId }) => {
    image.nextProducerId = Math.max(image.nextProducerId, nextProducerId);
  }),

  on(kafka.accessControlEntryRecord, ({ foreign }, { id }) => void foreign["access control list"].add(id)),
  on(kafka.removeAccessControlEntryRecord, ({ foreign }, { id }) => void foreign["access control list"].delete(id)),
  on(kafka.userScramCredentialRecord, ({ foreign }, { name, mechanism }) => {
    foreign["SCRAM credential"].add(`${name} ${mechanism}`);
  }),
  on(kafka.removeUserScramCredentialRecord, ({ foreign }, { name, mechanism }) => {
    foreign["SCRAM credential"].delete(`${name} ${mechanism}`);
  }),
  on(kafka.delegationTokenRecord, ({ foreign }, { tokenId }) => void foreign["delegation token"].add(tokenId)),
  on(kafka.removeDelegationTokenRecord, ({ foreign }, { tokenId }) => void foreign["delegation token"].delete(tokenId)),
  on(kafka.clientQuotaRecord, ({ foreign }, { entity, key, remove }) => {
    const name = JSON.stringify([key, ...entity.map(({ entityType, entityName }) => [entityType, entityName])]);
    if (remove) foreign["client quota"].delete(name);
    else foreign["client quota"].add(name);
  }),

  // KafkaMetadata itself sees to these.
  skip(kafka.beginTransactionRecord),
  skip(kafka.endTransactionRecord),
  skip(kafka.abortTransactionRecord),

  skip(kafka.noOpRecord),
  skip(kafka.registerBrokerRecord),
  skip(kafka.brokerRegistrationChangeRecord),
  skip(kafka.unregisterBrokerRecord),
  skip(kafka.fenceBrokerRecord),
  skip(kafka.unfenceBrokerRecord),
  skip(kafka.registerControllerRecord),
  skip(kafka.zkMigrationStateRecord),
  skip(kafka.clearElrRecord),
];

const kinds: ReadonlyMap<number, Kind> = byType();

function byType(): ReadonlyMap<number, Kind> {
  const byCodec = new Map(knownKinds.map((kind) => [kind.codec, kind]));
  const found = new Map<number, Kind>();
  for (const [type, codec] of Object.entries(kafka.metadataRecords)) {
    const kind = byCodec.get(codec);
    if (kind !== undefined) found.set(Number(type), kind);
  }
  return found;
}

/** The types that an import can read. */
export const knownTypes: ReadonlySet<number> = new Set(kinds.keys());

const topicResource = 2;

/** As Kafka counts: a new leader is a new leader epoch, and every change a new partition epoch. */
function changedPartition(before: KafkaPartition, record: kafka.PartitionChangeRecord): KafkaPartition {
  const hasLeaderChanged = record.leader !== -2;
  return {
    replicas: record.replicas ?? before.replicas,
    leaderEpoch: before.leaderEpoch + (hasLeaderChanged ? 1 : 0),
    partitionEpoch: before.partitionEpoch + 1,
  };
}

function upsert<Key, Value>(map: Map<Key, Value>, key: Key, make: () => Value): Value {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}
