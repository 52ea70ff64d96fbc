import { expect, test } from "vitest";
import { ErrorCode, errorMessage, errorName, errors, isRetriable } from "./errors.ts";

test("every code from -1 to 133 has a name and a sentence of its own", () => {
  const rows = Object.values(errors);
  expect(rows.map(([code]) => code)).toEqual(Array.from({ length: 135 }, (_, index) => index - 1));
  expect(new Set(rows.map(([, , message]) => message)).size).toBe(rows.length);
  for (const [, , message] of rows) expect(message).toMatch(/^[A-Za-z].*\.$/);
});

test("a code is looked up both ways", () => {
  expect(ErrorCode.NOT_LEADER_OR_FOLLOWER).toBe(6);
  expect(errorName(6)).toBe("NOT_LEADER_OR_FOLLOWER");
  expect([isRetriable(6), isRetriable(10)]).toEqual([true, false]);
});

test("a code from the future has a name, is not retriable and breaks nothing", () => {
  expect([errorName(134), errorMessage(134), isRetriable(134)]).toEqual([
    "ERROR_134",
    "The error code 134 is not known here.",
    false,
  ]);
});
