import fc from "fast-check";
import { expect, test } from "vitest";
import { Deque } from "@millrace/base/deque";

test("a deque does what an array does", () => {
  const call = fc.oneof(
    fc.record({ name: fc.constantFrom("push" as const, "unshift" as const), value: fc.integer() }),
    fc.record({ name: fc.constantFrom("pop" as const, "shift" as const, "clear" as const), value: fc.constant(0) }),
  );
  fc.assert(
    fc.property(fc.array(call, { maxLength: 200, size: "max" }), (calls) => {
      const deque = new Deque<number>();
      const array: number[] = [];
      for (const { name, value } of calls) {
        if (name === "clear") {
          deque.clear();
          array.length = 0;
        } else if (name === "push" || name === "unshift") {
          deque[name](value);
          array[name](value);
        } else expect(deque[name]()).toBe(array[name]());
        expect([...deque]).toEqual(array);
        expect([deque.length, deque.isEmpty]).toEqual([array.length, array.length === 0]);
        expect([deque.first(), deque.last(), deque.at(1), deque.at(-1)]).toEqual([
          array[0],
          array.at(-1),
          array[1],
          undefined,
        ]);
      }
    }),
  );
});
