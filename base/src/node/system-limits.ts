import { readFileSync } from "node:fs";
import { totalmem } from "node:os";

/** A tenth of the memory: what Linux takes when nothing is set (vm.dirty_background_ratio). */
export function dirtyBytesMax(): number {
  const constrainedBytes = process.constrainedMemory();
  return Math.floor(Math.min(totalmem(), constrainedBytes > 0 ? constrainedBytes : Infinity) / 10);
}

/** The soft limit (RLIMIT_NOFILE), which the platform has raised to the hard one when it started. */
export function openFilesMax(): number {
  try {
    const [, soft] = /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync("/proc/self/limits", "utf8")) ?? [];
    return soft === undefined || soft === "unlimited" ? Infinity : Number(soft);
  } catch {
    // Not on this system.
    return Infinity;
  }
}
