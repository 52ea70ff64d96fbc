import { spawn } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FakeRegistry, serveRegistry } from "../client/test/fake-registry.ts";
import { examplesOf } from "./house/examples.ts";
import { readText, repositoryFiles, repositoryRoot } from "./house/repository.ts";
import { addressed, snippetsOf, type Need, type Snippet } from "./house/snippets.ts";
import { Target } from "./interop/target.ts";

/** Every block of the guides compiles and runs to its end, and every example of a docstring compiles. */
const guides = repositoryFiles("docs/client").filter((file) => file.endsWith(".md"));
const pages = ["client/README.md", ...guides, "docs/testing-with-millrace.md"];
const snippets = pages.flatMap((page) => snippetsOf(page, readText(page)));
const directory = join(repositoryRoot, "docs", "dist", "snippets");
const nameOf = (page: string): string => page.replaceAll("/", "-").replace(/\.md$/, "");
const fileOf = ({ page, line }: Snippet): string => join(directory, `${nameOf(page)}-${line}.ts`);

const addresses: Partial<Record<Need, string>> = {};
const running: AsyncDisposable[] = [];
const isNeeded = (need: Need): boolean => snippets.some(({ needs }) => needs.includes(need));

beforeAll(async () => {
  if (isNeeded("registry")) {
    const registry = await serveRegistry(new FakeRegistry());
    running.push(registry);
    addresses.registry = new URL(registry.url).host;
  }
  if (isNeeded("broker")) {
    // Nobody waits for further members of a group of one.
    const broker = await Target.start({ settings: { "group.initial.rebalance.delay.ms": "0" } });
    running.push(broker);
    addresses.broker = broker.address;
  }
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  const config = {
    extends: "../../../tsconfig.base.json",
    compilerOptions: {
      composite: false,
      declaration: false,
      declarationMap: false,
      isolatedDeclarations: false,
      noEmit: true,
      rewriteRelativeImportExtensions: false,
      allowImportingTsExtensions: true,
    },
    include: ["*.ts"],
  };
  writeFileSync(join(directory, "tsconfig.json"), JSON.stringify(config));
  // Names of one block are not names of another: each is a module.
  for (const snippet of snippets) writeFileSync(fileOf(snippet), `${addressed(snippet, addresses)}\nexport {};\n`);
  for (const { file, code } of examplesOf("client")) writeFileSync(join(directory, file), code);
});

afterAll(async () => {
  for (const each of running) await each[Symbol.asyncDispose]();
});

describe("blocks of the guides", () => {
  test("are there", () => {
    expect(snippets.length).toBeGreaterThan(40);
  });

  test("compile, and so do the examples of docstrings", async () => {
    const { output } = await run("tsc", ["-p", directory, "--pretty", "false"]);
    expect(withPlaces(output)).toBe("");
  });

  test.for(snippets.map((snippet) => [`${snippet.page}:${snippet.line}`, snippet] as const))(
    "%s runs",
    async ([, snippet]) => {
      const { code, output } = await run("node", ["--conditions=source", fileOf(snippet)]);
      expect(code, withPlaces(output)).toBe(0);
    },
  );
});

/** "docs-client-serdes-12.ts(3,5)" and "docs-client-serdes-12.ts:3" as places in the page. */
function withPlaces(output: string): string {
  const places = /[\w./-]*?([\w-]+)-(\d+)\.ts(?:\((\d+),\d+\)|:(\d+)(?::\d+)?)/g;
  return output.replace(places, (whole, page: string, line: string, inCompiler?: string, inStack?: string) => {
    const found = snippets.find((each) => nameOf(each.page) === page && each.line === Number(line));
    const at = found?.lines[Number(inCompiler ?? inStack) - 1];
    return found === undefined || at === undefined ? whole : `${found.page}:${at}`;
  });
}

async function run(program: string, args: readonly string[]): Promise<{ code: number | null; output: string }> {
  return new Promise((settle) => {
    // All of them load the same sources.
    const env = { ...process.env, NODE_COMPILE_CACHE: join(directory, "cache") };
    const child = spawn(program, args, { cwd: repositoryRoot, env, stdio: ["ignore", "pipe", "pipe"] });
    // A loop that nobody leaves must not keep the test until its own time is over, which would say less.
    const timer = setTimeout(() => child.kill("SIGKILL"), 50_000);
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.on("error", (error) => settle({ code: -1, output: error.message }));
    child.on("close", (code) => {
      clearTimeout(timer);
      settle({ code, output });
    });
  });
}
