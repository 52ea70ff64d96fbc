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
  | BrokerRecord
  | BrokerRemovedRecord
  | ControllerRecord
  | ControllerRemovedRecord;

export interface TopicRecord {
  readonly type: "topic";
  readonly name: string;
  readonly id: Uuid;
}

/** What a partition is between a move of its replicas (KIP-455) and a time with too few in sync (KIP-966). */
export interface PartitionExtras {
  /** Replicas that the move under way adds; they stand in `replicas` as well. */
  readonly addingReplicas: readonly number[];
  /** Replicas that go when the move under way ends; until then they stand in `replicas` as well. */
  readonly removingReplicas: readonly number[];
  /** Not in the ISR, and they have all that was committed: the ISR was below min.insync.replicas since they left it. */
  readonly elr: readonly number[];
  /** Who led last, while neither ISR nor ELR has a member. */
  readonly lastKnownElr: readonly number[];
}

/** No replica moves, and enough of them are in sync. */
export const noExtras: PartitionExtras = { addingReplicas: [], removingReplicas: [], elr: [], lastKnownElr: [] };

export interface PartitionRecord extends PartitionExtras {
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

/** All that can change in a partition, as it is from here on. */
export interface PartitionChangeRecord extends PartitionExtras {
  readonly type: "partition-change";
  readonly topicId: Uuid;
  readonly index: number;
  /** Null: as they were. */
  readonly replicas: readonly number[] | null;
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
  /** It gives its leaderships away and is about to be gone: not to lead, and not to be in an ISR. */
  readonly isInControlledShutdown: boolean;
  /** Its log directories (KIP-858). */
  readonly directoryIds: readonly Uuid[];
  /** Those of them that take no new partitions (KIP-1066). */
  readonly cordonedDirectoryIds: readonly Uuid[];
  /** The levels that its version can serve (KIP-584). */
  readonly features: readonly FeatureRange[];
}

export interface FeatureRange {
  readonly name: string;
  readonly minVersion: number;
  readonly maxVersion: number;
}

/** A broker was unregistered: it will not come back under this epoch. */
export interface BrokerRemovedRecord {
  readonly type: "broker-removed";
  readonly id: number;
  readonly epoch: number;
}

/** A node of the controller quorum, and where it is reached. */
export interface ControllerRecord {
  readonly type: "controller";
  readonly id: number;
  /** Of the directory that holds its log: the same node with a new disk is another voter (KIP-853). */
  readonly directoryId: Uuid;
  readonly endpoints: readonly BrokerEndpoint[];
}

export interface ControllerRemovedRecord {
  readonly type: "controller-removed";
  readonly id: number;
}

export interface BrokerEndpoint {
  readonly listener: string;
  readonly host: string;
  readonly port: number;
}

type Type = MetadataRecord["type"];
type RecordOf<T extends Type> = Extract<MetadataRecord, { type: T }>;
type FieldOf<T extends Type> = Exclude<keyof RecordOf<T>, "type">;

interface Layout<T extends Type> {
  readonly version: number;
  readonly fields: readonly FieldOf<T>[];
}

/** A layout that is read and not written any more. */
interface OlderLayout<T extends Type> extends Layout<T> {
  /** What its records mean for the fields that came later. */
  readonly absent: Partial<RecordOf<T>>;
}

/** What reading needs of either kind. */
interface ReadLayout {
  readonly version: number;
  readonly fields: readonly string[];
  readonly absent?: object;
}

interface Layouts<T extends Type> {
  readonly written: Layout<T>;
  readonly older?: readonly OlderLayout<T>[];
}

const brokerFields: readonly FieldOf<"broker">[] = ["id", "epoch", "incarnationId", "rack", "endpoints", "isFenced"];
const extraFields = ["addingReplicas", "removingReplicas", "elr", "lastKnownElr"] as const;
const partitionFields: readonly FieldOf<"partition">[] = [
  "topicId",
  "index",
  "replicas",
  "isr",
  "leader",
  "leaderEpoch",
  "partitionEpoch",
];
const changeFields: readonly FieldOf<"partition-change">[] = [
  "topicId",
  "index",
  "isr",
  "leader",
  "leaderEpoch",
  "partitionEpoch",
];

const layouts: { readonly [T in Type]: Layouts<T> } = {
  topic: { written: { version: 0, fields: ["name", "id"] } },
  partition: {
    written: { version: 1, fields: [...partitionFields, ...extraFields] },
    older: [{ version: 0, fields: partitionFields, absent: noExtras }],
  },
  "partition-change": {
    written: { version: 1, fields: [...changeFields, "replicas", ...extraFields] },
    older: [{ version: 0, fields: changeFields, absent: { replicas: null, ...noExtras } }],
  },
  "topic-removed": { written: { version: 0, fields: ["id"] } },
  config: { written: { version: 0, fields: ["resourceType", "resourceName", "name", "value"] } },
  "producer-ids": { written: { version: 0, fields: ["brokerId", "nextId"] } },
  feature: { written: { version: 0, fields: ["name", "level"] } },
  broker: {
    written: {
      version: 1,
      fields: [...brokerFields, "isInControlledShutdown", "directoryIds", "cordonedDirectoryIds", "features"],
    },
    older: [
      {
        version: 0,
        fields: brokerFields,
        absent: { isInControlledShutdown: false, directoryIds: [], cordonedDirectoryIds: [], features: [] },
      },
    ],
  },
  "broker-removed": { written: { version: 0, fields: ["id", "epoch"] } },
  controller: { written: { version: 0, fields: ["id", "directoryId", "endpoints"] } },
  "controller-removed": { written: { version: 0, fields: ["id"] } },
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
  const { version, fields } = layouts[record.type].written;
  const values: Readonly<Record<string, unknown>> = { ...record };
  return [record.type, version, ...fields.map((field) => values[field])];
}

function fromArray(array: unknown[]): MetadataRecord {
  const [type, version, ...values] = array;
  const known = Object.hasOwn(layouts, String(type)) ? layouts[type as Type] : undefined;
  if (known === undefined) {
    throw new UnknownMetadataRecord(`metadata record "${String(type)}" is unknown to this version of Millrace`);
  }
  const versions: readonly ReadLayout[] = [...(known.older ?? []), known.written];
  const layout = versions.find((each) => each.version === version && each.fields.length === values.length);
  if (layout === undefined) {
    const numbers = versions.map((each) => each.version).join(" and ");
    throw new UnknownMetadataRecord(
      `version ${String(version)} of metadata record "${String(type)}" is unknown to this version of Millrace, which knows version ${numbers}`,
    );
  }
  const fields = Object.fromEntries(layout.fields.map((field, index) => [field, values[index]]));
  return { type, ...layout.absent, ...fields } as MetadataRecord;
}
