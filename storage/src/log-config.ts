import { days, GiB, MiB } from "@millrace/base/units";

/** What a log needs of a topic's settings, by Kafka's names. The table of all settings, with their bounds, is the broker's. */
export interface LogConfig {
  readonly "segment.bytes": number;
  readonly "segment.ms": number;
  readonly "segment.jitter.ms": number;
  readonly "segment.index.bytes": number;
  readonly "index.interval.bytes": number;
  /** Whether the disk's blocks are set aside for a segment when it begins. */
  readonly preallocate: boolean;
  /** −1 keeps all. */
  readonly "retention.ms": number;
  /** −1 keeps all. */
  readonly "retention.bytes": number;
  /** These two matter only where durability is `os`. */
  readonly "flush.messages": number;
  readonly "flush.ms": number;
  readonly "file.delete.delay.ms": number;
  /** Empty keeps everything. */
  readonly "cleanup.policy": readonly string[];
  readonly "min.cleanable.dirty.ratio": number;
  readonly "min.compaction.lag.ms": number;
  readonly "max.compaction.lag.ms": number;
  readonly "delete.retention.ms": number;
  /** A new value asks for one compaction of all that is there. */
  readonly "millrace.compact.request": number;
  readonly "message.timestamp.type": "CreateTime" | "LogAppendTime";
  /** fsync: a batch counts when it is synced. os: when the operating system has it. */
  readonly "millrace.durability": "fsync" | "os";
}

export const defaultLogConfig: LogConfig = {
  "segment.bytes": GiB,
  "segment.ms": days(7),
  "segment.jitter.ms": 0,
  "segment.index.bytes": 10 * MiB,
  "index.interval.bytes": 4096,
  preallocate: false,
  "retention.ms": days(7),
  "retention.bytes": -1,
  "flush.messages": Number.MAX_SAFE_INTEGER,
  "flush.ms": Number.MAX_SAFE_INTEGER,
  "file.delete.delay.ms": 60_000,
  "cleanup.policy": ["delete"],
  "min.cleanable.dirty.ratio": 0.5,
  "min.compaction.lag.ms": 0,
  "max.compaction.lag.ms": Number.MAX_SAFE_INTEGER,
  "delete.retention.ms": days(1),
  "millrace.compact.request": 0,
  "message.timestamp.type": "CreateTime",
  "millrace.durability": "fsync",
};

export function isCompacted(config: LogConfig): boolean {
  return config["cleanup.policy"].includes("compact");
}

/** Only then does retention by time or size remove anything. */
export function isDeleted(config: LogConfig): boolean {
  return config["cleanup.policy"].includes("delete");
}
