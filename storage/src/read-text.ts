import type { Disk } from "@millrace/base/world";

/** Null where there is no such file. */
export async function readText(disk: Disk, path: string): Promise<string | null> {
  return (await disk.stat(path)) === null ? null : (await disk.readFile(path)).toString();
}
