const reasons: ReadonlyMap<string, string> = new Map([
  ["ENOENT", "there is no such file or directory"],
  ["EEXIST", "something else has that name"],
  ["EISDIR", "it is a directory"],
  ["ENOTDIR", "a part of the path is not a directory"],
  ["EACCES", "this user may not do that"],
  ["EPERM", "this user may not do that"],
  ["EROFS", "the file system is read-only"],
  ["ENOSPC", "the disk is full"],
  ["EDQUOT", "the quota of this user is used up"],
  ["EMFILE", "this process has too many open files"],
  ["ENAMETOOLONG", "the name is too long"],
  ["ELOOP", "its links lead in a circle"],
]);

/** The code of the operating system in words; null where the code says it best. */
export function diskReason(code: string): string | null {
  return reasons.get(code) ?? null;
}
