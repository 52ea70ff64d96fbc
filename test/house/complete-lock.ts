import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { completed, missingPlatformPackages, type LockFile } from "./lock-file.ts";
import { readJson, repositoryRoot } from "./repository.ts";

/** `node test/house/complete-lock.ts`, after an `npm install` that changed a version: see `missingPlatformPackages`. */
const lock = readJson<LockFile>("package-lock.json");
const missing = missingPlatformPackages(lock);
if (missing.length > 0) {
  writeFileSync(join(repositoryRoot, "package-lock.json"), `${JSON.stringify(completed(lock), null, 2)}\n`);
}
console.log(`package-lock.json: ${missing.length} packages of other platforms added`);
