import { expect, test } from "vitest";
import { headingAnchors, linksOf, titlesOf } from "./markdown.ts";

const page = [
  "# A title",
  "[one](one.md) and ![two](two.png), `[none](code)`",
  "```md",
  "# no title",
  "[none](none.md)",
  "```",
  "## What is `this`?",
  "## Twice",
  "## Twice",
  "[three]: three.md#anchor",
].join("\n");

test("code holds neither titles nor links", () => {
  expect(titlesOf(page)).toEqual(["A title"]);
  expect(linksOf(page)).toEqual([
    { target: "one.md", line: 2 },
    { target: "two.png", line: 2 },
    { target: "three.md#anchor", line: 10 },
  ]);
});

test("headings give anchors as readers of Markdown make them", () => {
  expect([...headingAnchors(page)]).toEqual(["a-title", "what-is-this", "twice", "twice-1"]);
});
