// Without the native part of the package: a start would load it, and records as few as these do not need it.
import { Packr } from "msgpackr/pack";
import type { Uuid } from "@millrace/storage/types";

/**
 * What the metadata log holds: each record is one change of the image, and the image is nothing but its records replayed.
 * On the disk a record is the msgpack array [type, version, ...fields in the order below]. A change of the fields is a
 * new version; what was ever released stays readable, and the golden bytes in the tests hold that.
 */
export type MetadataRecord =
  | TopicRecord
  | PartitionRecord
  | PartitionChangeRecord
  | TopicRemovedRecord
  | ConfigRecord
  | ProducerIdsRecord
  | FeatureRecord
  | BrokerRecord;

export interface TopicRecord {
  readonly type: "topic";
  readonly name: string;
  readonly id: Uuid;
}

export interface PartitionRecord {
  readonly type: "partition";
  readonly topicId: Uuid;
  readonly index: number;
  readonly replicas: readonly number[];
  readonly isr: readonly number[];
  /** -1: nobody leads. */
  readonly leader: number;
  readonly leaderEpoch: number;
  /** Grows with each change of the partition. */
  readonly partitionEpoch: number;
}

/** A new leader or a new ISR; replicas stay. */
export interface PartitionChangeRecord {
  readonly type: "partition-change";
  readonly topicId: Uuid;
  readonly index: number;
  readonly isr: readonly number[];
  readonly leader: number;
  readonly leaderEpoch: number;
  readonly partitionEpoch: number;
}

/** The topic goes with its partitions and settings. */
export interface TopicRemovedRecord {
  readonly type: "topic-removed";
  readonly id: Uuid;
}

/** One setting of one resource; without a value the override is gone. */
export interface ConfigRecord {
  readonly type: "config";
  readonly resourceType: number;
  readonly resourceName: string;
  readonly name: string;
  readonly value: string | null;
}

/** A block of producer ids was given to a broker: ids below `nextId` are used up. */
export interface ProducerIdsRecord {
  readonly type: "producer-ids";
  readonly brokerId: number;
  readonly nextId: number;
}

/** A feature is finalised at a level (KIP-584). */
export interface FeatureRecord {
  readonly type: "feature";
  readonly name: string;
  readonly level: number;
}

/** A broker registered, or what is known of it changed. */
export interface BrokerRecord {
  readonly type: "broker";
  readonly id: number;
  /** The offset of its registration; grows with each start. */
  readonly epoch: number;
  /** New with each start of the process. */
  readonly incarnationId: Uuid;
  readonly rack: string | null;
  readonly endpoints: readonly BrokerEndpoint[];
  /** Not to lead, and not told to clients. */
  readonly isFenced: boolean;
}

export interface BrokerEndpoint {
  readonly listener: string;
  readonly host: string;
  readonly port: number;
}

type Type = MetadataRecord["type"];
type FieldsOf<T extends Type> = readonly Exclude<keyof Extract<MetadataRecord, { type: T }>, "type">[];
type Layouts = { readonly [T in Type]: { readonly version: number; readonly fields: FieldsOf<T> } };

/** What is written. */
const layouts: Layouts = {
  topic: { version: 0, fields: ["name", "id"] },
  partition: {
    version: 0,
    fields: ["topicId", "index", "replicas", "isr", "leader", "leaderEpoch", "partitionEpoch"],
  },
  "partition-change": {
    version: 0,
    fields: ["topicId", "index", "isr", "leader", "leaderEpoch", "partitionEpoch"],
  },
  "topic-removed": { version: 0, fields: ["id"] },
  config: { version: 0, fields: ["resourceType", "resourceName", "name", "value"] },
  "producer-ids": { version: 0, fields: ["brokerId", "nextId"] },
  feature: { version: 0, fields: ["name", "level"] },
  broker: { version: 0, fields: ["id", "epoch", "incarnationId", "rack", "endpoints", "isFenced"] },
};

/** The bytes are whole and say what this version does not know: a newer version wrote them, and the broker must not start. */
export class UnknownMetadataRecord extends Error {
  override readonly name = "UnknownMetadataRecord";
}

const packr = new Packr({ useRecords: false, variableMapSize: true });

/** The records of one decision: all of them are there after a crash, or none. */
export interface RecordBatch {
  /** Of the first record; the others follow. */
  readonly offset: number;
  readonly timeMs: number;
  readonly records: readonly MetadataRecord[];
}

export function encodeBatch({ offset, timeMs, records }: RecordBatch): Buffer {
  return packr.pack([offset, timeMs, records.map(toArray)]);
}

/** @throws UnknownMetadataRecord for a type or version that a newer Millrace wrote. */
export function decodeBatch(bytes: Buffer): RecordBatch {
  const [offset, timeMs, records] = packr.unpack(bytes) as [number, number, unknown[][]];
  return { offset, timeMs, records: records.map(fromArray) };
}

function toArray(record: MetadataRecord): unknown[] {
  const { version, fields } = layouts[record.type];
  const values: Readonly<Record<string, unknown>> = { ...record };
  return [record.type, version, ...fields.map((field) => values[field])];
}

function fromArray(array: unknown[]): MetadataRecord {
  const [type, version, ...values] = array;
  const layout = Object.hasOwn(layouts, String(type)) ? layouts[type as Type] : undefined;
  if (layout === undefined) {
    throw new UnknownMetadataRecord(`metadata record "${String(type)}" is unknown to this version of Millrace`);
  }
  if (version !== layout.version || values.length !== layout.fields.length) {
    throw new UnknownMetadataRecord(
      `version ${String(version)} of metadata record "${String(type)}" is unknown to this version of Millrace, which knows version ${layout.version}`,
    );
  }
  const fields: readonly string[] = layout.fields;
  return { type, ...Object.fromEntries(fields.map((field, index) => [field, values[index]])) } as MetadataRecord;
}
