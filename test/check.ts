import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { repositoryFiles, repositoryRoot } from "./house/repository.ts";

/**
 * `npm run check`: everything that can be said of the code without running it. All steps run, whatever fails; what
 * failed is listed at the end. Names as arguments run only those steps: `npm run check -- lint format`.
 */
interface Step {
  readonly name: string;
  readonly what: string;
  run(): Promise<Outcome>;
}

interface Outcome {
  readonly isPassed: boolean;
  readonly output: string;
}

const steps: readonly Step[] = [
  { name: "types", what: "tsc -b", run: () => command("tsc", ["-b"]) },
  { name: "lint", what: "oxlint --type-aware", run: () => command("oxlint", ["--type-aware"]) },
  { name: "format", what: "oxfmt --check", run: () => command("oxfmt", ["--check"]) },
  { name: "generated", what: "npm run generate changes nothing", run: generatedFilesAreCurrent },
  {
    name: "house",
    what: "tidy, layering, docs",
    run: () => command("node", [...sources, "test/run.ts", ...houseTests]),
  },
];

const sources: readonly string[] = ["--conditions=source"];
const houseTests: readonly string[] = ["test/tidy", "test/layering", "test/docs", "test/house"];

function command(program: string, args: readonly string[]): Promise<Outcome> {
  return new Promise((settle) => {
    const child = spawn(program, args, { cwd: repositoryRoot, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (output += text));
    child.on("error", (error) => settle({ isPassed: false, output: `${program}: ${error.message}` }));
    child.on("close", (code) => settle({ isPassed: code === 0, output }));
  });
}

/**
 * Compares what lies here with what the generators write, so that it also holds before a commit. They write in place:
 * when this step fails the repair is done, and only has to be read and committed.
 */
async function generatedFilesAreCurrent(): Promise<Outcome> {
  const before = contents();
  const generation = await command("npm", ["run", "--silent", "generate"]);
  if (!generation.isPassed) return generation;
  const after = contents();
  const changed = [...new Set([...before.keys(), ...after.keys()])].filter(
    (file) => before.get(file) !== after.get(file),
  );
  return {
    isPassed: changed.length === 0,
    output: changed.map((file) => `${file} was not what its declarations say; it is now\n`).join(""),
  };
}

/** Everything that a generator could touch. */
function contents(): ReadonlyMap<string, string> {
  const files = ["protocol", "docs", "broker/src"].flatMap((directory) => repositoryFiles(directory));
  return new Map(files.map((file) => [file, readFileSync(join(repositoryRoot, file), "latin1")]));
}

const wanted = process.argv.slice(2);
const failed: string[] = [];
for (const step of steps) {
  if (wanted.length > 0 && !wanted.includes(step.name)) continue;
  const startedMs = performance.now();
  const { isPassed, output } = await step.run();
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  console.log(`${isPassed ? "ok    " : "FAILED"} ${step.name.padEnd(10)} ${seconds.padStart(5)} s   ${step.what}`);
  if (isPassed) continue;
  failed.push(step.name);
  console.log(output.trimEnd());
}
console.log(failed.length === 0 ? "check: all steps passed" : `check: failed: ${failed.join(", ")}`);
process.exitCode = failed.length === 0 ? 0 : 1;
