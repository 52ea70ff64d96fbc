import type { Disk } from "@millrace/base/world";
import type { DataCodec } from "kafka-protocol-ts/api";
import * as kafka from "kafka-protocol-ts/internal/metadata-records";
import { encodeBatch } from "kafka-protocol-ts/records/record";
import { ControlType, encodeControlBatch } from "kafka-protocol-ts/records/control";
import { ByteWriter } from "kafka-protocol-ts/writer";

export const clusterId = "Y2x1c3Rlci1vZi1rYWZrYQ";
export const ordersId = "b3JkZXJzLXRvcGljLWlkMQ";
const timestamp = Date.UTC(2026, 0, 1);
const meta = (nodeId: number): string =>
  `#\n#Thu Jan 01 00:00:00 GMT 2026\ncluster.id=${clusterId}\ndirectory.id=ZGlyZWN0b3J5LW9mLWthZg\nnode.id=${nodeId}\nversion=1\n`;

/** A record of the metadata log: as Kafka frames it, in the newest version unless another is named. */
export function metadataRecord<Input>(
  codec: DataCodec<unknown, Input>,
  message: Input,
  version: number = codec.versions[1],
): Buffer {
  const type = Object.entries(kafka.metadataRecords).find(([, each]) => each === codec)?.[0];
  const writer = new ByteWriter();
  codec.write(writer, message, version);
  return framed(Number(type), version, writer.toBuffer());
}

export function framed(type: number, version: number, bytes: Uint8Array = Buffer.alloc(0)): Buffer {
  const writer = new ByteWriter();
  for (const each of [1, type, version]) writer.unsignedVarint(each);
  return Buffer.concat([writer.toBuffer(), bytes]);
}

export const topic = (name: string, topicId: string): Buffer => metadataRecord(kafka.topicRecord, { name, topicId });

export function partition(topicId: string, partitionId: number, replicas: readonly number[] = [1]): Buffer {
  return metadataRecord(kafka.partitionRecord, {
    partitionId,
    topicId,
    replicas,
    isr: replicas,
    removingReplicas: [],
    addingReplicas: [],
    leader: replicas[0] ?? -1,
    leaderEpoch: 4,
    partitionEpoch: 7,
    directories: replicas.map(() => ordersId),
  });
}

export function config(resourceType: number, resourceName: string, name: string, value: string | null): Buffer {
  return metadataRecord(kafka.configRecord, { resourceType, resourceName, name, value });
}

/** What every log begins with. */
export const beginning: readonly Buffer[] = [
  metadataRecord(kafka.beginTransactionRecord, { name: "Bootstrap records" }),
  metadataRecord(kafka.featureLevelRecord, { name: "metadata.version", featureLevel: 30 }),
  metadataRecord(kafka.featureLevelRecord, { name: "transaction.version", featureLevel: 2 }),
  metadataRecord(kafka.endTransactionRecord, {}),
];
export const orders: readonly Buffer[] = [topic("orders", ordersId), partition(ordersId, 0)];

export interface Segment {
  readonly baseOffset: number;
  readonly records: readonly Buffer[];
}

/** Batches with a leader's change in front, as the log of a quorum of one has them. */
export function segmentBytes({ baseOffset, records }: Segment): Buffer {
  const value = Buffer.from("0000000000010000000001010000000001010000", "hex");
  const change = encodeControlBatch({ type: ControlType.LEADER_CHANGE, value, timestamp, baseOffset, leaderEpoch: 1 });
  if (records.length === 0) return change;
  return Buffer.concat([change, plainBatch(records, baseOffset + 1)]);
}

function plainBatch(values: readonly Buffer[], baseOffset: number): Buffer {
  return encodeBatch({ baseOffset, leaderEpoch: 1, records: values.map((value) => ({ key: null, value, timestamp })) });
}

export function snapshotBytes(records: readonly Buffer[]): Buffer {
  const control = (type: ControlType, baseOffset: number): Buffer =>
    encodeControlBatch({ type, value: Buffer.from("0000", "hex"), timestamp, baseOffset, leaderEpoch: 1 });
  return Buffer.concat([
    control(ControlType.SNAPSHOT_HEADER, 0),
    ...(records.length === 0 ? [] : [plainBatch(records, 1)]),
    control(ControlType.SNAPSHOT_FOOTER, records.length + 1),
  ]);
}

export interface KafkaDirectory {
  readonly path?: string;
  readonly nodeId?: number;
  readonly isClean?: boolean;
  /** Null: the metadata lies in another directory. */
  readonly segments?: readonly Segment[] | null;
  readonly snapshots?: Readonly<Record<string, Buffer>>;
  /** By the directory's name: the topic's id, and batches. */
  readonly partitions?: Readonly<
    Record<string, { readonly topicId: string; readonly log: Buffer; readonly base?: number }>
  >;
  readonly files?: Readonly<Record<string, string>>;
}

export const ordersLog: Buffer = encodeBatch({
  leaderEpoch: 4,
  records: ["one", "two", "three"].map((value) => ({ value: Buffer.from(value), timestamp })),
});

export const ordersPartition: NonNullable<KafkaDirectory["partitions"]> = {
  "orders-0": { topicId: ordersId, log: ordersLog },
};

/** A log directory as a stopped Apache Kafka leaves it: with a topic "orders" of one partition, unless something else is said. */
export async function makeKafkaDirectory(disk: Disk, options: KafkaDirectory = {}): Promise<string> {
  const {
    path = "/kafka",
    nodeId = 1,
    isClean = true,
    partitions = ordersPartition,
    snapshots = {},
    files = {},
  } = options;
  const { segments = [{ baseOffset: 0, records: [...beginning, ...orders] }] } = options;
  await disk.makeDirectory(path);
  await disk.writeFile(`${path}/meta.properties`, Buffer.from(meta(nodeId)));
  if (isClean) await disk.writeFile(`${path}/.kafka_cleanshutdown`, Buffer.from('{"version":0,"brokerEpoch":9}'));
  for (const name of ["recovery-point", "replication", "log-start"]) {
    await disk.writeFile(`${path}/${name}-offset-checkpoint`, Buffer.from(""));
  }
  for (const [name, text] of Object.entries(files)) await disk.writeFile(`${path}/${name}`, Buffer.from(text));
  if (segments !== null) await disk.makeDirectory(`${path}/__cluster_metadata-0`);
  for (const segment of segments ?? []) {
    const name = `${String(segment.baseOffset).padStart(20, "0")}.log`;
    await disk.writeFile(`${path}/__cluster_metadata-0/${name}`, segmentBytes(segment));
  }
  for (const [name, bytes] of Object.entries(snapshots)) {
    await disk.writeFile(`${path}/__cluster_metadata-0/${name}.checkpoint`, bytes);
  }
  for (const [name, { topicId, log, base = 0 }] of Object.entries(partitions)) {
    await disk.makeDirectory(`${path}/${name}`);
    const metadata = `version: 0\ntopic_id: ${topicId}\n`;
    await disk.writeFile(`${path}/${name}/partition.metadata`, Buffer.from(metadata));
    const segment = `${path}/${name}/${String(base).padStart(20, "0")}`;
    await disk.writeFile(`${segment}.log`, log);
    // Small segments have no entries.
    await disk.writeFile(`${segment}.index`, Buffer.alloc(0));
    await disk.writeFile(`${segment}.timeindex`, Buffer.alloc(0));
    await disk.writeFile(`${path}/${name}/leader-epoch-checkpoint`, Buffer.from("0\n1\n4 0\n"));
  }
  return path;
}
