import { MalformedMessage } from "kafka-protocol-ts/malformed";
import type { Disk } from "@millrace/base/world";
import { scanBatches } from "./batch-scan.ts";
import type { ScanFault } from "./batch-scan.ts";
import { parseSegmentFileName, segmentFileName } from "./file-names.ts";
import { positionAtOrBefore } from "./index-lookup.ts";
import type { OpenSegments } from "./open-segments.ts";
import { decodeSnapshot } from "./producer-snapshot.ts";
import { ProducerStates } from "./producer-state.ts";
import type { Segments } from "./segments.ts";
import { encodeAborted, readAborted } from "./transaction-index.ts";
import type { AbortedTransaction } from "./transaction-index.ts";
import type { FilePosition, Offset } from "./types.ts";

export interface ProducerLoading {
  readonly disk: Disk;
  readonly openSegments: OpenSegments;
  readonly directory: string;
  readonly segments: Segments;
  /** Exclusive: the state as it is before this offset. */
  readonly upTo: Offset;
  /** After a clean stop a log without any snapshot never had a producer: nobody has to look. */
  readonly isSnapshotRequired: boolean;
}

export interface LoadedProducers {
  readonly producers: ProducerStates;
  /** Of the snapshot that was built on; null without one. */
  readonly snapshotOffset: Offset | null;
  /** What stopped the replay, if anything did. */
  readonly fault: {
    readonly path: string;
    readonly position: FilePosition;
    readonly nextOffset: Offset;
    readonly why: ScanFault;
  } | null;
}

function encoded(aborted: readonly AbortedTransaction[]): Buffer {
  return Buffer.concat(aborted.map(encodeAborted));
}

/** The producers' state at an offset: the newest snapshot that is not beyond it, and the headers of all batches after that. */
export async function loadProducers(loading: ProducerLoading): Promise<LoadedProducers> {
  const { segments, upTo } = loading;
  const newest = await newestSnapshot(loading);
  const { producers } = newest;
  const from = newest.offset ?? segments.first.baseOffset;
  const isSkipped = newest.offset === null && !loading.isSnapshotRequired;
  const first = segments.indexOf(from);
  for (const [index, segment] of segments.all().entries()) {
    if (index < first || segment.baseOffset >= upTo || segment.sizeBytes === 0) continue;
    const isActive = segment === segments.active;
    if (isSkipped || from >= upTo) {
      if (isActive) segment.aborted = await readAborted(loading.disk, segment.path(".txnindex"));
      continue;
    }
    const abortedBefore = await readAborted(loading.disk, segment.path(".txnindex"));
    // A loss of power leaves zeros where a file had its length and not yet its bytes: they read as entries of offset 0.
    const aborted = abortedBefore.filter(
      ({ firstOffset, lastOffset }) =>
        firstOffset < lastOffset && lastOffset >= segment.baseOffset && lastOffset < from,
    );
    await loading.openSegments.use(segment);
    try {
      const start = positionAtOrBefore(segment, (from - 1) as Offset);
      const end = await scanBatches(segment.log, {
        from: start,
        to: segment.sizeBytes,
        nextOffset: segment.baseOffset,
        isCrcChecked: false,
        visit(batch) {
          if (batch.baseOffset >= upTo) return false;
          if (batch.baseOffset < from || batch.producerId < 0) return true;
          const completed = producers.replay(batch, batch.baseOffset as Offset);
          if (completed?.isAborted === true) {
            aborted.push({ ...completed, lastStableOffset: producers.lastStableOffsetAfter(completed) });
          }
          return true;
        },
      });
      if (end.fault !== null) {
        const fault = {
          path: segment.path(".log"),
          position: end.position,
          nextOffset: end.nextOffset,
          why: end.fault,
        };
        return { producers, snapshotOffset: newest.offset, fault };
      }
    } catch (error) {
      if (!(error instanceof MalformedMessage)) throw error;
      const why = {
        path: segment.path(".log"),
        position: 0 as FilePosition,
        nextOffset: segment.baseOffset,
        why: "bad-crc" as const,
      };
      return { producers, snapshotOffset: newest.offset, fault: why };
    } finally {
      segment.release();
    }
    segment.aborted = aborted.filter(({ lastOffset }) => lastOffset < upTo);
    segment.isAbortedUnsaved = !encoded(segment.aborted).equals(encoded(abortedBefore));
  }
  producers.forgetDecidedBelow(upTo);
  return { producers, snapshotOffset: newest.offset, fault: null };
}

/** The newest one that can be read; those that cannot, and those beyond the log's end, are removed. */
async function newestSnapshot(
  loading: ProducerLoading,
): Promise<{ readonly offset: Offset | null; readonly producers: ProducerStates }> {
  const { disk, directory, upTo } = loading;
  const offsets: Offset[] = [];
  for (const { name } of await disk.list(directory)) {
    const parsed = parseSegmentFileName(name);
    if (parsed?.suffix === ".snapshot") offsets.push(parsed.baseOffset);
  }
  offsets.sort((a, b) => b - a);
  let found: { readonly offset: Offset | null; readonly producers: ProducerStates } | null = null;
  let isRemoved = false;
  for (const offset of offsets) {
    const path = `${directory}/${segmentFileName(offset, ".snapshot")}`;
    const producers = new ProducerStates();
    if (offset <= upTo && decodeSnapshot(await disk.readFile(path), producers).ok) {
      found = { offset, producers };
      break;
    }
    await disk.removeFile(path);
    isRemoved = true;
  }
  // One that came back after a crash would speak of records that were cut, as soon as the log is as long again.
  if (isRemoved) await disk.syncDirectory(directory);
  return found ?? { offset: null, producers: new ProducerStates() };
}
