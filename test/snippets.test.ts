import { spawn } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FakeRegistry, serveRegistry } from "../client/test/fake-registry.ts";
import { readText, repositoryFiles, repositoryRoot } from "./house/repository.ts";
import { snippetsOf, type Need, type Snippet } from "./house/snippets.ts";
import { Target } from "./interop/target.ts";

/** Every block of the guides that is marked as runnable compiles by itself and runs to its end. */
const pages = repositoryFiles("docs/client").filter((file) => file.endsWith(".md"));
const snippets = pages.flatMap((page) => snippetsOf(page, readText(page)));
const directory = join(repositoryRoot, "docs", "dist", "snippets");
const fileOf = ({ page, line }: Snippet): string => join(directory, `${basename(page, ".md")}-${line}.ts`);

const environment: Record<string, string> = {};
const running: AsyncDisposable[] = [];
const isNeeded = (need: Need): boolean => snippets.some(({ needs }) => needs.includes(need));

beforeAll(async () => {
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
  for (const snippet of snippets) writeFileSync(fileOf(snippet), `${snippet.code}\nexport {};\n`);
  if (isNeeded("registry")) {
    const registry = await serveRegistry(new FakeRegistry());
    running.push(registry);
    environment["REGISTRY"] = registry.url;
  }
  if (isNeeded("broker")) {
    const broker = await Target.start();
    running.push(broker);
    environment["BROKERS"] = broker.address;
  }
});

afterAll(async () => {
  for (const each of running) await each[Symbol.asyncDispose]();
});

describe("runnable blocks of docs/client", () => {
  test("are there, in every guide that has code", () => {
    expect(snippets.length).toBeGreaterThan(0);
  });

  test("compile", async () => {
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

/** "serdes-12.ts(3,5)" and "serdes-12.ts:3" as places in the page. */
function withPlaces(output: string): string {
  const places = /[\w./-]*?([\w-]+)-(\d+)\.ts(?:\((\d+),\d+\)|:(\d+)(?::\d+)?)/g;
  return output.replace(places, (whole, page: string, line: string, inCompiler?: string, inStack?: string) => {
    const found = snippets.find((each) => basename(each.page, ".md") === page && each.line === Number(line));
    return found === undefined ? whole : `${found.page}:${found.line + Number(inCompiler ?? inStack) - 1}`;
  });
}

async function run(program: string, args: readonly string[]): Promise<{ code: number | null; output: string }> {
  return new Promise((settle) => {
    const child = spawn(program, args, {
      cwd: repositoryRoot,
      env: { ...process.env, ...environment },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.on("error", (error) => settle({ code: -1, output: error.message }));
    child.on("close", (code) => settle({ code, output }));
  });
}
