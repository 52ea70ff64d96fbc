import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import { DiskError } from "@millrace/base/world";
import type { Disk } from "@millrace/base/world";

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EISDIR: "it is a directory",
  ENOTDIR: "a part of the path is not a directory",
  EACCES: "this user may not read it",
};

/** The text of a small file; the failure names the file and the reason in words. */
export async function readText(disk: Disk, path: string): Promise<Result<string, "unreadable">> {
  try {
    return ok((await disk.readFile(path)).toString());
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    return failed("unreadable", `${path} cannot be read: ${reasons[error.code] ?? error.code}`);
  }
}
