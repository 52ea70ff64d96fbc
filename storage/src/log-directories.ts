import { must } from "@millrace/base/assert";
import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import { DiskError } from "@millrace/base/world";
import type { Disk } from "@millrace/base/world";
import type { CleanerSettings } from "./cleaner/cleaner.ts";
import type { DirectoryRefusal } from "./directory-claim.ts";
import { fileNames } from "./file-names.ts";
import type { LogConfig } from "./log-config.ts";
import type { NewLog } from "./log-creation.ts";
import { defaultLogDirectoryLimits } from "./log-directory-limits.ts";
import type { LogDirectoryLimits } from "./log-directory-limits.ts";
import { LogDirectory } from "./log-directory.ts";
import type { LoadReport, LogDirectoryOptions } from "./log-directory.ts";
import type { PartitionLog } from "./log.ts";
import type { MetaProperties } from "./meta-properties.ts";
import type { Uuid } from "./types.ts";

export interface LogDirectoriesOptions extends Omit<LogDirectoryOptions, "path" | "onFailure"> {
  /** `log.dirs`, in order: the metadata log lies in the first, for which `directoryId` is. */
  readonly paths: readonly string[];
  /** `cordoned.log.dirs`: these take no new logs; `*` is all of them (KIP-1066). */
  readonly cordoned?: readonly string[];
  /** One of the others has failed (R16): its logs are offline until a restart, and all else goes on. */
  readonly onOffline?: (directory: OfflineDirectory) => void;
  /** The first has failed, and with it the metadata: the broker cannot go on. */
  readonly onFailure?: (error: unknown) => void;
}

/**
 * Why a broker does not start with these directories. Nothing in them was changed, beside what a directory does by itself.
 * - same-directory: two of them are one, or copies of each other
 * - misplaced-metadata: the metadata log lies in another one than the first, or is not where the others come from
 */
export type DirectoriesRefusal = DirectoryRefusal | "no-directory" | "same-directory" | "misplaced-metadata";

interface Refusal {
  readonly failure: DirectoriesRefusal;
  readonly message: string;
}

export interface OfflineDirectory {
  readonly path: string;
  readonly message: string;
}

export interface DirectoryReport extends LoadReport {
  readonly path: string;
}

/** What DescribeLogDirs tells of a directory. */
export type DirectoryDescription =
  | { readonly path: string; readonly offline: string }
  | {
      readonly path: string;
      readonly offline: null;
      readonly totalBytes: number;
      readonly usableBytes: number;
      readonly logs: readonly PartitionLog[];
    };

/** Those that cannot be read are offline while others work. Every other refusal is a mistake that somebody has to see. */
const offlineAtStart: ReadonlySet<DirectoryRefusal> = new Set<DirectoryRefusal>(["unreadable", "broken-journal"]);

/**
 * All log directories of a broker (KIP-112). Each is by itself: lock, identity, journal, checkpoints, clean mark; each may fail
 * by itself. A partition lies in one of them, and new ones where the fewest are.
 */
export class LogDirectories {
  readonly #options: LogDirectoriesOptions;
  readonly #paths: readonly string[];
  /** Those that were opened, also when they have failed since; the first of `log.dirs` comes first. */
  readonly #opened: LogDirectory[] = [];
  readonly #offline = new Map<string, OfflineDirectory>();
  /** Logs that are being created, and count as if they were there. */
  readonly #creating = new Map<LogDirectory, number>();

  private constructor(options: LogDirectoriesOptions) {
    this.#options = options;
    this.#paths = options.paths.map((path) => path.replace(/(?<=.)\/+$/, ""));
  }

