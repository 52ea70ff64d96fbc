import type { TimeMs } from "@millrace/base/units";
import type { LogEnvironment } from "./log-environment.ts";
import { isDeleted } from "./log-config.ts";
import type { LogConfig } from "./log-config.ts";
import type { Segments } from "./segments.ts";
import { maxTimestampOf } from "./time-lookup.ts";
import { NO_TIMESTAMP } from "./types.ts";
import type { Offset } from "./types.ts";

export interface RetentionRules {
  readonly config: LogConfig;
  readonly nowMs: TimeMs;
  /** What is not replicated yet stays. */
  readonly highWatermark: Offset;
}

/**
 * How many segments from the oldest on may go: those that are too old, and those without which the log still has
 * `retention.bytes`. The active one is among them only when it is too old itself and holds something.
 */
export async function expiredCount(
  environment: LogEnvironment,
  segments: Segments,
  rules: RetentionRules,
): Promise<number> {
  if (!isDeleted(rules.config)) return 0;
  const removable = removableCount(segments, rules.highWatermark);
  const byTime = await countByTime(environment, segments, rules, removable);
  return Math.max(byTime, countBySize(segments, rules.config["retention.bytes"], removable));
}

/** Segments that lie below the high watermark as a whole. */
function removableCount(segments: Segments, highWatermark: Offset): number {
  let count = 0;
  for (const [index, segment] of segments.all().entries()) {
    const next = segments.at(index + 1);
    const isActive = next === undefined;
    if (isActive ? segment.sizeBytes === 0 : next.baseOffset > highWatermark) break;
    count += 1;
  }
  return count;
}

async function countByTime(
  environment: LogEnvironment,
  segments: Segments,
  { config, nowMs }: RetentionRules,
  removable: number,
): Promise<number> {
  const retentionMs = config["retention.ms"];
  if (retentionMs < 0) return 0;
  for (let index = 0; index < removable; index++) {
    const segment = segments.at(index);
    if (segment === undefined) return index;
    const { timestamp } = await maxTimestampOf(environment, segment);
    // Records without a time are as old as the file in which they lie.
    const time =
      timestamp === NO_TIMESTAMP
        ? ((await environment.disk.stat(segment.path(".log")))?.modifiedMs ?? nowMs)
        : timestamp;
    if (nowMs - Number(time) <= retentionMs) return index;
  }
  return removable;
}

function countBySize(segments: Segments, retentionBytes: number, removable: number): number {
  if (retentionBytes < 0) return 0;
  let excessBytes = segments.sizeBytes - retentionBytes;
  // The active segment never goes for its size alone.
  const last = Math.min(removable, segments.count - 1);
  for (let index = 0; index < last; index++) {
    excessBytes -= segments.at(index)?.sizeBytes ?? 0;
    if (excessBytes < 0) return index;
  }
  return last;
}
