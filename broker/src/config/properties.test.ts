import { expect, test } from "vitest";
import { parseProperties } from "./properties.ts";

test.for([
  ["a=1", { a: "1" }],
  ["a = 1 ", { a: "1 " }],
  ["a: 1", { a: "1" }],
  ["a 1", { a: "1" }],
  ["a", { a: "" }],
  ["a=b=c", { a: "b=c" }],
  ["a=\n", { a: "" }],
  ["# a=1\n! b=2\n\n  c=3", { c: "3" }],
  ["a=1\r\nb=2\rc=3", { a: "1", b: "2", c: "3" }],
  ["a=1,\\\n   2,\\\n   3", { a: "1,2,3" }],
  ["a=x\\\\\nb=2", { a: "x\\", b: "2" }],
  ["a=1\\", { a: "1" }],
  ["a=\\u00e9\\t\\n\\q", { a: "é\t\nq" }],
  ["a\\=b=1", { "a=b": "1" }],
  ["a\\ b=1", { "a b": "1" }],
  ["listeners=PLAINTEXT://127.0.0.1:9092", { listeners: "PLAINTEXT://127.0.0.1:9092" }],
  ["log.dirs=C:\\\\data", { "log.dirs": "C:\\data" }],
  ["a=1\na=2", { a: "2" }],
  ["a=#1", { a: "#1" }],
] as const)("%j", ([text, expected]) => {
  expect(Object.fromEntries(parseProperties(text))).toEqual(expected);
});
