import { expect, test } from "vitest";
import { lastLine, tally } from "./tally.ts";

const outcome = (state: "passed" | "failed" | "skipped" | "pending", note?: string) => ({
  file: "a.test.ts",
  name: `a ${state} test`,
  state,
  note,
});

test("all is well", () => {
  const result = tally({ tests: [outcome("passed"), outcome("passed")], brokenSuites: [], unhandledErrors: 0 });
  expect(lastLine(result)).toBe("2 passed, 0 failed");
});

test("whatever did not pass has failed, unless it was skipped", () => {
  const tests = [outcome("passed"), outcome("failed"), outcome("pending"), outcome("skipped")];
  const result = tally({ tests, brokenSuites: ["b.test.ts"], unhandledErrors: 1 });
  expect(lastLine(result)).toBe("1 passed, 4 failed, 1 skipped");
});

test("each reason to skip is one line", () => {
  const kcat = outcome("skipped", "skipped: kcat is not installed");
  const { skippedLines } = tally({ tests: [kcat, kcat, outcome("skipped")], brokenSuites: [], unhandledErrors: 0 });
  expect(skippedLines).toEqual([
    "skipped: a.test.ts: kcat is not installed (2 tests)",
    "skipped: a.test.ts: a skipped test",
  ]);
});
