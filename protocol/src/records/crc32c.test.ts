import { createRequire } from "node:module";
import * as fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { crc32c, crc32cPure, useCrc32c } from "./crc32c.ts";

afterEach(() => {
  useCrc32c(null);
});

const ascending = Uint8Array.from({ length: 32 }, (_, index) => index);

/** RFC 3720, appendix B.4, and the check value of the catalogues of CRCs. */
const vectors: readonly [string, Uint8Array, number][] = [
  ["nothing", new Uint8Array(0), 0],
  ["123456789", Buffer.from("123456789"), 0xe3069283],
  ["32 zeros", new Uint8Array(32), 0x8a9136aa],
  ["32 ones", new Uint8Array(32).fill(0xff), 0x62a8ab43],
  ["32 ascending", ascending, 0x46dd794e],
  ["32 descending", ascending.toReversed(), 0x113fdb5c],
];

describe("CRC-32C", () => {
  test.for(vectors)("%s", ([, bytes, expected]) => {
    expect(crc32cPure(bytes)).toBe(expected);
    expect(crc32c(bytes)).toBe(expected);
  });

  test("goes on from where it stood", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(200), (bytes, cut) => {
        const whole = crc32cPure(bytes);
        expect(crc32cPure(bytes.subarray(cut), crc32cPure(bytes.subarray(0, cut)))).toBe(whole);
      }),
    );
  });

  const native = loadNative();
  test.skipIf(native === null)("native and pure agree, from any start", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 5000 }), fc.nat(8), fc.nat(0xffff_ffff), (bytes, cut, previous) => {
        const tail = bytes.subarray(cut);
        expect(native!(tail)).toBe(crc32cPure(tail));
        expect(native!(tail, previous)).toBe(crc32cPure(tail, previous));
      }),
    );
  });

  test("an installed implementation is used, and can be taken out again", () => {
    useCrc32c(() => 7);
    expect(crc32c(ascending)).toBe(7);
    useCrc32c(null);
    expect(crc32c(ascending)).toBe(0x46dd794e);
  });
});

function loadNative(): typeof crc32c | null {
  try {
    return (createRequire(import.meta.url)("@node-rs/crc32") as { crc32c: typeof crc32c }).crc32c;
  } catch {
    return null;
  }
}
