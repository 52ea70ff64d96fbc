import type { Disk } from "@millrace/base/world";
import { HeaderWalk } from "./header-walk.ts";
import { positionAtOrBefore } from "./index-lookup.ts";
import type { LogEnvironment } from "./log-environment.ts";
import { OFFSET_ENTRY_BYTES } from "./offset-index.ts";
import { removeSegments } from "./segment-removal.ts";
import { readTail } from "./segment-tail.ts";
import { Segment } from "./segment.ts";
import type { Segments } from "./segments.ts";
import { TIME_ENTRY_BYTES } from "./time-index.ts";
import { TRANSACTION_ENTRY_BYTES } from "./transaction-index.ts";
import type { FilePosition, Offset } from "./types.ts";

/** A place between two batches. */
export interface Cut {
  /** Which segment is the last one then; −1 where none of them stays. */
  readonly index: number;
  readonly position: FilePosition;
  /** Where the log ends then. */
  readonly endOffset: Offset;
}

/** Behind the last batch that ends at `offset` or before it. */
export async function findCut({ openSegments }: LogEnvironment, segments: Segments, offset: Offset): Promise<Cut> {
  const nothing = { position: 0 as FilePosition };
  if (offset < segments.first.baseOffset) return { ...nothing, index: -1, endOffset: offset };
  const index = segments.indexOf(offset);
  const segment = segments.at(index) as Segment;
  if (segment.isNew) return { ...nothing, index, endOffset: segment.baseOffset };
  await openSegments.use(segment);
  try {
    const walk = new HeaderWalk(segment.log, positionAtOrBefore(segment, (offset - 1) as Offset), segment.sizeBytes);
    let { position } = walk;
    let endOffset = segment.baseOffset;
    while (walk.next() && walk.nextOffset <= offset) {
      position = walk.nextPosition;
      endOffset = walk.nextOffset;
    }
    return { index, position, endOffset };
  } finally {
    segment.release();
  }
}

/** Cuts segments and their indexes. Durable when it resolves. Nothing is written meanwhile. */
export async function cutSegments(
  environment: LogEnvironment,
  directory: string,
  segments: Segments,
  cut: Cut,
): Promise<void> {
  const { disk, openSegments } = environment;
  if (cut.index < 0) return restartSegments(environment, directory, segments, cut.endOffset);
  const later = segments.takeFrom(cut.index + 1);
  await removeSegments(environment, later);
  if (later.length > 0) await disk.syncDirectory(directory);
  const { active } = segments;
  if (active.isNew) return;
  await openSegments.use(active);
  try {
    await cutSegment(environment, active, cut);
  } finally {
    active.release();
  }
}

/** All of it goes, and the log begins anew with `offset`. */
export async function restartSegments(
  environment: Pick<LogEnvironment, "disk" | "openSegments">,
  directory: string,
  segments: Segments,
  offset: Offset,
): Promise<void> {
  await removeSegments(environment, segments.takeFrom(0));
  const segment = new Segment(directory, offset, { sizeBytes: 0, isNew: true });
  segment.aborted = [];
  segments.add(segment);
  await environment.openSegments.use(segment);
  segment.release();
  await environment.disk.syncDirectory(directory);
}

async function cutSegment({ disk }: LogEnvironment, segment: Segment, { position, endOffset }: Cut): Promise<void> {
  await segment.cutLog(position);
  segment.readEnds = null;
  segment.offsets.truncateTo(position);
  segment.times.truncateTo(endOffset);
  segment.maxTimestamp = null;
  readTail(segment);
  // Entries that wait in memory go on waiting: a log is also cut because the disk has no room for anything.
  const [indexFile, timeIndexFile] = segment.indexFiles();
  await indexFile?.truncate(segment.offsets.entries.writtenCount * OFFSET_ENTRY_BYTES);
  await timeIndexFile?.truncate(segment.times.entries.writtenCount * TIME_ENTRY_BYTES);
  await disk.syncFiles([segment.log, ...segment.indexFiles()]);
  const aborted = segment.aborted?.filter(({ lastOffset }) => lastOffset < endOffset) ?? null;
  if (aborted?.length !== segment.aborted?.length)
    await cutAborted(disk, segment.path(".txnindex"), aborted?.length ?? 0);
  segment.aborted = aborted;
}

/** Not removed: a file that came back after a crash would speak of records that were cut. */
async function cutAborted(disk: Disk, path: string, count: number): Promise<void> {
  if ((await disk.stat(path)) === null) return;
  const file = await disk.open(path, "write");
  try {
    await file.truncate(count * TRANSACTION_ENTRY_BYTES);
    await file.sync();
  } finally {
    await file.close();
  }
}
