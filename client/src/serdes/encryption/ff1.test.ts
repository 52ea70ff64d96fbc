import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ff1, NumberCipher } from "./ff1.ts";
import { decryptText, encryptText } from "./preserved.ts";

const alphabet = "0123456789abcdefghijklmnopqrstuvwxyz";
const numerals = (text: string): number[] => Array.from(text, (char) => alphabet.indexOf(char));
const key = "2b7e151628aed2a6abf7158809cf4f3cef4359d8d580aa4f7f036d6f04fc6a94";
const tens = "39383736353433323130";
const words = "3737373770717273373737";

describe("FF1", () => {
  // The samples that NIST publishes with SP 800-38G.
  test.for([
    [16, 10, "", "0123456789", "2433477484"],
    [16, 10, tens, "0123456789", "6124200773"],
    [16, 36, words, "0123456789abcdefghi", "a9tv40mll9kdu509eum"],
    [32, 10, "", "0123456789", "6657667009"],
    [32, 10, tens, "0123456789", "1001623463"],
    [32, 36, words, "0123456789abcdefghi", "xs8a0azh2avyalyzuwd"],
  ] as const)("with a key of %i bytes, radix %i, tweak %s", ([bytes, radix, tweak, plain, hidden]) => {
    const secret = Buffer.from(key, "hex").subarray(0, bytes);
    const run = (text: string, isForward: boolean): string =>
      ff1(secret, Buffer.from(tweak, "hex"), numerals(text), { radix, isForward })
        .map((at) => alphabet[at])
        .join("");
    expect(run(plain, true)).toBe(hidden);
    expect(run(hidden, false)).toBe(plain);
  });

  test("over any range stays within it, and comes back", () => {
    const cipher = new NumberCipher(Buffer.alloc(32, 7));
    const range = fc
      .bigInt({ min: 1_000_000n, max: 2n ** 80n })
      .chain((size) => fc.tuple(fc.constant(size), fc.bigInt({ min: 0n, max: size - 1n })));
    fc.assert(
      fc.property(range, fc.uint8Array({ maxLength: 40 }), ([size, value], tweak) => {
        const hidden = cipher.encrypt(value, size, tweak);
        expect(hidden < size).toBe(true);
        expect(cipher.decrypt(hidden, size, tweak)).toBe(value);
      }),
    );
  });
});

describe("text that keeps its format", () => {
  const dataKey = { id: Buffer.alloc(16), secret: Buffer.alloc(32, 9) };

  test("keeps length and classes, differs by place, and comes back", () => {
    const iban = "DE89 3704-0044 0532ab";
    const hidden = encryptText(iban, dataKey, "account");
    expect(hidden).toMatch(/^[A-Z]{2}\d\d \d{4}-\d{4} \d{4}[a-z]{2}$/);
    expect(hidden).not.toBe(iban);
    expect(encryptText(iban, dataKey, "iban")).not.toBe(hidden);
    expect(decryptText(hidden, dataKey, "account")).toBe(iban);
    fc.assert(
      fc.property(fc.stringMatching(/^[a-zA-Z0-9 äß€😀-]{0,10}[0-9]{6}[a-zA-Z0-9 ]{0,10}$/u), (text) => {
        expect(decryptText(encryptText(text, dataKey, "p"), dataKey, "p")).toBe(text);
      }),
    );
  });

  test("that could be tried out is refused", () => {
    expect(() => encryptText("12345", dataKey, "p")).toThrow("only 100000 possible values");
    expect(() => encryptText("", dataKey, "p")).toThrow("possible values");
    expect(encryptText("123456", dataKey, "p")).toMatch(/^\d{6}$/);
  });
});
