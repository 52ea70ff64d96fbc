import type { Offset } from "./types.ts";

/*
 * Names inside a log directory and a partition's directory: Kafka's, so that its tools find their way.
 */

export const segmentSuffixes = [".log", ".index", ".timeindex", ".txnindex", ".snapshot"] as const;
export type SegmentSuffix = (typeof segmentSuffixes)[number];

/** A file on its way out: renamed at once, removed after `file.delete.delay.ms`. */
export const DELETED_SUFFIX = ".deleted";
/** What compaction is writing; and, of a `.log`, what is to take the place of those it was made of. */
export const CLEANED_SUFFIX = ".cleaned";
export const SWAP_SUFFIX = ".swap";

const OFFSET_DIGITS = 20;

/** `00000000000000000042.log`: the first offset, padded so that names sort as offsets do. */
export function segmentFileName(baseOffset: Offset, suffix: SegmentSuffix): string {
  return `${String(baseOffset).padStart(OFFSET_DIGITS, "0")}${suffix}`;
}

export interface SegmentFileName {
  readonly baseOffset: Offset;
  readonly suffix: SegmentSuffix;
}

/** Null for every other file; an offset beyond 2^53 is no offset. */
export function parseSegmentFileName(name: string): SegmentFileName | null {
  const found = /^(\d{20})(\.[a-z]+)$/.exec(name);
  if (found === null) return null;
  const baseOffset = Number(found[1]);
  const suffix = segmentSuffixes.find((each) => each === found[2]);
  if (suffix === undefined || !Number.isSafeInteger(baseOffset)) return null;
  return { baseOffset: baseOffset as Offset, suffix };
}

export interface PartitionDirectoryName {
  readonly topic: string;
  readonly partition: number;
  /** Where the directory is not the partition's own: waiting for removal, moving between log directories, or left behind. */
  readonly state: "live" | "delete" | "future" | "stray";
}

/** `orders-0`, or `orders-0.3f…-delete`: the uuid keeps a topic deleted twice apart. */
export function parsePartitionDirectoryName(name: string): PartitionDirectoryName | null {
  const marked = /^(.+)-(\d+)\.[0-9a-f]{32}-(delete|future|stray)$/.exec(name);
  if (marked !== null) {
    return { topic: marked[1] ?? "", partition: Number(marked[2]), state: marked[3] as "delete" | "future" | "stray" };
  }
  const plain = /^([a-zA-Z0-9._-]+)-(0|[1-9]\d*)$/.exec(name);
  return plain === null ? null : { topic: plain[1] ?? "", partition: Number(plain[2]), state: "live" };
}

export function partitionDirectoryName(topic: string, partition: number): string {
  return `${topic}-${partition}`;
}

/** A directory name has at most 255 bytes: a long topic's name is cut, since nobody reads it back. */
export function deletedDirectoryName(topic: string, partition: number, unique: string): string {
  const suffix = `-${partition}.${unique}-delete`;
  return `${topic.slice(0, 255 - suffix.length)}${suffix}`;
}

export const fileNames = {
  partitionMetadata: "partition.metadata",
  leaderEpochs: "leader-epoch-checkpoint",
  metaProperties: "meta.properties",
  format: "millrace.format",
  lock: ".lock",
  cleanShutdown: ".kafka_cleanshutdown",
  recoveryPoints: "recovery-point-offset-checkpoint",
  highWatermarks: "replication-offset-checkpoint",
  logStartOffsets: "log-start-offset-checkpoint",
  cleanerOffsets: "cleaner-offset-checkpoint",
  cleanerStates: "millrace.cleaner",
  journals: ["millrace.journal.0", "millrace.journal.1"],
  /** The broker's own metadata log lies in the same directory. */
  metadataDirectory: "metadata",
} as const;
