import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, matchesGlob } from "node:path";
import { readJson, readText, repositoryFiles, repositoryRoot } from "./house/repository.ts";
import { roomNames, rooms } from "./house/rooms.ts";
import { paths, whyMissing } from "./interop/runtimes.ts";

/**
 * `npm run smoke`: the broker in the three forms in which the tests do not run it. Each is installed into a directory of
 * its own, started, written to and read from with the command line, stopped, started again and read once more.
 *
 *     npm run smoke -- sources     from the sources, without any optional package: no native code
 *     npm run smoke -- dist        packed and installed as from a registry, on the oldest Node that we support; then the
 *                                  client is used from there by programs in ESM and CommonJS, on Bun and on Deno, and
 *                                  raft-ts-lite by itself
 *     npm run smoke -- image       as the container image has it, by the steps of the Dockerfile
 */
const olderNode = "24.21.0";
const recordCount = 1_000;

interface Installation {
  /** The program and the arguments that stand before those of the command line. */
  readonly command: readonly string[];
  readonly directory: string;
  /** The client can be imported from here, as a program of somebody's does. */
  readonly hasClient: boolean;
}

const forms: Readonly<Record<string, (directory: string) => Installation>> = {
  sources: withoutOptionalPackages,
  dist: packedOnOlderNode,
  image: asInTheImage,
};

function withoutOptionalPackages(directory: string): Installation {
  for (const file of repositoryFiles()) {
    mkdirSync(dirname(join(directory, file)), { recursive: true });
    copyFileSync(join(repositoryRoot, file), join(directory, file));
  }
  runNpm(directory, ["ci", "--omit=optional"]);
  for (const name of ["koffi", "@node-rs/crc32", "msgpackr-extract"]) {
    if (existsSync(join(directory, "node_modules", name))) throw new Error(`${name} was installed: it is not optional`);
  }
  return { command: ["npm", "run", "--silent", "millrace", "--"], directory, hasClient: false };
}

function packedOnOlderNode(directory: string): Installation {
  runNpm(repositoryRoot, ["run", "build"]);
  const packages = join(directory, "packages");
  mkdirSync(packages);
  const workspaces = roomNames.map((name) => `--workspace=${rooms[name].packageName}`);
  runNpm(repositoryRoot, ["pack", "--silent", `--pack-destination=${packages}`, ...workspaces]);
  const { allowScripts } = readJson<{ readonly allowScripts: object }>("package.json");
  writeFileSync(join(directory, "package.json"), JSON.stringify({ private: true, allowScripts }));
  const tarballs = readdirSync(packages).map((file) => join(packages, file));
  runNpm(directory, ["install", `node@${olderNode}`, ...tarballs]);
  const version = spawnSync(join(directory, "node_modules", ".bin", "node"), ["--version"], { encoding: "utf8" });
  if (version.stdout.trim() !== `v${olderNode}`) throw new Error(`node is ${version.stdout}, not v${olderNode}`);
  return { command: [join(directory, "node_modules", ".bin", "millrace")], directory, hasClient: true };
}

/** The steps of the Dockerfile, but for the base image: what is copied, what runs there, what is taken out of it, and how it starts. */
function asInTheImage(directory: string): Installation {
  const steps = readText("Dockerfile");
  const [build, image] = [join(directory, "build"), join(directory, "image")];
  const ignored = readText(".dockerignore").trim().split("\n");
  const isIgnored = (file: string): boolean =>
    ignored.some((pattern) => matchesGlob(file, pattern) || matchesGlob(file, `${pattern}/**`));
  for (const file of repositoryFiles().filter((each) => !isIgnored(each))) {
    mkdirSync(dirname(join(build, file)), { recursive: true });
    copyFileSync(join(repositoryRoot, file), join(build, file));
  }
  const [, command = ""] = /^RUN (sh docker\/build\.sh)$/m.exec(steps) ?? [];
  const built = spawnSync("sh", ["-c", command], { cwd: build, env: environment(build), encoding: "utf8" });
  if (built.status !== 0 || command === "") throw new Error(`${command}: ${built.stderr}${built.stdout}`);
  for (const [, from = "", to = ""] of steps.matchAll(/^COPY --from=build \/build\/(\S+) \.\/(\S*)$/gm))
    cpSync(join(build, from), join(image, to === "" ? from : to), { recursive: true, verbatimSymlinks: true });
  rmSync(build, { recursive: true });
  const [, entry = "[]"] = /^ENTRYPOINT (\[.*\])$/m.exec(steps) ?? [];
  const [node = "", ...args] = JSON.parse(entry) as readonly string[];
  if (node !== "node") throw new Error(`the image starts ${node}`);
  return { command: [process.execPath, ...args], directory: image, hasClient: false };
}

