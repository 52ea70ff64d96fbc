import type { Disk } from "./world.ts";

/**
 * Replaces a file so that after a crash at any moment either the old content or the new one is there, whole.
 *
 *     write path.tmp · sync it · rename it to path · sync the directory
 *
 * When it resolves, the new content is durable. One caller a path at a time.
 */
export async function replaceFile(disk: Disk, path: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${path}.tmp`;
  const file = await disk.open(temporary, "create");
  try {
    await file.truncate(0); // A crash may have left one.
    await file.write([bytes], 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await disk.rename(temporary, path);
  await disk.syncDirectory(directoryOf(path));
}

/** Makes a directory whose name is durable, and those above it that were missing: what is synced in it would be lost with a name. */
export async function makeDirectoryDurably(disk: Disk, path: string): Promise<void> {
  const made: string[] = [];
  for (let at = path; (await disk.stat(at)) === null && directoryOf(at) !== at; at = directoryOf(at)) made.push(at);
  await disk.makeDirectory(path);
  for (const each of made) await disk.syncDirectory(directoryOf(each));
}

/** `a/b` of `a/b/c`; `.` of `c`. */
export function directoryOf(path: string): string {
  const slash = path.lastIndexOf("/");
  if (slash === -1) return ".";
  return slash === 0 ? "/" : path.slice(0, slash);
}
