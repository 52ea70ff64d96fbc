import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { join } from "node:path";

/** Within node_modules, so that what the clients are imported by is found from there. */
const compiledRoot = join(import.meta.dirname, "../../node_modules/.cache/millrace-bench-client");

/**
 * The program of one client in JavaScript, beside our client as it is published. The platform's own way with types would
 * otherwise be a part of each client's process: its memory counts towards the limit at which V8 collects its whole heap, and a
 * client that reads fast is measured by how often that comes.
 */
export class CompiledWorker implements Disposable {
  readonly path: string;
  readonly #directory: string = join(compiledRoot, `${process.pid}`);

  /** @throws Error where our packages do not compile. */
  constructor() {
    const built = spawnSync("tsc", ["-b", "base", "protocol", "client"], {
      cwd: join(import.meta.dirname, "../.."),
      stdio: ["ignore", "inherit", "inherit"],
    });
    if (built.status !== 0) throw new Error("our client does not compile");
    mkdirSync(this.#directory, { recursive: true });
    for (const name of readdirSync(import.meta.dirname)) {
      if (!name.endsWith(".ts")) continue;
      const source = readFileSync(join(import.meta.dirname, name), "utf8");
      const compiled = stripTypeScriptTypes(source).replaceAll(/(from|import\() ?"(\.\/[\w-]+)\.ts"/g, '$1 "$2.js"');
      writeFileSync(join(this.#directory, name.replace(/\.ts$/, ".js")), compiled);
    }
    this.path = join(this.#directory, "worker.js");
  }

  [Symbol.dispose](): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
