import type { Logger } from "@millrace/base/logger";
import { replaceFile } from "@millrace/base/replace-file";
import type { Disk } from "@millrace/base/world";
import { decodeOffsets, encodeOffsets, partitionKey } from "./checkpoints.ts";
import type { OffsetsByPartition, PartitionOffset } from "./checkpoints.ts";
import { readText } from "./read-text.ts";

/** The files of offsets that a log directory keeps beside its partitions. */
export class CheckpointFiles {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #logger: Logger;
  /** By file that was read or written: the partitions that it names. */
  readonly #noted = new Map<string, ReadonlySet<string>>();

  constructor(options: { readonly disk: Disk; readonly directory: string; readonly logger: Logger }) {
    this.#disk = options.disk;
    this.#directory = options.directory;
    this.#logger = options.logger;
  }

  /** Null where the file is missing or cannot be read: it says less than it could, and nothing wrong. */
  async read(name: string): Promise<OffsetsByPartition | null> {
    const path = `${this.#directory}/${name}`;
    const text = await readText(this.#disk, path);
    if (text === null) return null;
    const decoded = decodeOffsets(text);
    if (decoded.ok) {
      this.#noted.set(name, new Set(decoded.value.keys()));
      return decoded.value;
    }
    this.#logger.warn("a checkpoint cannot be read and is not used", { path, reason: decoded.message });
    return null;
  }

  /** An offset of 0 is not written: it is what a partition has that the file does not name. */
  async write(name: string, offsets: Iterable<PartitionOffset>): Promise<void> {
    const noted = [...offsets].filter(({ offset }) => offset > 0);
    await replaceFile(this.#disk, `${this.#directory}/${name}`, Buffer.from(encodeOffsets(noted)));
    this.#noted.set(name, new Set(noted.map(({ topic, partition }) => partitionKey(topic, partition))));
  }

  /** Whether one of the files names the partition. */
  names(topic: string, partition: number): boolean {
    const key = partitionKey(topic, partition);
    return this.#noted.values().some((keys) => keys.has(key));
  }
}
