import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

export const repositoryRoot: string = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

/** What `.gitignore` names: built, installed, downloaded or written by a running broker. */
const ignoredDirectories: ReadonlySet<string> = new Set([".git", "node_modules", "dist", ".runtime"]);
const ignoredAtTop: ReadonlySet<string> = new Set(["data"]);
const ignoredEndings: readonly string[] = [".log", ".cpuprofile"];

/** Every file of ours, as `/`-separated paths from the top of the repository, sorted. */
export function repositoryFiles(under = ""): string[] {
  return listFiles(join(repositoryRoot, under)).toSorted();
}

function listFiles(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) {
      const isIgnored =
        ignoredDirectories.has(entry.name) || (directory === repositoryRoot && ignoredAtTop.has(entry.name));
      return isIgnored ? [] : listFiles(path);
    }
    // In a second working tree `.git` is a file.
    const isIgnored =
      !entry.isFile() || entry.name === ".git" || ignoredEndings.some((ending) => entry.name.endsWith(ending));
    return isIgnored ? [] : [relative(repositoryRoot, path)];
  });
}

export function readText(file: string): string {
  return readFileSync(join(repositoryRoot, file), "utf8");
}

/** What people write and read: not captured bytes, not archives, not what somebody's program left lying about. */
export function isText(file: string): boolean {
  return (
    !/\.(?:bin|gz|hex|jar|lz4|png|snappy|zst)$/.test(file) && statSync(join(repositoryRoot, file)).size < 1024 ** 2
  );
}

export function readJson<T>(file: string): T {
  return JSON.parse(readText(file)) as T;
}

/** A test's file, or what only tests use. */
export function isTestFile(file: string): boolean {
  return file.endsWith(".test.ts") || /(^|\/)(test|testdata)\//.test(file);
}
