import type { Disk, DiskFile } from "@millrace/base/world";
import { forEachOf } from "./concurrency.ts";
import { fileNames, partitionDirectoryName, segmentFileName } from "./file-names.ts";
import type { LogConfig } from "./log-config.ts";
import type { PartitionLog } from "./log.ts";
import { isDiskGone } from "./out-of-space.ts";
import { encodePartitionMetadata } from "./partition-metadata.ts";
import type { Offset, Uuid } from "./types.ts";

export interface NewLog {
  readonly topic: string;
  readonly partition: number;
  readonly topicId: Uuid;
  readonly config: LogConfig;
}

/** What the log directory does for it, in the order in which it is asked. */
interface CreationHost {
  readonly disk: Disk;
  readonly path: string;
  /** Directories that are made at the same time. */
  readonly atOnce: number;
  /** Whose files are open until they are synced together. */
  readonly createdTogether: number;
  /** Sees that nothing of another topic lies under the name. */
  makeRoom(wanted: NewLog): Promise<void>;
  /** Checkpoints know names only: after a crash, what they say of a deleted topic must not be taken for the new one. */
  forgetNamesakes(wanted: readonly NewLog[]): Promise<void>;
  /** A sync that fails here says of the whole disk what one of the group commit does (R16); so does a device that is gone. */
  diskFailed(error: unknown): void;
  adopt(created: NewLog): PartitionLog;
}

interface Creation {
  readonly wanted: NewLog;
  readonly resolve: (log: PartitionLog) => void;
  readonly reject: (error: unknown) => void;
}

/** Makes the directories of new partitions. Calls of one turn are made together: a topic of many partitions costs one sync. */
export class LogCreation {
  readonly #host: CreationHost;
  #waiting: Creation[] = [];

  constructor(host: CreationHost) {
    this.#host = host;
  }

  /** Durably there when it resolves. */
  create(wanted: NewLog): Promise<PartitionLog> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ wanted, resolve, reject });
      if (this.#waiting.length === 1) queueMicrotask(() => void this.#createWaiting());
    });
  }

  async #createWaiting(): Promise<void> {
    const creations = this.#waiting;
    this.#waiting = [];
    const { createdTogether } = this.#host;
    for (let first = 0; first < creations.length; first += createdTogether) {
      await this.#createTogether(creations.slice(first, first + createdTogether));
    }
  }

  async #createTogether(creations: readonly Creation[]): Promise<void> {
    const host = this.#host;
    const { disk } = host;
    const wanted = creations.map((creation) => creation.wanted);
    const files: DiskFile[] = [];
    const directories: string[] = [];
    try {
      await forEachOf(wanted, host.atOnce, (each) => host.makeRoom(each));
      await host.forgetNamesakes(wanted);
      await forEachOf(wanted, host.atOnce, (each) => this.#makeFiles(each, files, directories));
      await this.#sync(files, wanted);
      for (const creation of creations) creation.resolve(host.adopt(creation.wanted));
    } catch (error) {
      if (isDiskGone(error)) host.diskFailed(error);
      // They may be made in another log directory now, and a partition lies in one. What cannot be removed is empty.
      await Promise.allSettled(directories.map((directory) => disk.removeDirectory(directory)));
      for (const { reject } of creations) reject(error);
    } finally {
      await Promise.allSettled(files.map((file) => file.close()));
    }
  }

  async #makeFiles(wanted: NewLog, made: DiskFile[], directories: string[]): Promise<void> {
    const { disk } = this.#host;
    const directory = this.#directoryOf(wanted);
    await disk.makeDirectory(directory);
    directories.push(directory);
    const metadata = await disk.open(`${directory}/${fileNames.partitionMetadata}`, "create");
    made.push(metadata);
    await metadata.truncate(0);
    await metadata.write([Buffer.from(encodePartitionMetadata(wanted.topicId))], 0);
    made.push(await disk.open(`${directory}/${segmentFileName(0 as Offset, ".log")}`, "create"));
  }

  async #sync(files: readonly DiskFile[], wanted: readonly NewLog[]): Promise<void> {
    const { disk, path, atOnce } = this.#host;
    try {
      await disk.syncFiles(files);
      await forEachOf(wanted, atOnce, (each) => disk.syncDirectory(this.#directoryOf(each)));
      await disk.syncDirectory(path);
    } catch (error) {
      this.#host.diskFailed(error);
      throw error;
    }
  }

  #directoryOf({ topic, partition }: NewLog): string {
    return `${this.#host.path}/${partitionDirectoryName(topic, partition)}`;
  }
}

/** A directory that was only begun, in a creation that a crash ended, holds none. */
export async function holdsRecords(disk: Disk, directory: string): Promise<boolean> {
  if ((await disk.stat(directory)) === null) return false;
  for (const { name } of await disk.list(directory)) {
    if (!name.endsWith(".log")) continue;
    const found = await disk.stat(`${directory}/${name}`);
    if (found !== null && found.sizeBytes > 0) return true;
  }
  return false;
}
