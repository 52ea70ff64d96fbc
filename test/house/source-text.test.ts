import { expect, test } from "vitest";
import { importsOf, withoutComments, withoutCommentsAndStrings } from "./source-text.ts";

test("comments go, lines stay", () => {
  const source = 'const a = "// no comment"; // a comment\n/* two\n lines */ const b = `/* none */`;\n';
  const text = withoutComments(source);
  expect(text.split("\n")).toHaveLength(4);
  expect(text).toContain('"// no comment"');
  expect(text).toContain("`/* none */`");
  expect(text).not.toMatch(/a comment|two|lines/);
});

test("a quote in a regular expression opens no string", () => {
  expect(withoutComments("const a = /[\"']/; // gone\nconst b = 1 / 2; // gone")).not.toContain("gone");
});

test("the insides of strings go where asked", () => {
  expect(withoutCommentsAndStrings('call("Date.now()", `Math.random`)')).toBe(
    `call("${" ".repeat(10)}", \`${" ".repeat(11)}\`)`,
  );
});

test("imports are found in every form", () => {
  const source = [
    'import { a } from "./a.ts";',
    'import type { B } from "b/c";',
    'import d, {\n  e,\n} from "d";',
    'export { f } from "f";',
    'export * from "g";',
    'import "h";',
    'const i = await import("i");',
    'const j = require("j");',
    '// import "k";',
    'const text = "from";',
  ].join("\n");
  const found = importsOf(source);
  expect(found.map(({ specifier }) => specifier)).toEqual(["./a.ts", "b/c", "d", "f", "g", "h", "i", "j"]);
  expect(found.find(({ specifier }) => specifier === "d")?.line).toBe(5);
});
