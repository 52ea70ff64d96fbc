import { DELETED_SUFFIX, segmentSuffixes } from "./file-names.ts";
import type { LogEnvironment } from "./log-environment.ts";
import type { Segment } from "./segment.ts";

/**
 * Renames the files of closed segments and removes them after a delay: a reader that has a lease reads on to its end.
 * `takeOut` takes them out of the catalogue when the new names are durable, and not before: whoever looks at the directory
 * after a crash finds them gone, or finds a start of the log that is past them.
 */
export async function discardSegments(
  environment: LogEnvironment,
  {
    directory,
    segments,
    delayMs,
  }: { readonly directory: string; readonly segments: readonly Segment[]; readonly delayMs: number },
  takeOut: () => void,
): Promise<void> {
  const { disk, openSegments, trash } = environment;
  const renamed: string[] = [];
  for (const segment of segments) {
    // A reader that was given a part of it may ask for it still.
    await segment.loadAborted(disk);
    const closed = openSegments.close(segment);
    const names: string[] = [];
    for (const suffix of segmentSuffixes) {
      const path = segment.path(suffix);
      if ((await disk.stat(path)) === null) continue;
      await disk.rename(path, `${path}${DELETED_SUFFIX}`);
      names.push(`${path}${DELETED_SUFFIX}`);
    }
    renamed.push(...names);
    trash.addFiles(names, delayMs, closed);
  }
  if (renamed.length > 0) await disk.syncDirectory(directory);
  for (const segment of segments) environment.segmentIsGone(segment);
  takeOut();
}

/** Removes the files of segments at once: what is cut off was never promised to anyone. */
export async function removeSegments(
  environment: Pick<LogEnvironment, "disk" | "openSegments">,
  segments: readonly Segment[],
): Promise<void> {
  const { disk, openSegments } = environment;
  // From the last one on, so that a crash leaves no hole.
  for (const segment of segments.toReversed()) {
    // A reader may hold it for as long as its peer is slow: it is closed after that, without its name.
    openSegments.closeSoon(segment);
    for (const suffix of [".log", ".index", ".timeindex", ".txnindex"] as const)
      await disk.removeFile(segment.path(suffix));
  }
}
