import { expect, test } from "vitest";
import { javaHashCode, partitionFor } from "./partition-for.ts";

test("an id's partition is the one that Apache Kafka 4.3.1 computes: Java's hash of it, made positive", () => {
  expect(javaHashCode("")).toBe(0);
  expect(javaHashCode("hello")).toBe(99_162_322);
  expect(javaHashCode("polygenelubricants")).toBe(-2_147_483_648);
  expect(partitionFor("polygenelubricants", 50)).toBe(0);
  expect(partitionFor("hello", 50)).toBe(22);
  expect(javaHashCode("zzzzzzzz")).toBe(-1_910_022_912);
  expect(partitionFor("zzzzzzzz", 50)).toBe(12);
});
