import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import {
  commandExists,
  interopDirectory,
  isPrepared,
  markPrepared,
  paths,
  pythonCommand,
  runtimeDirectory,
  runtimeNames,
  type RuntimeName,
} from "./runtimes.ts";

/**
 * `npm run interop:prepare`: besides `npm ci` the only step that downloads. It fetches and builds the foreign clients
 * under `.runtime/`, each by the package tool of its own language with that tool's own settings. A runtime that is
 * ready is left alone; one that cannot be made is reported and does not keep the others from being made.
 *
 * `npm run interop:prepare -- java go` prepares these only.
 */
const makers: Readonly<Record<RuntimeName, () => void>> = {
  java,
  kafka3,
  go,
  python,
  schemas,
  kcat,
  bun: () => npmPackage("bun"),
  deno: () => npmPackage("deno"),
};

/** Apache Kafka's broker, clients and tools with all that they need, and our Java program compiled against them. */
function java(): void {
  needCommand("javac", "a JDK, 17 or newer");
  copyJars(join("java", "pom.xml"), paths.javaLibraries);
  freshDirectory(paths.javaClasses);
  const sources = readdirSync(join(interopDirectory, "java", "src")).map((file) =>
    join(interopDirectory, "java", "src", file),
  );
  run("javac", ["-nowarn", "-d", paths.javaClasses, "-cp", join(paths.javaLibraries, "*"), ...sources]);
}

/** The broker of the line before, alone: our client promises to work with it. */
function kafka3(): void {
  needCommand("java", "Java, 17 or newer");
  copyJars(join("kafka3", "pom.xml"), paths.kafka3Libraries);
}

function copyJars(pom: string, directory: string): void {
  needCommand("mvn", "Apache Maven");
  freshDirectory(directory);
  const file = join(interopDirectory, pom);
  run("mvn", ["-q", "-B", "-f", file, "dependency:copy-dependencies", `-DoutputDirectory=${directory}`]);
}

function go(): void {
  needCommand("go", "Go");
  mkdirSync(dirname(paths.goProgram), { recursive: true });
  run("go", ["build", "-mod=readonly", "-o", paths.goProgram, "."], join(interopDirectory, "franz-go"));
}

function python(): void {
  pythonPackages(paths.pythonPackages, join(interopDirectory, "python", "requirements.txt"));
}

/** Confluent's serializers with all that they need: apart, since only one test uses them. */
function schemas(): void {
  pythonPackages(paths.schemaPackages, join(interopDirectory, "schemas", "requirements.txt"));
}

/** Into a directory of their own, so that no virtual environment and nothing of the host's Python is needed. */
function pythonPackages(directory: string, requirements: string): void {
  const command = pythonCommand();
  if (command === null) throw new Error("Python 3.9 or newer is not installed");
  freshDirectory(directory);
  const options = ["--quiet", "--disable-pip-version-check", "--only-binary", ":all:", "--target", directory];
  run(command, ["-m", "pip", "install", ...options, "-r", requirements]);
}

/** Another program that runs JavaScript, for `npm run smoke`: its package brings the binary of this machine. */
function npmPackage(name: "bun" | "deno"): void {
  const directory = join(runtimeDirectory, name);
  freshDirectory(directory);
  copyFileSync(join(interopDirectory, "other-runtimes", name, "package.json"), join(directory, "package.json"));
  run("npm", ["install", "--silent", "--no-package-lock", "--no-audit", "--no-fund"], directory);
  run(paths[name], ["--version"], directory);
}

function kcat(): void {
  if (commandExists("kcat")) return;
  needCommand("apt-get", "kcat; it is a package of Debian and of most other distributions");
  if (process.getuid?.() !== 0) throw new Error("kcat is not installed: as root, apt-get install kcat");
  const install = ["install", "--yes", "--quiet", "--no-install-recommends", "kcat"];
  try {
    run("apt-get", install);
  } catch {
    // A fresh image has no list of packages yet.
    run("apt-get", ["update", "--quiet"]);
    run("apt-get", install);
  }
}

function needCommand(command: string, name: string): void {
  if (!commandExists(command)) throw new Error(`${command} is not installed: install ${name}`);
}

function freshDirectory(path: string): void {
  rmSync(path, { recursive: true, force: true });
  mkdirSync(path, { recursive: true });
}

function run(command: string, args: readonly string[], directory: string = interopDirectory): void {
  const result = spawnSync(command, args, { cwd: directory, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  if (result.error !== undefined) throw result.error;
  if (result.status === 0) return;
  const output = `${result.stdout}${result.stderr}`.trim().split("\n").slice(-20).join("\n    ");
  throw new Error(`${command} ended with ${result.status ?? result.signal}\n    ${output}`);
}

function prepare(name: RuntimeName): boolean {
  if (isPrepared(name)) {
    console.log(`${name}: ready`);
    return true;
  }
  const startedMs = performance.now();
  try {
    makers[name]();
    markPrepared(name);
  } catch (error) {
    console.log(`${name}: NOT PREPARED: ${error instanceof Error ? error.message : String(error)}`);
    return false;
  }
  console.log(`${name}: prepared in ${((performance.now() - startedMs) / 1000).toFixed(1)} s`);
  return true;
}

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !runtimeNames.includes(name as RuntimeName));
if (unknown.length > 0) {
  console.error(`unknown runtime ${unknown.join(", ")}: choose from ${runtimeNames.join(", ")}`);
  process.exitCode = 2;
} else {
  mkdirSync(runtimeDirectory, { recursive: true });
  const names = asked.length === 0 ? runtimeNames : runtimeNames.filter((name) => asked.includes(name));
  const missing = names.filter((name) => !prepare(name));
  if (missing.length > 0) {
    console.log(`not prepared: ${missing.join(", ")}; the tests that need it are skipped`);
    process.exitCode = 1;
  }
}
