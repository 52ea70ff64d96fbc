import { expect, test } from "vitest";
import { addressed, snippetsOf } from "./snippets.ts";

const fence = "```";
const pageOf = (...lines: readonly string[]): string => lines.join("\n");

test("every block is taken, with its place and what it talks to", () => {
  const page = pageOf(
    "# Page",
    `${fence}sh`,
    "no",
    fence,
    `${fence}ts`,
    'yes("localhost:8081");',
    "too;",
    fence,
    `${fence}ts`,
    "last;",
    fence,
  );
  expect(snippetsOf("docs/client/page.md", page)).toEqual([
    { page: "docs/client/page.md", line: 6, code: 'yes("localhost:8081");\ntoo;', lines: [6, 7], needs: ["registry"] },
    { page: "docs/client/page.md", line: 10, code: "last;", lines: [10], needs: [] },
  ]);
});

test("a preamble stands before each block that follows it, and does not run alone", () => {
  const page = pageOf(
    `${fence}ts preamble`,
    'at("localhost:9092");',
    fence,
    `${fence}ts`,
    "a;",
    fence,
    `${fence}ts`,
    "b;",
    fence,
  );
  const snippets = snippetsOf("p.md", page);
  expect(snippets.map(({ code }) => code)).toEqual(['at("localhost:9092");\na;', 'at("localhost:9092");\nb;']);
  expect(snippets.map(({ lines }) => lines)).toEqual([
    [2, 5],
    [2, 8],
  ]);
  expect(snippets.map((snippet) => addressed(snippet, { broker: "127.0.0.1:7" }))).toEqual([
    'at("127.0.0.1:7");\na;',
    'at("127.0.0.1:7");\nb;',
  ]);
});

test("a block that is marked otherwise or does not end, and a preamble of nothing, are errors with their place", () => {
  expect(() => snippetsOf("p.md", `${fence}ts kitchen\n${fence}`)).toThrow('p.md:1: a block is "ts" or "ts preamble"');
  expect(() => snippetsOf("p.md", `${fence}ts\ncode`)).toThrow("p.md:1: the block does not end");
  expect(() => snippetsOf("p.md", `${fence}ts preamble\ncode\n${fence}`)).toThrow("p.md: a preamble has no block");
});
