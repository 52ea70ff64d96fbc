import { InlineWorkers } from "@millrace/base/inline-workers";
import { silentLogger } from "@millrace/base/logger";
import type { Logger } from "@millrace/base/logger";
import type { TimeMs } from "@millrace/base/units";
import type { Disk, Workers } from "@millrace/base/world";
import { SeededRandom } from "@millrace/simulator/seeded-random";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { batchesIn } from "kafka-protocol-ts/records/batch";
import { encodeBatch, readRecords } from "kafka-protocol-ts/records/record";
import type { Record, RecordInput } from "kafka-protocol-ts/records/record";
import { noteKeysTask } from "../src/cleaner/clean-task.ts";
import { defaultCleanerSettings } from "../src/cleaner/cleaner.ts";
import type { CleanerSettings } from "../src/cleaner/cleaner.ts";
import { defaultLogConfig } from "../src/log-config.ts";
import type { LogConfig } from "../src/log-config.ts";
import { LogDirectory } from "../src/log-directory.ts";
import type { LoadReport, LogDirectoryOptions } from "../src/log-directory.ts";
import type { LogDirectoryLimits } from "../src/log-directory-limits.ts";
import type { ScrubRules } from "../src/scrubber.ts";
import type { AppendInfo, AppendOptions, PartitionLog } from "../src/log.ts";
import type { RoomLimits } from "../src/segment-room.ts";
import type { LeaderEpoch, Offset } from "../src/types.ts";
import { trustBatch } from "../src/validation.ts";

export const topicId = "AAAAAAAAAAAAAAAAAAAAAQ";

/** The journal tells logs apart by it. */
export function topicIdOf(topic: string): string {
  return topic === "orders" ? topicId : Buffer.alloc(16, topic).toString("base64url");
}

/** Made behind nearly every write of a test. */
export const smallRoom: RoomLimits = { fromBytes: 200, zeroedBytes: 4096, reservedBytes: 16_384, spareBytes: 1000 };

/** A log directory in a simulated world, and the few words in which tests speak of it. */
export class Bench {
  readonly disk: Disk;
  readonly clock: VirtualClock;
  readonly directory: LogDirectory;
  readonly report: LoadReport;

  private constructor(disk: Disk, clock: VirtualClock, directory: LogDirectory, report: LoadReport) {
    this.disk = disk;
    this.clock = clock;
    this.directory = directory;
    this.report = report;
  }

  static async open(options: BenchOptions = {}): Promise<Bench> {
    const clock = options.clock ?? new VirtualClock();
    const disk = options.disk ?? new SimulatedDisk({ clock });
    const opened = await LogDirectory.open({
      path: options.path ?? "/data",
      disk,
      clock,
      random: new SeededRandom(options.seed ?? 1),
      logger: options.logger ?? silentLogger,
      clusterId: null,
      nodeId: 1,
      limits: { journalBytes: 0, ...options.limits },
      ...(options.areReplicated === undefined ? {} : { areReplicated: options.areReplicated }),
      ...(options.scrub === undefined ? {} : { scrub: options.scrub }),
      cleaner: { ...(await cleanerOf(disk, clock, options.cleaner)), ...options.cleanerThreads },
    });
    if (!opened.ok) throw new Error(opened.message);
    const configOf = (topic: string): LogConfig => ({
      ...defaultLogConfig,
      ...options.config,
      ...options.configOf?.(topic),
    });
    const report = await opened.value.load(configOf);
    return new Bench(disk, clock, opened.value, report);
  }

  create(topic: string, config: Partial<LogConfig> = {}, partition = 0): Promise<PartitionLog> {
    return this.directory.createLog({
      topic,
      partition,
      topicId: topicIdOf(topic),
      config: { ...defaultLogConfig, ...config },
    });
  }

  log(topic: string, partition = 0): PartitionLog {
    const found = this.directory.find(topic, partition, topicIdOf(topic));
    if (found === undefined) throw new Error(`no log ${topic}-${partition}`);
    return found;
  }
}

/** Rounds run in this thread, so that they are the same each time; their module is loaded before the clock is moved. */
async function cleanerOf(
  disk: Disk,
  clock: VirtualClock,
  settings: Partial<CleanerSettings> = {},
): Promise<NonNullable<LogDirectoryOptions["cleaner"]>> {
  const workers = new InlineWorkers({ disk, clock });
  await workers.load(noteKeysTask.module);
  return { workers, settings: () => ({ ...defaultCleanerSettings, ...settings }) };
}

/** The disk of a process that has died: its locks are gone with it, and nothing else is. */
export function withoutLocks<D extends Disk>(disk: D): D {
  const lock: Disk["lock"] = async () => ({ release: async () => {} });
  return new Proxy(disk, {
    get: (target, name) => {
      if (name === "lock") return lock;
      const found: unknown = Reflect.get(target, name, target);
      return typeof found === "function" ? found.bind(target) : found;
    },
  });
}