function runNpm(directory: string, args: readonly string[]): void {
  const result = spawnSync("npm", args, { cwd: directory, env: environment(directory), encoding: "utf8" });
  if (result.status !== 0) throw new Error(`npm ${args.join(" ")}: ${result.stderr}${result.stdout}`);
}

/** The Node of the directory comes first, and no setting of the npm that runs this reaches the one inside. */
function environment(directory: string): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !/^npm_|^NODE_OPTIONS$|^INIT_CWD$/.test(name));
  const path = (process.env["PATH"] ?? "").split(":").filter((each) => !each.endsWith("node_modules/.bin"));
  return { ...Object.fromEntries(inherited), PATH: [join(directory, "node_modules", ".bin"), ...path].join(":") };
}

// --- One installation, used as a newcomer would ----------------------------------------------------------------------

async function use(installation: Installation): Promise<void> {
  const data = join(installation.directory, "smoke-data");
  const lines = Array.from({ length: recordCount }, (_, index) => `record ${index} ${"x".repeat(index % 50)}`);
  const first = await start(installation, data);
  try {
    const server = ["--bootstrap", first.address];
    millrace(installation, ["topic", "create", "smoke", "--partitions", "3", ...server]);
    millrace(installation, ["produce", "smoke", ...server], `${lines.join("\n")}\n`);
    expectSame(consume(installation, first.address), lines);
    useClient(installation, first.address);
  } finally {
    await stop(first);
  }
  const second = await start(installation, data);
  try {
    expectSame(consume(installation, second.address), lines);
  } finally {
    await stop(second);
  }
}

/** The client as it is installed: in a module, in CommonJS with its types, and in what else runs JavaScript. */
function useClient({ directory, hasClient }: Installation, address: string): void {
  if (!hasClient) return;
  const programs = join(repositoryRoot, "test", "smoke");
  for (const file of readdirSync(programs)) copyFileSync(join(programs, file), join(directory, file));
  const node = join(directory, "node_modules", ".bin", "node");
  const module = (topic: string): readonly string[] => ["client-program.mjs", address, topic];
  expectOutput(directory, [node, ...module("of-node")], `read ${recordCount} records`);
  expectOutput(directory, [node, "client-program.cjs", address, "of-common-js"], "read 1 records");
  expectOutput(directory, [node, "cluster-program.mjs"], "3 nodes have 10 records");
  expectOutput(directory, [node, "raft-program.mjs"], "3 nodes agree on 100 entries");
  checkTypes(directory);
  const others = { bun: [paths.bun], deno: [paths.deno, "run", "--allow-all", "--node-modules-dir=manual"] } as const;
  for (const [name, command] of Object.entries(others)) {
    const missing = whyMissing(name as keyof typeof others);
    if (missing === null) expectOutput(directory, [...command, ...module(`of-${name}`)], `read ${recordCount} records`);
    console.log(missing === null ? `smoke dist: the client runs on ${name}` : `smoke dist: skipped: ${missing}`);
  }
}

