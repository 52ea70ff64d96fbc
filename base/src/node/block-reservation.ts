import fs from "node:fs";
import { DiskError } from "../world.ts";
import { errno } from "./native.ts";
import type { NativeCalls } from "./native.ts";

/** What `blocks` counts, whatever the file system's own blocks are. */
const STAT_BLOCK_BYTES = 512;
const failures = ["ENOSPC", "EDQUOT", "EIO"] as const;

/**
 * Sets blocks aside for a file up to `sizeBytes`, behind its end (FALLOC_FL_KEEP_SIZE). Where they are not to be had, with `spareBytes` left
 * for others, the error is the system's own or a DiskError. Does nothing on a file system that cannot do it.
 */
export async function reserveBlocks(
  { fd, path, calls }: { readonly fd: number; readonly path: string; readonly calls: NativeCalls },
  sizeBytes: number,
  spareBytes: number,
): Promise<void> {
  const stats = await answer<fs.Stats>((done) => fs.fstat(fd, done));
  await checkSpace(path, sizeBytes - stats.blocks * STAT_BLOCK_BYTES + spareBytes);
  const result = await new Promise<number>((resolve) => {
    calls.reserve(fd, sizeBytes, resolve);
  });
  const failure = failures.find((code) => result === -errno[code]);
  // Any other answer says that it cannot be done here, as on a file system that does not know it.
  if (failure === undefined) return;
  throw new DiskError(failure, path, `reserve ${sizeBytes} bytes for`);
}

/** An allocation that fails has taken all that was left of the disk: whoever writes at that moment finds it full. */
async function checkSpace(path: string, wantedBytes: number): Promise<void> {
  // The path may be gone; then the allocation alone tells.
  const space = await answer<fs.StatsFs>((done) => fs.statfs(path, done)).catch(() => null);
  if (space !== null && space.bavail * space.bsize < wantedBytes)
    throw new DiskError("ENOSPC", path, `find ${wantedBytes} bytes for`);
}

function answer<T>(call: (done: (error: NodeJS.ErrnoException | null, value?: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    call((error, value) => {
      if (error === null) resolve(value as T);
      else reject(error);
    });
  });
}