export interface BenchOptions {
  readonly disk?: Disk;
  readonly clock?: VirtualClock;
  readonly path?: string;
  readonly seed?: number;
  readonly logger?: Logger;
  readonly limits?: Partial<LogDirectoryLimits>;
  /** Of every log that is loaded. */
  readonly config?: Partial<LogConfig>;
  readonly configOf?: (topic: string) => Partial<LogConfig>;
  readonly scrub?: () => ScrubRules;
  readonly areReplicated?: boolean;
  /** In the place of this thread. */
  readonly cleanerThreads?: { readonly workers: Workers };
  /** Read anew for each round: the test may change them. */
  readonly cleaner?: Partial<CleanerSettings>;
}

export interface BatchInput {
  readonly records?: readonly (string | RecordInput)[];
  readonly timestamp?: number;
  readonly producerId?: number;
  readonly producerEpoch?: number;
  readonly baseSequence?: number;
  readonly isTransactional?: boolean;
  /** Fills up with one record of so many bytes. */
  readonly sizeBytes?: number;
  readonly compression?: "none" | "gzip" | "snappy" | "lz4" | "zstd";
}

export function batchOf(input: BatchInput = {}): Buffer {
  const { records = ["a"], timestamp = Date.UTC(2026, 0, 1), sizeBytes, ...options } = input;
  const values: readonly RecordInput[] =
    sizeBytes === undefined
      ? records.map((record) => (typeof record === "string" ? { timestamp, value: Buffer.from(record) } : record))
      : [{ timestamp, value: Buffer.alloc(sizeBytes - 61 - 12, 0x78) }];
  return encodeBatch({ ...options, records: values });
}

export function append(
  log: PartitionLog,
  input: BatchInput | Buffer = {},
  options: Partial<AppendOptions> = {},
): AppendInfo {
  const result = tryAppend(log, input, options);
  if (!result.ok) throw new Error(`${result.failure.kind}: ${result.failure.message}`);
  return result.value;
}

export function tryAppend(
  log: PartitionLog,
  input: BatchInput | Buffer = {},
  options: Partial<AppendOptions> = {},
): ReturnType<PartitionLog["append"]> {
  const bytes = Buffer.isBuffer(input) ? input : batchOf(input);
  const nowMs = Date.UTC(2026, 0, 1) as TimeMs;
  return log.append(trustBatch(bytes), { leaderEpoch: 0 as LeaderEpoch, origin: "client", nowMs, ...options });
}

/** Resolves when the log's durable offset reaches it; rejects when the log fails before. */
export function durable(log: PartitionLog, nextOffset: number = log.logEndOffset): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = (): void => {
      if (log.durableOffset >= nextOffset) resolve();
      else if (log.failure !== null) reject(new Error(log.failure.message));
    };
    log.onProgress = look;
    look();
  });
}

/** The bytes of one read. */
export async function readBytes(
  log: PartitionLog,
  offset: number,
  limits: { readonly sizeBytesMax?: number; readonly upTo?: number; readonly isWholeBatchGuaranteed?: boolean } = {},
): Promise<Buffer> {
  const read = await log.read(offset as Offset, {
    sizeBytesMax: limits.sizeBytesMax ?? 1 << 30,
    upTo: (limits.upTo ?? log.durableOffset) as Offset,
    isWholeBatchGuaranteed: limits.isWholeBatchGuaranteed ?? true,
  });
  if (!read.ok) throw new Error(read.failure);
  const { slice } = read.value;
  if (slice === null) return Buffer.alloc(0);
  const bytes = Buffer.alloc(slice.sizeBytes);
  const count = await slice.file.read(bytes, slice.position);
  slice.release();
  return bytes.subarray(0, count);
}

/** All records from an offset to the log's durable end, with as many reads as it takes. */
export async function readAll(
  log: PartitionLog,
  from: number = log.logStartOffset,
  sizeBytesMax = 1 << 20,
): Promise<Record[]> {
  const found: Record[] = [];
  let offset = from;
  while (offset < log.durableOffset) {
    const bytes = await readBytes(log, offset, { sizeBytesMax });
    if (bytes.length === 0) break;
    const batches = batchesIn(bytes);
    for (const batch of batches) {
      if (!batch.isCrcValid()) throw new Error(`bad checksum at offset ${batch.baseOffset}`);
      for (const record of readRecords(batch)) if (record.offset >= offset) found.push(record);
      offset = batch.lastOffset + 1;
    }
    if (batches.fault !== null) throw new Error(batches.fault);
  }
  return found;
}

export function values(records: readonly Record[]): string[] {
  return records.map(({ value }) => value?.toString() ?? "null");
}

/** Has a log compacted now, whatever its dirty ratio, and waits for the end of it. */
export async function compact(bench: Bench, log: PartitionLog): Promise<void> {
  const request = log.config["millrace.compact.request"] + 1;
  log.configure({ ...log.config, "millrace.compact.request": request });
  bench.directory.wakeCleaner();
  await bench.clock.runUntil(() => bench.directory.compactedRequest(log) >= request, { withinMs: 120_000 });
}
