import type { Logger } from "@millrace/base/logger";
import type { Clock, Disk, Random } from "@millrace/base/world";
import type { BackgroundSync } from "./background-sync.ts";
import type { JointSync } from "./concurrency.ts";
import type { Committer } from "./group-commit.ts";
import type { PartitionLog } from "./log.ts";
import type { OpenSegments } from "./open-segments.ts";
import type { Segment } from "./segment.ts";
import type { Trash } from "./trash.ts";

/** What all logs of one directory share. */
export interface LogEnvironment {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly committer: Committer;
  readonly backgroundSync: BackgroundSync;
  readonly openSegments: OpenSegments;
  readonly trash: Trash;
  readonly jointSync: JointSync;
  /** Makes the log start offsets of all logs durable. */
  persistLogStarts(): Promise<void>;
  /** Makes the recovery points of all logs durable. */
  persistRecoveryPoints(): Promise<void>;
  /** Makes the high watermarks of all logs durable. */
  persistHighWatermarks(): Promise<void>;
  /** Syncs all segments, and leaves nothing in the journal of logs that are at rest: a cut is not to be undone by it. */
  flushJournal(): Promise<void>;
  /** The tail of a log is gone: nothing that is kept about it may speak of what was there. */
  logWasCut(log: PartitionLog): Promise<void>;
  /** The segment's files have lost their names, durably: it is open for readers alone. */
  segmentIsGone(segment: Segment): void;
  /** Bytes were given up for good: before long they are not in the journal either. */
  wipeJournalSoon(): void;
  /** Calls back when writing is worth another try. */
  whenThereIsSpace(callback: () => void): void;
  /** Nothing is known about the disk any more: all logs of the directory go offline (R16). */
  failDirectory(error: unknown): void;
}
