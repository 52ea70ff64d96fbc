import { HeaderWalk } from "./header-walk.ts";
import type { LogEnvironment } from "./log-environment.ts";
import { OFFSET_ENTRY_BYTES } from "./offset-index.ts";
import { removeSegments } from "./segment-removal.ts";
import { readTail } from "./segment-tail.ts";
import { Segment } from "./segment.ts";
import type { Segments } from "./segments.ts";
import { TIME_ENTRY_BYTES } from "./time-index.ts";
import type { Offset } from "./types.ts";

/**
 * Cuts segments and their indexes, so that the last batch ends at `offset` or before it. Durable when it resolves. Gives
 * where the log ends now. Nothing is written meanwhile.
 */
export async function cutSegments(
  environment: LogEnvironment,
  directory: string,
  segments: Segments,
  offset: Offset,
): Promise<Offset> {
  const { disk, openSegments } = environment;
  if (offset < segments.first.baseOffset) return restartSegments(environment, directory, segments, offset);
  const later = segments.takeFrom(segments.indexOf(offset) + 1);
  await removeSegments(environment, later);
  if (later.length > 0) await disk.syncDirectory(directory);
  const { active } = segments;
  if (active.isNew) return active.baseOffset;
  await openSegments.use(active);
  try {
    return await cutSegment(environment, active, offset);
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
): Promise<Offset> {
  await removeSegments(environment, segments.takeFrom(0));
  const segment = new Segment(directory, offset, { sizeBytes: 0, isNew: true });
  segment.aborted = [];
  segments.add(segment);
  await environment.openSegments.use(segment);
  segment.release();
  await environment.disk.syncDirectory(directory);
  return offset;
}

async function cutSegment({ disk }: LogEnvironment, segment: Segment, offset: Offset): Promise<Offset> {
  const walk = new HeaderWalk(
    segment.log,
    segment.offsets.positionAtOrBefore((offset - 1) as Offset),
    segment.sizeBytes,
  );
  let { position } = walk;
  let endOffset = segment.baseOffset;
  while (walk.next() && walk.nextOffset <= offset) {
    position = walk.nextPosition;
    endOffset = walk.nextOffset;
  }
  await segment.log.truncate(position);
  segment.sizeBytes = position;
  segment.offsets.truncateTo(position);
  segment.times.truncateTo(endOffset);
  segment.maxTimestamp = null;
  readTail(segment);
  segment.flushIndexes();
  const [indexFile, timeIndexFile] = segment.indexFiles();
  await indexFile?.truncate(segment.offsets.entries.count * OFFSET_ENTRY_BYTES);
  await timeIndexFile?.truncate(segment.times.entries.count * TIME_ENTRY_BYTES);
  await disk.syncFiles([segment.log, ...segment.indexFiles()]);
  const aborted = segment.aborted?.filter(({ lastOffset }) => lastOffset < endOffset) ?? null;
  if (aborted?.length !== segment.aborted?.length) await disk.removeFile(segment.path(".txnindex"));
  segment.aborted = aborted;
  return endOffset;
}
