import { DiskError } from "@millrace/base/world";

/** The disk takes no more: other than every other failure, this one passes. */
export function isOutOfSpace(error: unknown): boolean {
  return error instanceof DiskError && (error.code === "ENOSPC" || error.code === "EDQUOT");
}
