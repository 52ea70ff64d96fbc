import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MalformedMessage } from "./malformed.ts";
import { ByteReader } from "./reader.ts";
import { ByteWriter } from "./writer.ts";

const reading = (hex: string, flexible = false): ByteReader => {
  const reader = new ByteReader(Buffer.from(hex.replaceAll(" ", ""), "hex"));
  reader.flexible = flexible;
  return reader;
};

describe("an int64 is a safe integer", () => {
  test.for([
    ["0000000000000000", 0],
    ["ffffffffffffffff", -1],
    ["ffffffff00000000", -4_294_967_296],
    ["001fffffffffffff", Number.MAX_SAFE_INTEGER],
    ["ffe0000000000001", Number.MIN_SAFE_INTEGER],
  ] as const)("%s is %i", ([hex, value]) => {
    expect(reading(hex).int64()).toBe(value);
    expect(reading(hex).int64Exact()).toBe(
      hex === "001fffffffffffff" || hex === "ffe0000000000001" ? BigInt(value) : value,
    );
  });

  test.for([
    ["0020000000000000", 2n ** 53n],
    ["7fffffffffffffff", 2n ** 63n - 1n],
    ["ffe0000000000000", -(2n ** 53n)],
    ["8000000000000000", -(2n ** 63n)],
  ] as const)("%s saturates", ([hex, exact]) => {
    expect(reading(hex).int64()).toBe(exact < 0n ? Number.MIN_SAFE_INTEGER : Number.MAX_SAFE_INTEGER);
    expect(reading(hex).int64Exact()).toBe(exact);
  });
});

describe("varints", () => {
  test.for([
    ["00", 0],
    ["7f", 127],
    ["8001", 128],
    ["ffffffff0f", 0xffff_ffff],
  ] as const)("%s is %i", ([hex, value]) => expect(reading(hex).unsignedVarint()).toBe(value));

  test.for(["ffffffff10", "8080808080", "ffffffffff01", "80", ""])("%s is none", (hex) => {
    expect(() => reading(hex).unsignedVarint()).toThrow(MalformedMessage);
  });

  test.for(["80808080808080808002", "ffffffffffffffffffff01", "8080808080"])("%s is no varlong", (hex) => {
    expect(() => reading(hex).varlong()).toThrow(MalformedMessage);
  });

  test("the ends of a varlong saturate", () => {
    expect(reading("feffffffffffffffff01").varlong()).toBe(Number.MAX_SAFE_INTEGER);
    expect(reading("ffffffffffffffffff01").varlong()).toBe(Number.MIN_SAFE_INTEGER);
  });
});

describe("lengths are not believed", () => {
  const refused: readonly (readonly [
    what: string,
    read: (reader: ByteReader) => unknown,
    hex: string,
    flexible: boolean,
  ])[] = [
    ["a string longer than what is there", (r) => r.string(), "0005 61", false],
    ["a string of a negative length", (r) => r.nullableString(), "fffe", false],
    ["null for a string", (r) => r.string(), "ffff", false],
    ["null for a compact string", (r) => r.string(), "00", true],
    ["a compact string beyond an int16", (r) => r.string(), "818002", true],
    ["bytes longer than what is there", (r) => r.bytes(), "7fffffff 00", false],
    ["bytes of a negative length", (r) => r.nullableBytes(), "fffffffe", false],
    ["null for bytes", (r) => r.bytes(), "ffffffff", false],
    ["an array of more elements than bytes", (r) => r.int32Array(), "00000002 00000001", false],
    ["an array of a negative length", (r) => r.nullableInt32Array(), "fffffffe", false],
    ["null for an array", (r) => r.stringArray(), "00", true],
    ["a tagged field longer than what is there", (r) => r.skipTags(), "01 00 05 00", true],
    ["more tagged fields than bytes", (r) => r.skipTags(), "ffffffff0f 0000", true],
    ["a number at the end", (r) => r.int64(), "00", false],
  ];
  test.for(refused)("%s", ([, read, hex, flexible]) =>
    expect(() => read(reading(hex, flexible))).toThrow(MalformedMessage),
  );
});

test("a reader sees its part of the buffer only", () => {
  const buffer = Buffer.from("00000001000000020000000300000004", "hex");
  const reader = new ByteReader(buffer, 4, 12);
  expect([reader.remaining, reader.int32(), reader.int32(), reader.remaining]).toEqual([8, 2, 3, 0]);
  expect(() => reader.int16()).toThrow("2 bytes at byte 12, where 0 are left");
  expect(() => new ByteReader(buffer, 4, 17)).toThrow(RangeError);
});

test("bytes are views, not copies", () => {
  const buffer = Buffer.from("0000000361626300", "hex");
  const bytes = new ByteReader(buffer).bytes();
  buffer[4] = 0x7a;
  expect(bytes.toString()).toBe("zbc");
});

test("unknown tagged fields are stepped over", () => {
  const reader = reading("02 00 02 aabb 8501 01 cc 07", true);
  reader.skipTags();
  expect(reader.int8()).toBe(7);
});

describe("what is written is read", () => {
  const cases: readonly (readonly [
    string,
    fc.Arbitrary<unknown>,
    (w: ByteWriter, v: never) => void,
    (r: ByteReader) => unknown,
  ])[] = [
    ["int8", fc.integer({ min: -128, max: 127 }), (w, v) => w.int8(v), (r) => r.int8()],
    ["int16", fc.integer({ min: -32768, max: 32767 }), (w, v) => w.int16(v), (r) => r.int16()],
    ["uint16", fc.integer({ min: 0, max: 65535 }), (w, v) => w.uint16(v), (r) => r.uint16()],
    ["int32", fc.integer(), (w, v) => w.int32(v), (r) => r.int32()],
    ["uint32", fc.nat({ max: 0xffff_ffff }), (w, v) => w.uint32(v), (r) => r.uint32()],
    ["int64", fc.maxSafeInteger(), (w, v) => w.int64(v), (r) => r.int64()],
    ["float64", fc.double(), (w, v) => w.float64(v), (r) => r.float64()],
    ["unsigned varint", fc.nat({ max: 0xffff_ffff }), (w, v) => w.unsignedVarint(v), (r) => r.unsignedVarint()],
    ["varint", fc.integer(), (w, v) => w.varint(v), (r) => r.varint()],
    ["varlong", fc.maxSafeInteger(), (w, v) => w.varlong(v), (r) => r.varlong()],
    ["string", fc.string({ unit: "binary", maxLength: 100 }), (w, v) => w.string(v), (r) => r.string()],
    ["int64 array", fc.array(fc.maxSafeInteger()), (w, v) => w.int64Array(v), (r) => r.int64Array()],
  ];
  test.for(cases)("%s", ([, values, write, read]) => {
    const property = fc.property(values, fc.boolean(), (value, flexible) => {
      const writer = new ByteWriter(0);
      writer.flexible = flexible;
      write(writer, value as never);
      const reader = new ByteReader(writer.toBuffer());
      reader.flexible = flexible;
      expect(read(reader)).toStrictEqual(value);
      expect(reader.remaining).toBe(0);
    });
    fc.assert(property);
  });

  test("an exact int64", () => {
    const property = fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (value) => {
      const writer = new ByteWriter();
      writer.int64(value);
      expect(BigInt(new ByteReader(writer.toBuffer()).int64Exact())).toBe(value);
    });
    fc.assert(property);
  });
});
