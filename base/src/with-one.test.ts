import { expect, test } from "vitest";
import { withOne } from "./with-one.ts";

test("a list grows in place, and begins with what comes first", () => {
  const list = withOne<number>(null, 1);
  expect(list).toEqual([1]);
  expect(withOne(list, 2)).toBe(list);
  expect(list).toEqual([1, 2]);
});