  /** Takes hold of all that can be read, in order: the first one says whose the others have to be. */
  static async open(options: LogDirectoriesOptions): Promise<Result<LogDirectories, DirectoriesRefusal>> {
    const directories = new LogDirectories(options);
    let refusal: Refusal | null;
    try {
      refusal = (await directories.#findMistake()) ?? (await directories.#openAll());
    } catch (error) {
      await directories.close();
      throw error;
    }
    if (refusal === null) return ok(directories);
    await directories.close();
    return failed(refusal.failure, refusal.message);
  }

  /** Before anything is touched: a broker that began with new metadata would know none of its topics. */
  async #findMistake(): Promise<Refusal | null> {
    const [first, ...others] = this.#paths;
    if (first === undefined) return { failure: "no-directory", message: "log.dirs names no directory" };
    const twice = this.#paths.find((path, index) => this.#paths.indexOf(path) !== index);
    if (twice !== undefined) return { failure: "same-directory", message: `log.dirs names ${twice} twice` };
    const { disk } = this.#options;
    const isNew = others.length > 0 && (await holds(disk, first, fileNames.metaProperties)) === "no";
    for (const path of others) {
      if ((await holds(disk, path, fileNames.metadataDirectory)) === "yes") {
        const message = `the metadata log lies in ${path}: log.dirs has to name that directory first, not ${first}`;
        return { failure: "misplaced-metadata", message };
      }
      if (isNew && (await holds(disk, path, fileNames.metaProperties)) === "yes") {
        const message = `${first} is new and ${path} is in use: the first of log.dirs has to be the one with the metadata log`;
        return { failure: "misplaced-metadata", message };
      }
    }
    return null;
  }

