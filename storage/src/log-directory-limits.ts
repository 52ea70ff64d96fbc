import { days, GiB, KiB, MiB, seconds } from "@millrace/base/units";
import { ZEROED_BYTES_MAX } from "./segment-room.ts";
import type { RoomLimits } from "./segment-room.ts";

/** What a log directory takes at most, and how often it looks. */
export interface LogDirectoryLimits {
  /** `millrace.unsynced.bytes.max`: what may be written and not synced, a partition. */
  readonly unsyncedBytesMax: number;
  /** While so much waits to be written, it is written during a sync. */
  readonly eagerBytes: number;
  /** `millrace.journal.bytes`: of each of the two files of the journal; 0 is none, and segments are synced themselves. */
  readonly journalBytes: number;
  /** Behind a segment that grows fast. */
  readonly room: RoomLimits;
  /** Segments whose files are open at the same time; three files each. */
  readonly openSegmentsMax: number;
  /** Logs that are loaded, or closed, at the same time. */
  readonly loadingMax: number;
  readonly checkpointIntervalMs: number;
  /** A log with fewer new bytes since its last checkpoint waits for the next: recovery reads them in no time. */
  readonly checkpointBytesMin: number;
  readonly retentionIntervalMs: number;
  /** Between two looks whether the high watermark of a log with replicas elsewhere has moved and is to be saved. */
  readonly highWatermarkIntervalMs: number;
  /** Under durability `os`: a sync is asked for after so long at most, or `flush.ms` where that is less. */
  readonly osSyncIntervalMs: number;
  readonly producerExpirationMs: number;
}

export const defaultLogDirectoryLimits: LogDirectoryLimits = {
  unsyncedBytesMax: 16 * MiB,
  eagerBytes: MiB,
  journalBytes: 2 * GiB,
  room: { fromBytes: 16 * KiB, zeroedBytes: ZEROED_BYTES_MAX, reservedBytes: 32 * MiB, spareBytes: 2 * GiB },
  openSegmentsMax: 4096,
  loadingMax: 16,
  checkpointIntervalMs: seconds(60),
  checkpointBytesMin: MiB,
  retentionIntervalMs: seconds(300),
  highWatermarkIntervalMs: seconds(5),
  osSyncIntervalMs: seconds(1),
  producerExpirationMs: days(1),
};

/** Logs whose checkpoints share a sync. */
const SYNCED_TOGETHER_MAX = 64;
/** Logs whose creations do, with their files open until then. */
const CREATED_TOGETHER_MAX = 256;

/**
 * Segments that are open and cannot be closed, so that a quarter is left for readers at least: two groups and what is dirty beside
 * them; with a journal its four groups, what is dirty, and what relies on each of its two files.
 */
export function segmentBounds({ openSegmentsMax, journalBytes }: LogDirectoryLimits): {
  readonly ofGroup: number;
  readonly ofJournalFile: number;
  /** Logs whose files are open at the same time, beside those segments: where few may be, these are few as well. */
  readonly createdTogether: number;
  readonly syncedTogether: number;
} {
  const ofGroup = Math.max(1, Math.floor(openSegmentsMax / (journalBytes === 0 ? 4 : 24)));
  const quarter = Math.max(1, Math.floor(openSegmentsMax / 4));
  return {
    ofGroup,
    ofJournalFile: quarter,
    createdTogether: Math.min(CREATED_TOGETHER_MAX, quarter),
    syncedTogether: Math.min(SYNCED_TOGETHER_MAX, quarter),
  };
}
