import type { Logger } from "@millrace/base/logger";
import { DiskError } from "@millrace/base/world";
import type { DirectoryEntry } from "@millrace/base/world";
import { finishSwaps } from "./cleaner/swap.ts";
import { emptyLog } from "./empty-log.ts";
import { fileNames, parseSegmentFileName } from "./file-names.ts";
import type { JournalReplay } from "./journal-replay.ts";
import type { LogConfig } from "./log-config.ts";
import { holdsRecords } from "./log-creation.ts";
import type { LogEnvironment } from "./log-environment.ts";
import { PartitionLog } from "./log.ts";
import type { LogFailure } from "./log.ts";
import { decodePartitionMetadata } from "./partition-metadata.ts";
import { readText } from "./read-text.ts";
import { loadLog } from "./recovery.ts";
import type { Offset, Uuid } from "./types.ts";

export interface LoadedPartition {
  readonly log: PartitionLog;
  readonly replayedBytes: number;
  readonly scannedBytes: number;
  readonly cutBytes: number;
}

export interface LoadingOptions {
  readonly environment: LogEnvironment;
  readonly logger: Logger;
  readonly topic: string;
  readonly partition: number;
  readonly directory: string;
  /** What the checkpoints of the log directory say of it. */
  readonly recoveryPoint: Offset;
  readonly savedHighWatermark: Offset;
  readonly logStartOffset: Offset | null;
  /** What a crash left in the journal of the log directory. */
  readonly replay: JournalReplay;
  /** Of the cleaner: see Loading. */
  readonly cleanedOffset: Offset;
  readonly isClean: boolean;
  readonly unsyncedBytesMax: number;
  readonly configOf: (topic: string, topicId: Uuid) => LogConfig;
}

/** Opens the log that lies in a partition's directory. One that cannot be read is offline; null where none was finished. */
export async function loadPartition(options: LoadingOptions): Promise<LoadedPartition | null> {
  const { environment, logger, topic, partition, directory, recoveryPoint, logStartOffset } = options;
  const { disk, openSegments, jointSync } = environment;
  const { isClean, unsyncedBytesMax } = options;
  const nothingRead = { replayedBytes: 0, scannedBytes: 0, cutBytes: 0 };
  let names = await disk.list(directory);
  if (await finishSwaps(disk, directory, names)) names = await disk.list(directory);
  const metadata = await readText(disk, `${directory}/${fileNames.partitionMetadata}`);
  if (metadata === null) return null;
  const topicId = decodePartitionMetadata(metadata);
  if (!topicId.ok) {
    const fields = { directory, reason: topicId.message };
    if (await holdsRecords(disk, directory)) logger.error("a partition's directory is left alone", fields);
    else logger.warn("a crash came before a partition was created", fields);
    return null;
  }
  const identity = { topic, partition, topicId: topicId.value, directory };
  // A log that it cannot be applied to is no reason to lose what it holds: the start fails, and nothing is cleared.
  const replayedBytes = await options.replay.apply({ ...identity, names, recoveryPoint });
  const config = options.configOf(topic, topicId.value);
  const offline = (kind: LogFailure["kind"], message: string): LoadedPartition => {
    logger.error("a log is offline: nothing was cut", { topic, partition, reason: message });
    // Its offsets stay in the checkpoints as they are.
    const kept = emptyLog(directory, { recoveryPoint, logStartOffset: logStartOffset ?? firstOffset(names) });
    const log = new PartitionLog(environment, identity, config, kept);
    log.fail({ kind, message });
    return { log, ...nothingRead };
  };
  try {
    const loaded = await loadLog({
      disk,
      openSegments,
      jointSync,
      directory,
      names,
      config,
      cleanedOffset: options.cleanedOffset,
      isClean,
      unsyncedBytesMax,
      recoveryPoint,
      savedHighWatermark: options.savedHighWatermark,
      logStartOffset,
    });
    if (!loaded.ok) return offline("corrupt", loaded.message ?? loaded.failure);
    const { scannedBytes, cutBytes } = loaded.value;
    if (cutBytes > 0) logger.warn("a torn tail was cut", { directory, bytes: cutBytes });
    return {
      log: new PartitionLog(environment, identity, config, loaded.value),
      replayedBytes,
      scannedBytes,
      cutBytes,
    };
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    return offline("disk-failed", error.message);
  }
}

function firstOffset(names: readonly DirectoryEntry[]): Offset {
  let first = Number.POSITIVE_INFINITY;
  for (const { name } of names) {
    const parsed = parseSegmentFileName(name);
    if (parsed?.suffix === ".log") first = Math.min(first, parsed.baseOffset);
  }
  return (first === Number.POSITIVE_INFINITY ? 0 : first) as Offset;
}
