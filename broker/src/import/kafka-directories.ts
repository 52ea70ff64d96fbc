import { DiskError } from "@millrace/base/world";
import type { Disk, DiskLock } from "@millrace/base/world";
import { decodeOffsets, partitionKey } from "@millrace/storage/checkpoints";
import type { OffsetsByPartition, PartitionOffset } from "@millrace/storage/checkpoints";
import { fileNames, parsePartitionDirectoryName, parseSegmentFileName } from "@millrace/storage/file-names";
import { decodeMetaProperties } from "@millrace/storage/meta-properties";
import { decodePartitionMetadata } from "@millrace/storage/partition-metadata";
import { decodeSnapshot } from "@millrace/storage/producer-snapshot";
import { ProducerStates } from "@millrace/storage/producer-state";
import type { Offset, Uuid } from "@millrace/storage/types";
import { ImportRefused } from "./import-refused.ts";

/** A partition's directory in a log directory of Apache Kafka. */
export interface KafkaLog {
  readonly path: string;
  readonly topic: string;
  readonly partition: number;
  readonly topicId: Uuid;
  readonly recoveryPoint: Offset | null;
  readonly highWatermark: Offset | null;
  readonly logStartOffset: Offset;
  /** Compaction went so far; null where it never did. */
  readonly cleanerOffset: Offset | null;
  /** Transactions that had neither committed nor aborted. */
  readonly openTransactions: readonly { readonly producerId: number; readonly firstOffset: number }[];
}

const metadataDirectory = "__cluster_metadata-0";

/** The log directories of one stopped broker. They are read and kept locked, and never changed. */
export class KafkaDirectories implements AsyncDisposable {
  readonly clusterId: string;
  readonly nodeId: number;
  readonly metadataPath: string;
  readonly logs: ReadonlyMap<string, KafkaLog>;
  /** Names that are no part of the cluster's data. */
  readonly leftAlone: readonly string[];
  readonly #disk: Disk;
  readonly #locks: readonly DiskLock[];
  /** By directory: the names whose coming or going tells of a start. */
  readonly #signs: ReadonlyMap<string, string>;

  private constructor(
    parts: Pick<KafkaDirectories, "clusterId" | "nodeId" | "metadataPath" | "logs" | "leftAlone">,
    held: { readonly disk: Disk; readonly locks: readonly DiskLock[]; readonly signs: ReadonlyMap<string, string> },
  ) {
    this.clusterId = parts.clusterId;
    this.nodeId = parts.nodeId;
    this.metadataPath = parts.metadataPath;
    this.logs = parts.logs;
    this.leftAlone = parts.leftAlone;
    this.#disk = held.disk;
    this.#locks = held.locks;
    this.#signs = held.signs;
  }

  static async open(disk: Disk, paths: readonly string[]): Promise<KafkaDirectories> {
    const locks: DiskLock[] = [];
    try {
      for (const path of paths) locks.push(...(await lockStopped(disk, path)));
      const signs = new Map<string, string>();
      for (const path of paths) signs.set(path, await signsOf(disk, path));
      return new KafkaDirectories(await readDirectories(disk, paths), { disk, locks, signs });
    } catch (error) {
      for (const lock of locks) await lock.release();
      throw error;
    }
  }

