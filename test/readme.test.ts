import { spawn, spawnSync } from "node:child_process";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readText, repositoryRoot } from "./house/repository.ts";
import { commandExists } from "./interop/runtimes.ts";
import { Target } from "./interop/target.ts";

/** What the README says a newcomer may type, typed as it stands there, but for the address of the broker. */
let target: Target;

beforeAll(async () => {
  target = await Target.start({ name: "millrace" });
});

afterAll(async () => {
  await target?.[Symbol.asyncDispose]();
});

/** The code block that holds `marker`, with the address of the broker under test. */
function block(language: string, marker: string): string {
  const blocks = [...readText("README.md").matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)];
  const code = blocks.find(([, found, text]) => found === language && text?.includes(marker))?.[2];
  if (code === undefined) throw new Error(`README.md has no ${language} block with ${marker}`);
  return code
    .replaceAll("127.0.0.1:9092", target.address)
    .replace(/(npm run) (millrace -- .*)/g, `$1 --silent $2 --bootstrap ${target.address}`);
}

function shell(script: string): string {
  const result = spawnSync("bash", ["-euo", "pipefail", "-c", script], {
    cwd: repositoryRoot,
    stdio: ["ignore", "pipe", "pipe"],
    encoding: "utf8",
    timeout: 60_000,
  });
  expect(result.status, result.stderr).toBe(0);
  return result.stdout;
}

test("kcat writes and reads", ({ skip }) => {
  skip(!commandExists("kcat"), "skipped: kcat is not installed (npm run interop:prepare)");
  const lines = shell(block("sh", "kcat")).trim().split("\n");
  expect(lines).toHaveLength(2);
  expect(lines.toSorted()[0]).toMatch(/^alice: signed in \(partition \d+, offset 0\)$/);
});

test("kafkajs writes and reads in a group", async () => {
  const program = block("js", "kafkajs").replaceAll('"logins"', '"logins-of-kafkajs"');
  const child = spawn("node", ["--input-type=module", "--eval", program], { cwd: repositoryRoot });
  try {
    let output = "";
    const line = new Promise<string>((settle, fail) => {
      const take = (chunk: Buffer): void => {
        output += chunk.toString();
        const found = /^alice: .*$/m.exec(output)?.[0];
        if (found !== undefined) settle(found);
      };
      child.stdout.on("data", take);
      child.stderr.on("data", take);
      child.on("exit", () => fail(new Error(output)));
      setTimeout(() => fail(new Error(output)), 50_000).unref();
    });
    expect(await line).toBe("alice: signed in");
  } finally {
    child.kill("SIGKILL");
  }
});

test("the client writes and reads", () => {
  const program = block("ts", "@millrace/client");
  const args = ["--conditions=source", "--input-type=module-typescript", "--eval", program];
  const result = spawnSync("node", args, { cwd: repositoryRoot, encoding: "utf8", timeout: 50_000 });
  expect(result.stdout, result.stderr).toBe("alice saw /\n");
});

test("a cluster starts in a process", () => {
  const program = block("ts", "startCluster");
  const args = ["--conditions=source", "--input-type=module-typescript", "--eval", program];
  const result = spawnSync("node", args, { cwd: repositoryRoot, encoding: "utf8", timeout: 50_000 });
  expect(result.stdout, result.stderr).toBe("3 nodes\n");
});

test("the command line writes and reads", () => {
  expect(shell(block("sh", "npm run millrace"))).toMatch(
    /^created topic orders\na line is a record\npartition orders-0: offsets 0 to [01], nothing is held back\n\n- /,
  );
});
