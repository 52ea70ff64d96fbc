import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/**
 * What `npm run interop:prepare` has put into `.runtime/`, and where. A runtime is either whole (its stamp was written
 * last and names the sources that it was made from) or absent; a test that needs an absent one is skipped and says so.
 */
export type RuntimeName = "java" | "kafka3" | "go" | "python" | "schemas" | "kcat" | "bun" | "deno";
export const runtimeNames: readonly RuntimeName[] = [
  "java",
  "kafka3",
  "go",
  "python",
  "schemas",
  "kcat",
  "bun",
  "deno",
];

export const interopDirectory: string = dirname(fileURLToPath(import.meta.url));
export const repositoryRoot: string = join(interopDirectory, "..", "..");
export const runtimeDirectory: string = join(interopDirectory, ".runtime");

export const paths = {
  javaLibraries: join(runtimeDirectory, "java", "lib"),
  javaClasses: join(runtimeDirectory, "java", "classes"),
  kafka3Libraries: join(runtimeDirectory, "kafka3", "lib"),
  goProgram: join(runtimeDirectory, "go", "franz-go-client"),
  pythonPackages: join(runtimeDirectory, "python"),
  schemaPackages: join(runtimeDirectory, "schemas"),
  bun: join(runtimeDirectory, "bun", "node_modules", ".bin", "bun"),
  deno: join(runtimeDirectory, "deno", "node_modules", ".bin", "deno"),
} as const;

/** What each runtime is made from, relative to this directory: a change here asks for a new preparation. */
export const sourcesOf: Readonly<Record<RuntimeName, readonly string[]>> = {
  java: ["java/pom.xml", "java/src"],
  kafka3: ["kafka3/pom.xml"],
  go: ["franz-go"],
  python: ["python/requirements.txt"],
  schemas: ["schemas/requirements.txt"],
  kcat: [],
  bun: ["other-runtimes/bun"],
  deno: ["other-runtimes/deno"],
};

/** Null when the runtime can be used; otherwise the reason, for the line that a skipped test prints. */
export function whyMissing(name: RuntimeName): string | null {
  if (name === "kcat") return commandExists("kcat") ? null : `kcat (npm run interop:prepare)`;
  const stamp = stampPath(name);
  if (!existsSync(stamp)) return `${name} (npm run interop:prepare)`;
  return readFileSync(stamp, "utf8") === fingerprint(name)
    ? null
    : `${name}, whose sources changed (npm run interop:prepare)`;
}

export function isPrepared(name: RuntimeName): boolean {
  return whyMissing(name) === null;
}

export function markPrepared(name: RuntimeName): void {
  mkdirSync(dirname(stampPath(name)), { recursive: true });
  writeFileSync(stampPath(name), fingerprint(name));
}

/** The class path with which our Java program and Kafka's own tools and broker run. */
export function javaClassPath(): string {
  return `${paths.javaClasses}:${join(paths.javaLibraries, "*")}`;
}

/** That of the broker of Apache Kafka 3. */
export function kafka3ClassPath(): string {
  return join(paths.kafka3Libraries, "*");
}

export function commandExists(command: string): boolean {
  return (process.env["PATH"] ?? "").split(":").some((directory) => existsSync(join(directory, command)));
}

/** Python 3 as the host has it: `python3` first, since `python` may be anything. */
export function pythonCommand(): string | null {
  const works = (command: string): boolean =>
    spawnSync(command, ["-c", "import sys; sys.exit(0 if sys.version_info >= (3, 9) else 1)"]).status === 0;
  return ["python3", "python"].find(works) ?? null;
}

function stampPath(name: RuntimeName): string {
  return join(runtimeDirectory, name, "prepared");
}

function fingerprint(name: RuntimeName): string {
  const hash = createHash("sha256");
  for (const file of sourcesOf[name].flatMap((path) => filesUnder(join(interopDirectory, path)))) {
    hash.update(file).update("\0").update(readFileSync(file)).update("\0");
  }
  return hash.digest("hex");
}

function filesUnder(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path)
    .toSorted()
    .flatMap((entry) => filesUnder(join(path, entry)));
}