  async #openAll(): Promise<Refusal | null> {
    const limits = limitsOfOne(this.#options, this.#paths.length);
    const cleaner = cleanerOfOne(this.#options.cleaner, this.#paths.length);
    let { clusterId } = this.#options;
    for (const path of this.#paths) {
      const onFailure = (error: unknown): void => this.#failed(path, error);
      const directoryId = path === this.#paths[0] ? (this.#options.directoryId ?? null) : null;
      const options = { ...this.#options, ...cleaner, path, clusterId, directoryId, limits, onFailure };
      const result = await LogDirectory.open(options);
      if (result.ok) {
        const { meta } = result.value;
        const original = this.#opened.find((each) => each.meta.directoryId === meta.directoryId);
        this.#opened.push(result.value);
        if (original !== undefined) {
          const message = `${path} has the directory.id of ${original.path}, ${meta.directoryId}: one of them is a copy`;
          return { failure: "same-directory", message };
        }
        ({ clusterId } = meta);
      } else {
        const message = result.message ?? result.failure;
        if (this.#opened.length === 0 || !offlineAtStart.has(result.failure)) {
          return { failure: result.failure, message };
        }
        this.#takeOffline({ path, message });
      }
    }
    return null;
  }

  /** Where the metadata log lies. */
  get metadataPath(): string {
    return `${this.#first.path}/${fileNames.metadataDirectory}`;
  }
  /** Of the first: the cluster and the node are those of all. */
  get meta(): MetaProperties {
    return this.#first.meta;
  }
  /** Of all that were opened. */
  get directoryIds(): readonly Uuid[] {
    return this.#opened.map(({ meta }) => meta.directoryId);
  }
  /** A log that is found nowhere may lie in one of these. */
  get offline(): readonly OfflineDirectory[] {
    return [...this.#offline.values()];
  }
  /** Bytes that were given offsets and are not written yet, over all logs: a limit to what is taken in. */
  get queuedBytes(): number {
    let bytes = 0;
    for (const directory of this.#opened) bytes += directory.queuedBytes;
    return bytes;
  }

  /** A setting of the cleaner or of a compacted topic has changed. */
  wakeCleaner(): void {
    for (const directory of this.#working) directory.wakeCleaner();
  }

  get #first(): LogDirectory {
    return must(this.#opened[0], "the first log directory");
  }
  get #working(): readonly LogDirectory[] {
    return this.#opened.filter(({ failure }) => failure === null);
  }

  /** Opens every log there is. A directory in which that cannot be done is offline, unless it is the first. */
  async load(
    configOf: (topic: string, topicId: Uuid) => LogConfig,
  ): Promise<Result<readonly DirectoryReport[], "duplicate-partition">> {
    const reports = await Promise.all(
      this.#opened.map(async (directory): Promise<DirectoryReport[]> => {
        try {
          return [{ path: directory.path, ...(await directory.load(configOf)) }];
        } catch (error) {
          if (!(error instanceof DiskError) || directory === this.#first) throw error;
          directory.fail(error);
          return [];
        }
      }),
    );
    const duplicate = await this.#settleDuplicates();
    return duplicate === null ? ok(reports.flat()) : failed("duplicate-partition", duplicate);
  }

  *logs(): Iterable<PartitionLog> {
    for (const directory of this.#opened) yield* directory.logs();
  }

  find(topic: string, partition: number, topicId: Uuid): PartitionLog | undefined {
    for (const directory of this.#opened) {
      const found = directory.find(topic, partition, topicId);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** In the directory with the fewest logs, as Kafka does it; in the next one where that does not take it. */
  async createLog(wanted: NewLog): Promise<PartitionLog> {
    const tried = new Set<LogDirectory>();
    let refusal: unknown = new DiskError("EIO", this.#first.path, "no log directory is left to create a log in:");
    for (;;) {
      const directory = this.#emptiestBut(tried);
      if (directory === undefined) throw refusal;
      tried.add(directory);
      this.#creating.set(directory, this.#creatingIn(directory) + 1);
      try {
        return await directory.createLog(wanted);
      } catch (error) {
        if (!(error instanceof DiskError)) throw error;
        refusal = error;
      } finally {
        this.#creating.set(directory, this.#creatingIn(directory) - 1);
      }
    }
  }

  #emptiestBut(tried: ReadonlySet<LogDirectory>): LogDirectory | undefined {
    const count = (directory: LogDirectory): number => directory.logsCount + this.#creatingIn(directory);
    const { cordoned = [] } = this.#options;
    const isCordoned = ({ path }: LogDirectory): boolean => cordoned.includes("*") || cordoned.includes(path);
    return this.#working
      .filter((each) => !tried.has(each) && !isCordoned(each))
      .toSorted((a, b) => count(a) - count(b))[0];
  }

  #creatingIn(directory: LogDirectory): number {
    return this.#creating.get(directory) ?? 0;
  }

  /**
   * Durably gone when it resolves. In a directory that has failed nothing is done: the next start finds a log of a topic that is
   * unknown there.
   */
  async deleteLog(log: PartitionLog): Promise<void> {
    const directory = this.#directoryOf(log);
    if (directory.failure === null) await directory.deleteLog(log);
  }

  /** Puts away a log whose topic is unknown: its bytes stay, under a name that no topic has. */
  async setAside(log: PartitionLog): Promise<void> {
    const directory = this.#directoryOf(log);
    if (directory.failure === null) await directory.setAside(log);
  }

  #directoryOf(log: PartitionLog): LogDirectory {
    const found = this.#opened.find((each) => each.find(log.topic, log.partition, log.topicId) === log);
    return must(found, `the log directory of ${log.topic}-${log.partition}`);
  }

  /** All of `log.dirs`, in order. */
  async describe(): Promise<readonly DirectoryDescription[]> {
    return Promise.all(
      this.#paths.map(async (path): Promise<DirectoryDescription> => {
        const directory = this.#opened.find((each) => each.path === path);
        if (directory === undefined) return { path, offline: this.#offline.get(path)?.message ?? "it was not opened" };
        if (directory.failure !== null) return { path, offline: directory.failure.message };
        try {
          return { path, offline: null, ...(await this.#options.disk.space(path)), logs: [...directory.logs()] };
        } catch (error) {
          if (!(error instanceof DiskError)) throw error;
          return { path, offline: error.message };
        }
      }),
    );
  }

  /** Each by itself: what one cannot do any more does not keep another from a clean stop. */
  async close(): Promise<void> {
    const ends = await Promise.allSettled(this.#opened.map((directory) => directory.close()));
    for (const [index, end] of ends.entries()) {
      // What has failed before need not let go well.
      if (end.status === "rejected" && this.#opened[index]?.failure === null) throw end.reason;
    }
  }

  #failed(path: string, error: unknown): void {
    if (path === this.#paths[0]) return this.#options.onFailure?.(error);
    this.#takeOffline({ path, message: error instanceof Error ? error.message : String(error) });
  }

  #takeOffline(directory: OfflineDirectory): void {
    this.#offline.set(directory.path, directory);
    this.#options.logger.error("a log directory is offline until a restart; the others go on", { ...directory });
    this.#options.onOffline?.(directory);
  }

  /**
   * A partition that is found twice: of a creation that went on elsewhere only a husk may be left, which is put away. Two with
   * records nobody but the operator can choose from.
   */
  async #settleDuplicates(): Promise<string | null> {
    const known = new Map<string, PartitionLog>();
    for (const log of this.logs()) {
      const key = `${log.topicId} ${log.partition}`;
      const other = known.get(key);
      known.set(key, log);
      if (other === undefined) continue;
      const husk = [log, other].find(({ failure, logEndOffset }) => failure === null && logEndOffset === 0);
      if (husk === undefined) {
        return `${log.topic}-${log.partition} lies in ${other.directory} and in ${log.directory}, both with records: move away the one that is not to be served`;
      }
      known.set(key, husk === log ? other : log);
      await this.setAside(husk);
    }
    return null;
  }
}

async function holds(disk: Disk, path: string, name: string): Promise<"yes" | "no" | "unreadable"> {
  try {
    return (await disk.stat(`${path}/${name}`)) === null ? "no" : "yes";
  } catch (error) {
    if (error instanceof DiskError) return "unreadable";
    throw error;
  }
}

/** Memory and bandwidth of compaction are those of the broker; each directory has the threads, since its disk is its own. */
function cleanerOfOne(cleaner: LogDirectoryOptions["cleaner"], count: number): Pick<LogDirectoryOptions, "cleaner"> {
  if (cleaner === undefined) return {};
  const settings = (): CleanerSettings => {
    const whole = cleaner.settings();
    return {
      ...whole,
      dedupeBufferBytes: Math.floor(whole.dedupeBufferBytes / count),
      ioBufferBytes: Math.floor(whole.ioBufferBytes / count),
      bytesPerSecond: whole.bytesPerSecond / count,
    };
  };
  return { cleaner: { ...cleaner, settings } };
}

/** The rest is for connections, and for what else is opened. */
const SEGMENT_FILES_SHARE = 2 / 3;
const FILES_OF_SEGMENT = 3;

/** Files that may be open are those of the process. Kept as it is otherwise: a limit may be a getter, which follows a setting. */
function limitsOfOne({ limits = {}, disk, logger }: LogDirectoriesOptions, count: number): Partial<LogDirectoryLimits> {
  const { openSegmentsMax = defaultLogDirectoryLimits.openSegmentsMax } = limits;
  const { openFilesMax = Infinity } = disk;
  const possible = Math.floor((openFilesMax * SEGMENT_FILES_SHARE) / FILES_OF_SEGMENT);
  if (possible < openSegmentsMax) {
    logger.warn(
      "the limit on open files (ulimit -n) is low: fewer segments are kept open, and more often opened anew",
      {
        openFilesMax,
        openSegments: possible,
        openSegmentsWanted: openSegmentsMax,
      },
    );
  }
  const ofOne: Partial<LogDirectoryLimits> = {};
  Object.defineProperties(ofOne, Object.getOwnPropertyDescriptors(limits));
  return Object.defineProperty(ofOne, "openSegmentsMax", {
    value: Math.max(1, Math.floor(Math.min(openSegmentsMax, possible) / count)),
    enumerable: true,
  });
}
