import { spawnSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Target } from "./interop/target.ts";
import { readText, repositoryFiles, repositoryRoot } from "./house/repository.ts";

/** The codes that the client's own sources give, with a file that gives them. */
const given = new Map(
  repositoryFiles("client/src")
    .filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts"))
    .flatMap((file) =>
      [
        ...readText(file).matchAll(
          /(?:(?:new \w*Error|super|refused|tokenFailure|failure)\(\s*|return (?:[^"\n]+ \? )?)"([A-Z][A-Z_]+)"/g,
        ),
      ].map(([, code = ""]): [string, string] => [code, file]),
    ),
);

test("the page on errors explains each code that the client gives, and no other", () => {
  const explained = [...readText("docs/client/errors.md").matchAll(/^## (\S+)$/gm)].map(([, code = ""]) => code);
  const missing = [...given].filter(([code]) => !explained.includes(code));
  expect(
    missing.map(([code, file]) => `${code} (${file})`),
    "write a section `## CODE` into docs/client/errors.md: what it means, whether it is retriable, what to do",
  ).toEqual([]);
  expect(
    explained.filter((code) => !given.has(code)),
    "the client gives these no more: take their sections out of docs/client/errors.md",
  ).toEqual([]);
  expect(explained, "the sections stand in the order of the alphabet").toEqual(explained.toSorted());
  expect(given.size).toBeGreaterThan(15);
});

const pages = ["docs/client/connect.md", "docs/client/observe.md"];
const snippets = pages.flatMap((page) =>
  [...readText(page).matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code = ""], index) => ({
    name: `${page}, ${index + 1}`,
    code,
  })),
);

describe("the pages' programs", () => {
  let target: Target;
  beforeAll(async () => {
    target = await Target.start({ name: "millrace" });
  });
  afterAll(async () => target?.[Symbol.asyncDispose]());

  test("are there", () => expect(snippets.length).toBeGreaterThanOrEqual(5));

  test.each(snippets)("$name: runs as it stands, but for the address of the broker", ({ code }) => {
    const program = code.replaceAll("localhost:9092", target.address);
    const args = ["--conditions=source", "--input-type=module-typescript", "--eval", program];
    const result = spawnSync(process.execPath, args, { cwd: repositoryRoot, encoding: "utf8", timeout: 50_000 });
    expect(result.status, result.stderr).toBe(0);
  });
});
