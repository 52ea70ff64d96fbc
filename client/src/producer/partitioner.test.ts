import { expect, test } from "vitest";
import { murmur2, partitionOfKey } from "@millrace/client/producer/partitioner";

// The vectors of the Java client's own test of its murmur2.
test.for([
  ["21", -973932308],
  ["foobar", -790332482],
  ["a-little-bit-long-string", -985981536],
  ["a-little-bit-longer-string", -1486304829],
  ["lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971],
] as const)("murmur2 of %s is the Java client's", ([text, hash]) => {
  expect(murmur2(Buffer.from(text))).toBe(hash);
});

test("a key's partition is never negative and lies below the count", () => {
  for (let index = 0; index < 1000; index++) {
    const partition = partitionOfKey(Buffer.from(`key-${index}`), 7);
    expect(partition).toBeGreaterThanOrEqual(0);
    expect(partition).toBeLessThan(7);
  }
});
