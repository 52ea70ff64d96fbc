import { expect, test } from "vitest";
import { isInternalTopic, validateTopicName } from "./topics.ts";

test.for([
  ["orders", undefined],
  ["a.b_c-D9", undefined],
  ["...", undefined],
  ["a".repeat(249), undefined],
  ["", "Topic name is invalid: the empty string is not allowed"],
  [".", "Topic name is invalid: '.' is not allowed"],
  ["..", "Topic name is invalid: '..' is not allowed"],
  [
    "a".repeat(250),
    `Topic name is invalid: the length of '${"a".repeat(250)}' is longer than the max allowed length 249`,
  ],
  [
    "x y",
    "Topic name is invalid: 'x y' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
  ],
  [
    "a/b",
    "Topic name is invalid: 'a/b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
  ],
  [
    "bücher\n",
    "Topic name is invalid: 'bücher\n' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
  ],
  [
    "a\n",
    "Topic name is invalid: 'a\n' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
  ],
] as const)("the topic name %j", ([name, message]) => {
  const valid = validateTopicName(name);
  expect(valid.ok ? undefined : valid.message).toBe(message);
});

test("internal topics are known by their names", () => {
  expect(isInternalTopic("__consumer_offsets")).toBe(true);
  expect(isInternalTopic("__consumer.offsets")).toBe(false);
});
