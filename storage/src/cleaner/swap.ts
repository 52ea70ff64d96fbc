import type { DirectoryEntry, Disk } from "@millrace/base/world";
import { scanBatches } from "../batch-scan.ts";
import { CLEANED_SUFFIX, parseSegmentFileName, segmentFileName, SWAP_SUFFIX } from "../file-names.ts";
import type { LogEnvironment } from "../log-environment.ts";
import { Segment } from "../segment.ts";
import type { MaxTimestamp } from "../segment.ts";
import type { Segments } from "../segments.ts";
import type { Offset } from "../types.ts";

/** What was made of a run of segments: its files are whole and synced, and their names end in `.cleaned`. */
export interface CleanedSegment {
  readonly baseOffset: Offset;
  readonly sizeBytes: number;
  readonly maxTimestamp: MaxTimestamp | null;
}

const indexSuffixes = [".index", ".timeindex", ".txnindex"] as const;
const fileSuffixes = [".log", ...indexSuffixes] as const;

/**
 * Puts a cleaned segment into the place of those that it was made of. A crash leaves one of these, each durable before the next
 * begins:
 *
 *     X.log.cleaned                     it goes: nothing has happened
 *     X.log.swap                        it counts, whatever lies beside it: a start finishes what follows (`finishSwaps`)
 *     X.log.swap, no Y.log, Z.log       the others of the run are gone
 *     X.log                             done
 *
 * Readers that have a lease on an old segment read on in its file, which has no name any more.
 */
export async function swapSegments(
  environment: LogEnvironment,
  directory: string,
  segments: Segments,
  { run, cleaned }: { readonly run: readonly Segment[]; readonly cleaned: CleanedSegment },
): Promise<void> {
  const { disk, openSegments } = environment;
  const { baseOffset } = cleaned;
  const held: Segment[] = [];
  try {
    // From here on nobody opens one of them by its name, which will be another's; nor its index of aborted transactions,
    // which speaks of records that a reader may have been given already.
    for (const segment of run) {
      await openSegments.use(segment);
      held.push(segment);
      await segment.loadAborted(disk);
    }
    const log = `${directory}/${segmentFileName(baseOffset, ".log")}`;
    // Who finds the swap must find its indexes too.
    await disk.syncDirectory(directory);
    await disk.rename(`${log}${CLEANED_SUFFIX}`, `${log}${SWAP_SUFFIX}`);
    await disk.syncDirectory(directory);
    await removeFiles(
      disk,
      directory,
      run.slice(1).map((segment) => segment.baseOffset),
    );
    await renameIndexes(disk, directory, baseOffset);
    await disk.syncDirectory(directory);
    await disk.rename(`${log}${SWAP_SUFFIX}`, log);
    const replacement = new Segment(directory, baseOffset, { sizeBytes: cleaned.sizeBytes, isNew: false });
    replacement.maxTimestamp = cleaned.maxTimestamp;
    segments.replace(run, replacement);
    environment.wipeJournalSoon();
    await disk.syncDirectory(directory);
    for (const segment of run) environment.segmentIsGone(segment);
  } finally {
    for (const segment of held) {
      openSegments.closeSoon(segment);
      segment.release();
    }
  }
}

/** Of a run that is not swapped: the log was cut, or is being closed. */
export async function discardCleaned(disk: Disk, directory: string, baseOffset: Offset): Promise<void> {
  for (const suffix of fileSuffixes)
    await disk.removeFile(`${directory}/${segmentFileName(baseOffset, suffix)}${CLEANED_SUFFIX}`);
}

/** At a start: finishes the swap that a crash came into, and removes what was not to be swapped yet. True where it changed anything. */
export async function finishSwaps(disk: Disk, directory: string, names: readonly DirectoryEntry[]): Promise<boolean> {
  let isChanged = false;
  for (const { name } of names) {
    if (!name.endsWith(SWAP_SUFFIX)) continue;
    const parsed = parseSegmentFileName(name.slice(0, -SWAP_SUFFIX.length));
    if (parsed?.suffix !== ".log") continue;
    await finishSwap(disk, directory, { baseOffset: parsed.baseOffset, names });
    isChanged = true;
  }
  for (const { name } of names) {
    if (!name.endsWith(CLEANED_SUFFIX)) continue;
    // What belonged to a swap has its own name now.
    await disk.removeFile(`${directory}/${name}`);
    isChanged = true;
  }
  return isChanged;
}

async function finishSwap(
  disk: Disk,
  directory: string,
  { baseOffset, names }: { readonly baseOffset: Offset; readonly names: readonly DirectoryEntry[] },
): Promise<void> {
  const log = `${directory}/${segmentFileName(baseOffset, ".log")}`;
  const endOffset = await endOffsetOf(disk, `${log}${SWAP_SUFFIX}`, baseOffset);
  const others: Offset[] = [];
  for (const { name } of names) {
    const parsed = parseSegmentFileName(name);
    // It holds the last batch of the run: so all that begins before its end was in the run.
    if (parsed?.suffix === ".log" && parsed.baseOffset > baseOffset && parsed.baseOffset < endOffset)
      others.push(parsed.baseOffset);
  }
  await removeFiles(disk, directory, others);
  await renameIndexes(disk, directory, baseOffset);
  await disk.syncDirectory(directory);
  await disk.rename(`${log}${SWAP_SUFFIX}`, log);
  await disk.syncDirectory(directory);
}

async function endOffsetOf(disk: Disk, path: string, baseOffset: Offset): Promise<Offset> {
  const file = await disk.open(path, "read");
  try {
    const to = await file.sizeBytes();
    const scanned = await scanBatches(file, { from: 0, to, nextOffset: baseOffset, isCrcChecked: false, visit() {} });
    return scanned.nextOffset;
  } finally {
    await file.close();
  }
}

/** The last one first, so that a crash leaves no hole. Snapshots of producers stay: they are of the log, not of a segment. */
async function removeFiles(disk: Disk, directory: string, bases: readonly Offset[]): Promise<void> {
  for (const base of bases.toSorted((a, b) => b - a)) {
    for (const suffix of fileSuffixes) await disk.removeFile(`${directory}/${segmentFileName(base, suffix)}`);
  }
}

async function renameIndexes(disk: Disk, directory: string, baseOffset: Offset): Promise<void> {
  for (const suffix of indexSuffixes) {
    const path = `${directory}/${segmentFileName(baseOffset, suffix)}`;
    if ((await disk.stat(`${path}${CLEANED_SUFFIX}`)) !== null) await disk.rename(`${path}${CLEANED_SUFFIX}`, path);
  }
}
