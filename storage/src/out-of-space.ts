import { DiskError } from "@millrace/base/world";

/** The disk takes no more: other than every other failure, this one passes. */
export function isOutOfSpace(error: unknown): boolean {
  return error instanceof DiskError && (error.code === "ENOSPC" || error.code === "EDQUOT");
}

const codesOfDevice: ReadonlySet<string> = new Set(["EIO", "EROFS", "ENODEV", "ENXIO", "ESTALE", "EUCLEAN"]);

/** The device, or its file system, works no more; any other failure may be one of a single file, or of the process. */
export function isDiskGone(error: unknown): boolean {
  return error instanceof DiskError && codesOfDevice.has(error.code);
}
