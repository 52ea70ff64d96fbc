import { spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync, rmdirSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const sizeMebibytes = 64;
const chunkBytes = 64 * 1024;

/** A disk in memory, which one can fill. */
export class SmallDisk implements Disposable {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** Null: this process may not mount. */
  static mount(): SmallDisk | null {
    if (process.platform !== "linux" || process.getuid?.() !== 0) return null;
    const path = mkdtempSync(join(tmpdir(), "small-disk-"));
    const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${sizeMebibytes}m`, "small-disk", path]);
    if (mounted.status === 0) return new SmallDisk(path);
    rmdirSync(path);
    return null;
  }

  /** Down to the last byte. */
  fill(): void {
    const file = openSync(this.#ballast, "w");
    for (let sizeBytes = chunkBytes; sizeBytes >= 1;) {
      try {
        writeSync(file, Buffer.alloc(sizeBytes));
      } catch {
        sizeBytes = sizeBytes === 1 ? 0 : sizeBytes >> 1;
      }
    }
    closeSync(file);
  }

  empty(): void {
    rmSync(this.#ballast);
  }

  [Symbol.dispose](): void {
    spawnSync("umount", ["-l", this.path]);
    rmdirSync(this.path);
  }

  get #ballast(): string {
    return join(this.path, "..ballast");
  }
}
