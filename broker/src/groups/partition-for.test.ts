import { expect, test } from "vitest";
import { javaHashCode, partitionFor } from "./partition-for.ts";

test("a group's partition is that of every Kafka client: Java's hash of the id, without its sign", () => {
  expect(javaHashCode("")).toBe(0);
  expect(javaHashCode("hello")).toBe(99_162_322);
  expect(javaHashCode("polygenelubricants")).toBe(-2_147_483_648);
  expect(partitionFor("polygenelubricants", 50)).toBe(0);
  expect(partitionFor("hello", 50)).toBe(22);
});