/** By this repository's compiler, with no types but those of Node. */
function checkTypes(directory: string): void {
  const compilerOptions = {
    module: "nodenext",
    target: "es2025",
    lib: ["es2025", "esnext.disposable"],
    strict: true,
    noEmit: true,
    types: ["node"],
    typeRoots: [join(repositoryRoot, "node_modules", "@types")],
  };
  writeFileSync(join(directory, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["client-types.cts"] }));
  expectOutput(directory, [join(repositoryRoot, "node_modules", ".bin", "tsc"), "-p", directory], "");
}

function expectOutput(directory: string, [program = "", ...args]: readonly string[], expected: string): void {
  const options = { cwd: directory, env: environment(directory), encoding: "utf8", timeout: 60_000 } as const;
  const { status, signal, stdout, stderr } = spawnSync(program, args, options);
  if (status === 0 && stdout.trim() === expected) return;
  throw new Error(`${[program, ...args].join(" ")} ended with ${status ?? signal}: ${stdout}${stderr}`);
}

interface Running {
  readonly process: ChildProcess;
  readonly address: string;
  readonly output: () => string;
}

async function start({ command, directory }: Installation, data: string): Promise<Running> {
  const [program, ...args] = [...command, "start", "--port", "0", "--data", data];
  const child = spawn(program, args, {
    cwd: directory,
    env: environment(directory),
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  const address = new Promise<string>((settle, fail) => {
    const take = (text: string): void => {
      output += text;
      const ready = /millrace ready on (\S+) in/.exec(output)?.[1];
      if (ready !== undefined) settle(ready);
    };
    child.stdout.setEncoding("utf8").on("data", take);
    child.stderr.setEncoding("utf8").on("data", take);
    child.on("error", fail);
    child.on("exit", (code) => fail(new Error(`the broker ended with ${code} before it was ready:\n${output}`)));
    setTimeout(() => fail(new Error(`the broker is not ready after 60 s:\n${output}`)), 60_000).unref();
  });
  return { process: child, address: await address, output: () => output };
}

async function stop({ process: child, output }: Running): Promise<void> {
  if (child.exitCode !== null) throw new Error(`the broker ended with ${child.exitCode}:\n${output()}`);
  const exit = once(child, "exit");
  child.kill("SIGTERM");
  const [code] = (await exit) as [number | null];
  if (code !== 0) throw new Error(`SIGTERM ended the broker with ${code}, not 0:\n${output()}`);
}

function consume(installation: Installation, address: string): string[] {
  const output = millrace(installation, ["consume", "smoke", "--until-end", "--bootstrap", address]);
  return output.split("\n").filter((line) => line !== "");
}

function millrace({ command, directory }: Installation, args: readonly string[], input = ""): string {
  const [program = "", ...before] = command;
  const result = spawnSync(program, [...before, ...args], {
    cwd: directory,
    env: environment(directory),
    input,
    encoding: "utf8",
    timeout: 60_000,
  });
  if (result.status === 0) return result.stdout;
  throw new Error(`millrace ${args.join(" ")} ended with ${result.status ?? result.signal}: ${result.stderr}`);
}

/** Three partitions are read in any order, each in its own. */
function expectSame(found: readonly string[], expected: readonly string[]): void {
  const [a, b] = [found.toSorted(), expected.toSorted()];
  if (a.length === b.length && a.every((line, index) => line === b[index])) return;
  const missing = expected.filter((line) => !found.includes(line));
  throw new Error(`read ${found.length} of ${expected.length} records; missing ${missing.slice(0, 3).join(" | ")}`);
}

const wanted = process.argv.slice(2);
for (const [name, install] of Object.entries(forms)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const directory = mkdtempSync(join(tmpdir(), "millrace-smoke-"));
  const startedMs = performance.now();
  const seconds = (): string => `${((performance.now() - startedMs) / 1000).toFixed(1)} s`;
  try {
    const installation = install(directory);
    console.log(`smoke ${name}: installed after ${seconds()}`);
    await use(installation);
    console.log(`smoke ${name}: ok after ${seconds()}`);
  } catch (error) {
    console.log(`smoke ${name}: FAILED after ${seconds()}: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
