import fc from "fast-check";
import { expect, test } from "vitest";
import { pageBytes, PagedBytes } from "@millrace/simulator/paged-bytes";

const place = fc.integer({ min: 0, max: 3 * pageBytes });
const step = fc.record({ do: fc.constantFrom("write", "truncate", "copy"), place, size: place });

test("pages do what one buffer does, and no copy sees what another writes", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const copies = [{ pages: new PagedBytes(), plain: Buffer.alloc(0) }];
      for (const [index, { do: action, place, size }] of steps.entries()) {
        const current = copies[place % copies.length]!;
        const { pages, plain } = current;
        if (action === "copy") copies.push({ pages: pages.copy(), plain: Buffer.from(plain) });
        else if (action === "truncate") {
          pages.truncate(size);
          current.plain = Buffer.concat([plain, Buffer.alloc(size)]).subarray(0, size);
        } else {
          const bytes = Buffer.alloc(size, index + 1);
          pages.write(bytes, place);
          const grown = Buffer.alloc(size === 0 ? plain.length : Math.max(plain.length, place + size));
          plain.copy(grown);
          bytes.copy(grown, place);
          current.plain = grown;
        }
        for (const copy of copies) expect(copy.pages.toBuffer().equals(copy.plain)).toBe(true);
      }
    }),
  );
});
