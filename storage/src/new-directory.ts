import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import { makeDirectoryDurably, replaceFile } from "@millrace/base/replace-file";
import type { Disk, DiskLock } from "@millrace/base/world";
import { encodeOffsets } from "./checkpoints.ts";
import type { PartitionOffset } from "./checkpoints.ts";
import { fileNames, parseSegmentFileName, partitionDirectoryName } from "./file-names.ts";
import { encodeFormat, FORMAT_VERSION } from "./format-version.ts";
import { encodeMetaProperties } from "./meta-properties.ts";
import type { MetaProperties } from "./meta-properties.ts";

export interface OffsetCheckpoints {
  readonly recoveryPoints: readonly PartitionOffset[];
  readonly highWatermarks: readonly PartitionOffset[];
  readonly logStartOffsets: readonly PartitionOffset[];
  readonly cleanerOffsets: readonly PartitionOffset[];
}

/**
 * A data directory that is made of logs which lie elsewhere, in Kafka's format and cleanly closed. `meta.properties` comes
 * first and `millrace.format` last: what is left of one that was not completed is refused by every broker.
 */
export class NewDirectory {
  readonly path: string;
  readonly #disk: Disk;
  readonly #lock: DiskLock;
  readonly #wasMissing: boolean;

  private constructor(options: { disk: Disk; path: string; lock: DiskLock; wasMissing: boolean }) {
    this.#disk = options.disk;
    this.path = options.path;
    this.#lock = options.lock;
    this.#wasMissing = options.wasMissing;
  }

  /** Takes a directory that is missing or empty. Nothing is changed in another. */
  static async begin(
    disk: Disk,
    path: string,
    meta: MetaProperties,
  ): Promise<Result<NewDirectory, "not-empty" | "locked">> {
    const found = await disk.stat(path);
    if (found?.kind === "file") return failed("not-empty", `${path} is a file`);
    const [first] = found === null ? [] : await disk.list(path);
    if (first !== undefined) return failed("not-empty", `${path} is not empty: it holds ${first.name}`);
    await makeDirectoryDurably(disk, path);
    const lock = await disk.lock(`${path}/${fileNames.lock}`);
    if (lock === null) return failed("locked", `${path} is locked by another process`);
    const directory = new NewDirectory({ disk, path, lock, wasMissing: found === null });
    try {
      const text = encodeMetaProperties(meta);
      await replaceFile(disk, `${path}/${fileNames.metaProperties}`, Buffer.from(text));
    } catch (error) {
      await directory.abandon();
      throw error;
    }
    return ok(directory);
  }

  /** Copies a partition's files, durably. Files that are no part of a closed log stay behind. Gives the bytes. */
  async copyLog(options: {
    readonly topic: string;
    readonly partition: number;
    readonly from: string;
  }): Promise<number> {
    const { topic, partition, from } = options;
    const to = `${this.path}/${partitionDirectoryName(topic, partition)}`;
    await this.#disk.makeDirectory(to);
    let bytes = 0;
    for (const { name } of await this.#disk.list(from)) {
      if (!isOfClosedLog(name)) continue;
      await this.#disk.copyFile(`${from}/${name}`, `${to}/${name}`);
      const file = await this.#disk.open(`${to}/${name}`, "write");
      try {
        await file.sync();
        bytes += await file.sizeBytes();
      } finally {
        await file.close();
      }
    }
    await this.#disk.syncDirectory(to);
    return bytes;
  }

  /** As after a clean stop; from here on it can still be abandoned. */
  async noteCleanStop(offsets: OffsetCheckpoints): Promise<void> {
    const write = (name: string, noted: readonly PartitionOffset[]): Promise<void> =>
      replaceFile(this.#disk, `${this.path}/${name}`, Buffer.from(encodeOffsets(noted)));
    await write(fileNames.recoveryPoints, offsets.recoveryPoints);
    await write(fileNames.highWatermarks, offsets.highWatermarks);
    await write(fileNames.logStartOffsets, offsets.logStartOffsets);
    await write(fileNames.cleanerOffsets, offsets.cleanerOffsets);
    await replaceFile(
      this.#disk,
      `${this.path}/${fileNames.cleanShutdown}`,
      Buffer.from('{"version":0,"brokerEpoch":-1}'),
    );
  }

  /** From here on it is a broker's. */
  async complete(unsyncedBytesMax: number): Promise<void> {
    const text = encodeFormat({ version: FORMAT_VERSION, unsyncedBytesMax });
    await replaceFile(this.#disk, `${this.path}/${fileNames.format}`, Buffer.from(text));
    await this.#lock.release();
  }

  /** Leaves it as it was found. */
  async abandon(): Promise<void> {
    await this.#lock.release();
    if (this.#wasMissing) return this.#disk.removeDirectory(this.path);
    for (const { name, kind } of await this.#disk.list(this.path)) {
      const path = `${this.path}/${name}`;
      await (kind === "directory" ? this.#disk.removeDirectory(path) : this.#disk.removeFile(path));
    }
  }
}

function isOfClosedLog(name: string): boolean {
  if (name === fileNames.leaderEpochs || name === fileNames.partitionMetadata) return true;
  return parseSegmentFileName(name) !== null;
}
