import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { brokerHandlers, controllerHandlers } from "@millrace/broker/apis/registry";
import { apiTable } from "kafka-protocol-ts/api-table";
import { generate } from "../protocol/generator/main.ts";
import { handlerFile, leftOut } from "./house/compatibility.ts";
import { generatedPages } from "./house/generated.ts";
import { readJson, readText, repositoryFiles, repositoryRoot } from "./house/repository.ts";
import { roomNames, rooms } from "./house/rooms.ts";

/** Of both kinds of listener; some serve on both. */
const handlers = [...new Set([...brokerHandlers, ...controllerHandlers])];
const repair = "run npm run generate, and read what changed";

test("generated files are what their declarations say", async () => {
  const expected = new Map([...(await generate()), ...generatedPages()]);
  const different = [...expected].filter(
    ([path, text]) => !existsSync(join(repositoryRoot, path)) || readText(path) !== text,
  );
  expect(
    different.map(([path]) => path),
    repair,
  ).toEqual([]);
});

test("no generated file is left over", async () => {
  const expected = await generate();
  const directories = ["protocol/src/messages", "protocol/src/internal"];
  const found = directories
    .flatMap((directory) => repositoryFiles(directory))
    .filter((file) => !file.endsWith(".test.ts"));
  expect(
    found.filter((file) => !expected.has(file)),
    repair,
  ).toEqual([]);
});

test("every API is served, or the page on compatibility says why not", () => {
  const served = new Set(handlers.map(({ api }) => api.key));
  const explained = new Set(leftOut.flatMap(({ keys }) => keys));
  const names = (keep: (key: number) => boolean): string[] =>
    Object.values(apiTable)
      .filter(({ key }) => keep(key))
      .map(({ key, name }) => `${key} ${name}`);
  expect(
    names((key) => !served.has(key) && !explained.has(key)),
    "add the reason to test/house/compatibility.ts",
  ).toEqual([]);
  expect(
    names((key) => served.has(key) && explained.has(key)),
    "served: take it out of test/house/compatibility.ts",
  ).toEqual([]);
});

test("every registered handler lies where its key and name say, and every such file is registered", () => {
  // What the active controller decides is registered twice: for brokers that forward it, and for controllers.
  const registered = [...new Set(handlers.map(({ api }) => `broker/src/apis/${handlerFile(api)}`))];
  const files = repositoryFiles("broker/src/apis").filter(
    (file) => /\/\d\d+-[^/]*\.ts$/.test(file) && !file.endsWith(".test.ts"),
  );
  expect(files.toSorted()).toEqual(registered.toSorted());
});

test("a handler's opening comment says the versions that it serves", () => {
  const wrong = handlers.flatMap(({ api, versions: [first, last] }) => {
    const file = `broker/src/apis/${handlerFile(api)}`;
    const [, from, to] = /\/\*\*[\s*]*\w+ v(\d+)(?:\s*[–-]\s*v?(\d+))?/.exec(readText(file)) ?? [];
    const said: readonly [number, number] = [Number(from), Number(to ?? from)];
    // Produce says what it accepts; ApiVersions says 0 for it, as Kafka does (KAFKA-18659).
    const isSame = (said[0] === first || api.name === "Produce") && said[1] === last;
    return isSame ? [] : [`${file} says v${said.join("–v")}, and is registered with v${first}–v${last}`];
  });
  expect(wrong).toEqual([]);
});

describe("the page on durability", () => {
  const page = readText("docs/durability.md");
  const tests = new Map(
    [...page.matchAll(/^\[([a-z0-9-]+)\]: \.\.\/(\S+) "(.+)"$/gm)].map(([, key = "", file = "", title = ""]) => [
      key,
      { file, title },
    ]),
  );
  const used = (text: string): string[] => [...text.matchAll(/\]\[([a-z0-9-]+)\]/g)].map(([, key = ""]) => key);

  test("names tests that are there", () => {
    expect(tests.size).toBeGreaterThan(50);
    const absent = [...tests.values()].filter(
      ({ file, title }) => !existsSync(join(repositoryRoot, file)) || !readText(file).includes(`"${title}"`),
    );
    expect(absent, "name the test as its file does").toEqual([]);
  });

  test("uses the names that it explains, and explains no others", () => {
    expect([...new Set(used(page))].toSorted()).toEqual([...tests.keys()].toSorted());
  });

  test("links a test in every cell that promises something", () => {
    const rows = [...page.matchAll(/^\| (.+) \|$/gm)].map(([, row = ""]) => row.split(" | "));
    const promises = rows
      .filter(([first = ""]) => !["fault", "scenario"].includes(first) && !/^R\d+$/.test(first))
      .flatMap(([, ...cells]) => cells);
    expect(promises.length).toBeGreaterThan(20);
    expect(promises.filter((cell) => cell !== "no promise" && used(cell).length === 0)).toEqual([]);
    const required = rows.filter(([first = ""]) => /^R\d+$/.test(first));
    expect(required.map(([first]) => first)).toEqual(["R1", "R3", "R6", "R15", "R16", "R17", "R18", "R19"]);
    expect(required.filter(([, , cell = ""]) => used(cell).length === 0)).toEqual([]);
  });
});

test("every room has its line in the tables of the README and of the architecture", () => {
  for (const page of ["README.md", "docs/ARCHITECTURE.md"]) {
    const text = readText(page);
    for (const name of [...roomNames, "test", "bench"])
      expect(text, page).toMatch(new RegExp(String.raw`^\| \[${name}/\]`, "m"));
  }
});

test("the architecture draws the arrows of the table of rooms", () => {
  const text = readText("docs/ARCHITECTURE.md");
  for (const name of roomNames) {
    const { mayImport } = rooms[name];
    if (mayImport.length === 0) continue;
    expect(text).toMatch(new RegExp(String.raw`^${name} +-> +${mayImport.join(", ")}$`, "m"));
  }
});

test("every script has its line in CONTRIBUTING", () => {
  const { scripts } = readJson<{ readonly scripts: Readonly<Record<string, string>> }>("package.json");
  const text = readText("CONTRIBUTING.md");
  const absent = Object.keys(scripts).filter(
    (name) => !new RegExp(String.raw`^\| \`npm (?:run )?${name}\b`, "m").test(text),
  );
  expect(absent).toEqual([]);
});

test("the changelog opens with the version of the packages", () => {
  const newest = /^## (\S+)/m.exec(readText("CHANGELOG.md"))?.[1];
  for (const name of roomNames) {
    expect(readJson<{ readonly version: string }>(`${name}/package.json`).version, `${name}/package.json`).toBe(newest);
  }
});

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
