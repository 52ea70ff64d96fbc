import { expect, test } from "vitest";
import { snippetsOf } from "./snippets.ts";

const fence = "```";

test("a block that is marked is taken with its place and its needs, and no other", () => {
  const page = [
    "# Page",
    `${fence}ts`,
    "no;",
    fence,
    `${fence}ts runnable registry`,
    "yes;",
    "too;",
    fence,
    `${fence}ts runnable`,
    "last;",
    fence,
  ];
  expect(snippetsOf("docs/client/page.md", page.join("\n"))).toEqual([
    { page: "docs/client/page.md", line: 6, code: "yes;\ntoo;", needs: ["registry"] },
    { page: "docs/client/page.md", line: 10, code: "last;", needs: [] },
  ]);
});

test("a block that asks for what is unknown, or does not end, is an error with its place", () => {
  expect(() => snippetsOf("p.md", `${fence}ts runnable kitchen\n${fence}`)).toThrow("p.md:1: kitchen is none of");
  expect(() => snippetsOf("p.md", `${fence}ts runnable\ncode`)).toThrow("p.md:1: the block does not end");
});
