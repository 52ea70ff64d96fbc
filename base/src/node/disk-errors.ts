import { DiskError } from "../world.ts";

/** With the name of the file, which the system does not say. */
export function diskError(error: NodeJS.ErrnoException, path: string, operation: string): DiskError {
  return error instanceof DiskError ? error : new DiskError(error.code ?? "EIO", path, operation, error);
}

/** Of a call that gives nothing. */
export function settle(
  path: string,
  operation: string,
  resolve: () => void,
  reject: (error: DiskError) => void,
): (error: NodeJS.ErrnoException | null) => void {
  return (error) => {
    if (error === null) resolve();
    else reject(diskError(error, path, operation));
  };
}
