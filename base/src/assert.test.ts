import { expect, test } from "vitest";
import { assert, AssertionFailure, must } from "@millrace/base/assert";

test("an assertion names what was broken, and its message is built only then", () => {
  let built = 0;
  assert(true, () => `built ${++built}`);
  expect(() => assert(false, () => `built ${++built}`)).toThrow(new AssertionFailure("built 1"));
  expect(built).toBe(1);
});

test("a missing value that only a bug could cause is named", () => {
  expect(must(0, "zero")).toBe(0);
  expect(() => must(undefined, "the leader")).toThrow("the leader is missing");
});
