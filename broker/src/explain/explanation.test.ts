import { expect, test } from "vitest";
import { durationText, encodeExplanation, listText, merged, timeText } from "./explanation.ts";
import type { Explanation } from "./explanation.ts";

test.for([
  [-5, "0 ms"],
  [999, "999 ms"],
  [1_000, "1 s"],
  [59_999, "59 s"],
  [60_000, "1 min"],
  [200_000, "3 min 20 s"],
  [3_600_000, "1 h"],
  [18_600_000, "5 h 10 min"],
  [187_200_000, "2 d 4 h"],
] as const)("%i ms are %s", ([ms, text]) => {
  expect(durationText(ms)).toBe(text);
});

test("a list names a few, and counts the others", () => {
  expect(listText([])).toBe("");
  expect(listText(["a"])).toBe("a");
  expect(listText(["a", "b", "c"])).toBe("a, b and c");
  expect(listText(Array.from({ length: 12 }, (_, index) => `p-${index}`))).toMatch(/, p-9 and 2 more$/);
});

test("a time that no calendar has is told as it is", () => {
  expect(timeText(0)).toBe("1970-01-01T00:00:00.000Z");
  expect(timeText(Number.MAX_SAFE_INTEGER)).toBe("9007199254740991 ms");
});

test("events of two kinds are told in the order of their time", () => {
  const [early, middle, late] = ["2026-01-01", "2026-01-02", "2026-01-03"].map((at) => ({ at, text: at }));
  expect(merged([early!, late!], [middle!])).toEqual([early, middle, late]);
});

const short: Explanation = {
  kind: "group",
  name: "g",
  summary: "Stable",
  facts: [["state", "Stable"]],
  reasons: ["Nothing is stuck."],
  events: [{ at: "2026-01-01", text: "it began" }],
};

test("what fits is encoded as it is", () => {
  expect(JSON.parse(encodeExplanation(short))).toEqual(short);
});

test("what does not fit loses the end of its longest lists, and says how much; the latest events stay", () => {
  const many = {
    ...short,
    facts: Array.from({ length: 3_000 }, (_, index) => [`p-${index}`, "x".repeat(50)] as const),
    events: Array.from({ length: 2_000 }, (_, index) => ({ at: String(index), text: "y".repeat(50) })),
  };
  const json = encodeExplanation(many);
  expect(Buffer.byteLength(json)).toBeLessThanOrEqual(32_767);
  const { facts, reasons, events } = JSON.parse(json) as Explanation;
  expect(reasons).toEqual(short.reasons);
  expect(facts.length).toBeGreaterThan(50);
  expect(facts.at(-1)).toEqual(["…", `${3_000 - (facts.length - 1)} more`]);
  expect(events.at(-1)?.at).toBe("1999");
});

test("names of any length, in any script, fit", () => {
  const name = "\u0001漢".repeat(20_000);
  const reasons = Array.from({ length: 30 }, () => name);
  const json = encodeExplanation({ ...short, name, summary: name, facts: [[name, name]], reasons });
  expect(Buffer.byteLength(json)).toBeLessThanOrEqual(32_767);
});
