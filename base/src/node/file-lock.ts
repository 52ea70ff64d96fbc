import type { DatabaseSync } from "node:sqlite";
import { DiskError } from "../world.ts";
import type { DiskLock } from "../world.ts";

/** SQLITE_BUSY: another holder. */
const busy = 5;

/**
 * Locks a file until the process ends, by whatever death. The platform offers no lock of its own, but it contains
 * SQLite, which takes one (fcntl on Unix, LockFileEx on Windows) for an exclusive transaction. No transaction ever
 * writes, so that the file stays empty.
 *
 * Why not a file with a process id: two containers that share a volume do not see each other's processes. The kernel's
 * lock belongs to the file and holds between them.
 */
export async function lockFile(path: string): Promise<DiskLock | null> {
  const database = open(path);
  try {
    database.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
  } catch (error) {
    database.close();
    if ((error as { errcode?: number }).errcode === busy) return null;
    throw new DiskError("EIO", path, "lock", error);
  }
  return {
    async release() {
      if (database.isOpen) database.close();
    },
  };
}

function open(path: string): DatabaseSync {
  try {
    // Loaded here, since a tool that locks nothing has no need of it.
    const { DatabaseSync } = process.getBuiltinModule("node:sqlite");
    return new DatabaseSync(path, { timeout: 0 });
  } catch (error) {
    throw new DiskError("EACCES", path, "open lock file", error);
  }
}