  /** Kafka removes its lock file when it stops, so that there may be none to hold: then a start is found out afterwards. */
  async expectStillStopped(): Promise<void> {
    for (const [path, signs] of this.#signs) {
      if ((await signsOf(this.#disk, path)) === signs) continue;
      throw new ImportRefused(`${path}: a broker was started while it was copied`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const lock of this.#locks) await lock.release();
  }
}

/** A start makes the one and removes the other. */
async function signsOf(disk: Disk, path: string): Promise<string> {
  const isThere = async (name: string): Promise<boolean> => (await disk.stat(`${path}/${name}`)) !== null;
  return `${await isThere(fileNames.lock)} ${await isThere(fileNames.cleanShutdown)}`;
}

/** Whoever holds the lock is a broker that runs; we hold it then, so that none starts. A missing one is not made. */
async function lockStopped(disk: Disk, path: string): Promise<DiskLock[]> {
  if ((await disk.stat(path))?.kind !== "directory") throw new ImportRefused(`${path} is not a directory`);
  const lockPath = `${path}/${fileNames.lock}`;
  if ((await disk.stat(lockPath)) === null) return [];
  let lock: DiskLock | null;
  try {
    lock = await disk.lock(lockPath);
  } catch (error) {
    // A file system that may only be read. The mark of a clean stop, which a start removes, has to do.
    if (error instanceof DiskError) return [];
    throw error;
  }
  if (lock === null) throw new ImportRefused(`a broker runs in ${path}: ${lockPath} is locked. Stop it first`);
  return [lock];
}

async function readDirectories(
  disk: Disk,
  paths: readonly string[],
): Promise<Pick<KafkaDirectories, "clusterId" | "nodeId" | "metadataPath" | "logs" | "leftAlone">> {
  let owner: { readonly path: string; readonly clusterId: string; readonly nodeId: number } | null = null;
  let metadataPath: string | null = null;
  const logs = new Map<string, KafkaLog>();
  const leftAlone: string[] = [];
  for (const path of paths) {
    const { clusterId, nodeId } = await readOwner(disk, path);
    owner ??= { path, clusterId, nodeId };
    if (owner.clusterId !== clusterId || owner.nodeId !== nodeId) {
      const [one, other] = [`cluster ${owner.clusterId} node ${owner.nodeId}`, `cluster ${clusterId} node ${nodeId}`];
      throw new ImportRefused(`${owner.path} belongs to ${one}, but ${path} to ${other}`);
    }
    const names = await disk.list(path);
    await expectCleanStop(
      disk,
      path,
      names.map(({ name }) => name),
    );
    const checkpoints = await readCheckpoints(disk, path);
    for (const { name, kind } of names) {
      if (kind !== "directory") continue;
      const place = `${path}/${name}`;
      if (name === metadataDirectory) {
        if (metadataPath !== null) throw new ImportRefused(`${metadataPath} and ${place} are both there`);
        metadataPath = place;
        continue;
      }
      const log = await readLog(disk, place, name, checkpoints);
      if (log === null) {
        if (parsePartitionDirectoryName(name)?.state !== "delete") leftAlone.push(place);
        continue;
      }
      const before = logs.get(name);
      if (before !== undefined) throw new ImportRefused(`${before.path} and ${place} are both there`);
      logs.set(name, log);
    }
  }
  if (owner === null) throw new ImportRefused("no directory was named");
  if (metadataPath === null) {
    throw new ImportRefused(
      `there is no ${metadataDirectory} in ${paths.join(", ")}: give all log.dirs, and metadata.log.dir`,
    );
  }
  return { ...owner, metadataPath, logs, leftAlone };
}

async function readOwner(disk: Disk, path: string): Promise<{ readonly clusterId: string; readonly nodeId: number }> {
  if ((await disk.stat(`${path}/${fileNames.format}`)) !== null) {
    throw new ImportRefused(`${path} has a ${fileNames.format}: it is a data directory of Millrace already`);
  }
  const text = await readText(disk, `${path}/${fileNames.metaProperties}`);
  if (text === null)
    throw new ImportRefused(`${path} has no ${fileNames.metaProperties}: it is no log directory of Kafka`);
  const decoded = decodeMetaProperties(text);
  if (!decoded.ok) throw new ImportRefused(`${path}: ${decoded.message}`);
  return decoded.value;
}

/** A directory that holds nothing but the metadata log is never marked: its log ends where it was last written to. */
async function expectCleanStop(disk: Disk, path: string, names: readonly string[]): Promise<void> {
  const holdsPartitions = names.some(
    (name) => name !== metadataDirectory && parsePartitionDirectoryName(name)?.state === "live",
  );
  if (!holdsPartitions || (await disk.stat(`${path}/${fileNames.cleanShutdown}`)) !== null) return;
  throw new ImportRefused(
    `${path} has no ${fileNames.cleanShutdown}: its broker did not stop cleanly. Start Kafka once more and stop it`,
  );
}

type Checkpoints = Readonly<
  Record<"recoveryPoints" | "highWatermarks" | "logStartOffsets" | "cleanerOffsets", OffsetsByPartition>
>;

async function readCheckpoints(disk: Disk, path: string): Promise<Checkpoints> {
  const read = async (name: string): Promise<OffsetsByPartition> => {
    const text = await readText(disk, `${path}/${name}`);
    // Kafka makes them empty, and fills them when there is something to say.
    if (text === null || text === "") return new Map();
    const decoded = decodeOffsets(text);
    if (!decoded.ok) throw new ImportRefused(`${path}/${name}: ${decoded.message}`);
    return decoded.value;
  };
  return {
    recoveryPoints: await read(fileNames.recoveryPoints),
    highWatermarks: await read(fileNames.highWatermarks),
    logStartOffsets: await read(fileNames.logStartOffsets),
    cleanerOffsets: await read(fileNames.cleanerOffsets),
  };
}

/** Null for a directory that is no live partition's: on its way out, moving, or somebody else's. */
async function readLog(
  disk: Disk,
  path: string,
  name: string,
  { recoveryPoints, highWatermarks, logStartOffsets, cleanerOffsets }: Checkpoints,
): Promise<KafkaLog | null> {
  const parsed = parsePartitionDirectoryName(name);
  if (parsed?.state !== "live") return null;
  const { topic, partition } = parsed;
  const metadata = await readText(disk, `${path}/${fileNames.partitionMetadata}`);
  if (metadata === null) throw new ImportRefused(`${path} has no ${fileNames.partitionMetadata}`);
  const topicId = decodePartitionMetadata(metadata);
  if (!topicId.ok) throw new ImportRefused(`${path}: ${topicId.message}`);
  const names = (await disk.list(path)).map((entry) => entry.name);
  const swap = names.find((each) => each.endsWith(".swap"));
  if (swap !== undefined) {
    throw new ImportRefused(`${path}/${swap}: compaction was interrupted. Start Kafka once more and stop it`);
  }
  const bases = names.flatMap((each) => {
    const file = parseSegmentFileName(each);
    return file?.suffix === ".log" ? [file.baseOffset] : [];
  });
  if (bases.length === 0) throw new ImportRefused(`${path} has no segment`);
  const key = partitionKey(topic, partition);
  const offsetIn = (offsets: OffsetsByPartition): Offset | null => offsets.get(key)?.offset ?? null;
  return {
    path,
    topic,
    partition,
    topicId: topicId.value,
    recoveryPoint: offsetIn(recoveryPoints),
    highWatermark: offsetIn(highWatermarks),
    // Kafka notes the start only where it lies inside the first segment.
    logStartOffset: Math.max(Math.min(...bases), offsetIn(logStartOffsets) ?? 0) as Offset,
    cleanerOffset: offsetIn(cleanerOffsets),
    openTransactions: await openTransactions(disk, path, names),
  };
}

/** By the newest snapshot, which a clean stop writes at the end of the log. */
async function openTransactions(
  disk: Disk,
  path: string,
  names: readonly string[],
): Promise<KafkaLog["openTransactions"]> {
  const newest = names
    .filter((name) => parseSegmentFileName(name)?.suffix === ".snapshot")
    .toSorted()
    .at(-1);
  if (newest === undefined) return [];
  const states = new ProducerStates();
  const decoded = decodeSnapshot(await disk.readFile(`${path}/${newest}`), states);
  if (!decoded.ok) throw new ImportRefused(`${path}/${newest}: ${decoded.message}`);
  const open: { producerId: number; firstOffset: number }[] = [];
  for (const { producerId, currentTxnFirstOffset } of states.entries()) {
    if (currentTxnFirstOffset >= 0) open.push({ producerId, firstOffset: currentTxnFirstOffset });
  }
  return open;
}

/** What a checkpoint of all these logs says. */
export function checkpointOf(
  logs: readonly KafkaLog[],
  offsetOf: (log: KafkaLog) => Offset | null,
): readonly PartitionOffset[] {
  return logs.flatMap((log) => {
    const offset = offsetOf(log);
    return offset === null || offset === 0 ? [] : [{ topic: log.topic, partition: log.partition, offset }];
  });
}

async function readText(disk: Disk, path: string): Promise<string | null> {
  return (await disk.stat(path)) === null ? null : (await disk.readFile(path)).toString();
}
