import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ByteReader } from "./reader.ts";
import { ByteWriter, type Part } from "./writer.ts";

const hexOf = (parts: readonly Part[]): string[] =>
  parts.map((part) => (part instanceof Uint8Array ? part.toString("hex") : `${part.sizeBytes} bytes elsewhere`));

describe("large and external bytes are parts of their own", () => {
  test("in order, uncopied", () => {
    const large = Buffer.alloc(2000, 0xaa);
    const slice = { sizeBytes: 70_000, file: "00000000000000000000.log" };
    const writer = new ByteWriter();
    writer.int32(1);
    writer.bytes(large);
    writer.int8(2);
    writer.bytes(slice);
    writer.bytes(Buffer.from("small"));
    expect(writer.sizeBytes).toBe(4 + 4 + 2000 + 1 + 4 + 70_000 + 4 + 5);
    const parts = writer.finish();
    expect(hexOf(parts)).toEqual([
      "00000001000007d0",
      "aa".repeat(2000),
      "0200011170",
      "70000 bytes elsewhere",
      "00000005736d616c6c",
    ]);
    expect(parts[1]).toBe(large);
    expect(parts[3]).toBe(slice);
  });

  test("a frame begins with the length of all of them", () => {
    const writer = new ByteWriter();
    writer.int16(7);
    writer.bytes({ sizeBytes: 100 });
    expect(hexOf(writer.finishFrame())).toEqual(["0000006a000700000064", "100 bytes elsewhere"]);
  });

  test("neighbours have nothing between them but a length", () => {
    const writer = new ByteWriter();
    writer.flexible = true;
    writer.bytes({ sizeBytes: 5 });
    writer.nullableBytes({ sizeBytes: 6 });
    expect(hexOf(writer.finish())).toEqual(["06", "5 bytes elsewhere", "07", "6 bytes elsewhere"]);
  });

  test("there is no one buffer of what lies outside of memory", () => {
    const writer = new ByteWriter();
    writer.bytes({ sizeBytes: 5 });
    expect(() => writer.toBuffer()).toThrow(TypeError);
    expect(() => {
      writer.beginTag(0);
      writer.bytes({ sizeBytes: 5 });
    }).toThrow(TypeError);
  });

  test("an array that is no Buffer is passed on as one", () => {
    const writer = new ByteWriter();
    writer.bytes(new Uint8Array(new ArrayBuffer(3000), 500, 2000).fill(1));
    expect(hexOf(writer.finish())).toEqual(["000007d0", "01".repeat(2000)]);
  });
});

describe("tagged fields", () => {
  test("the size is right, however long the value becomes", () => {
    const property = fc.property(fc.array(fc.nat({ max: 20_000 }), { maxLength: 4 }), (sizes) => {
      const writer = new ByteWriter(0);
      writer.flexible = true;
      const starts = sizes.map((sizeBytes, tag) => {
        const at = writer.beginTag(tag);
        writer.raw(Buffer.alloc(sizeBytes, tag));
        return at;
      });
      for (const at of starts.toReversed()) writer.endTag(at);
      let reader = new ByteReader(writer.toBuffer());
      for (const [tag, sizeBytes] of sizes.entries()) {
        expect(reader.unsignedVarint()).toBe(tag);
        expect(reader.unsignedVarint()).toBe(reader.remaining);
        expect(reader.slice(sizeBytes).every((byte) => byte === tag)).toBe(true);
        reader = new ByteReader(reader.slice(reader.remaining));
      }
    });
    fc.assert(property);
  });

  test("large bytes inside are copied", () => {
    const writer = new ByteWriter();
    writer.flexible = true;
    const at = writer.beginTag(3);
    writer.bytes(Buffer.alloc(2000));
    writer.endTag(at);
    expect(writer.toBuffer().toString("hex").slice(0, 12)).toBe("03d20fd10f00");
  });
});

describe("what does not fit its type is refused", () => {
  const mistakes: readonly (readonly [string, (writer: ByteWriter) => void])[] = [
    ["128 is not an int8", (w) => w.int8(128)],
    ["-32769 is not an int16", (w) => w.int16(-32_769)],
    ["-1 is not a uint16", (w) => w.uint16(-1)],
    ["2147483648 is not an int32", (w) => w.int32(2 ** 31)],
    ["0.5 is not an int32", (w) => w.int32(0.5)],
    ["NaN is not an int32", (w) => w.int32(Number.NaN)],
    ["-1 is not a uint32", (w) => w.unsignedVarint(-1)],
    ["9007199254740992 is not a safe integer", (w) => w.int64(2 ** 53)],
    ["9223372036854775808 is not an int64", (w) => w.int64(2n ** 63n)],
    ["orders is not a uuid", (w) => w.uuid("orders")],
    ["AAAAAAAAAAAAAAAAAAAA+A is not a uuid", (w) => w.uuid("AAAAAAAAAAAAAAAAAAAA+A")],
    ["of at most 32767 bytes", (w) => w.string("a".repeat(32_768))],
    ["undefined is not an int32", (w) => w.int32(undefined as unknown as number)],
  ];
  test.for(mistakes)("%s", ([message, write]) => expect(() => write(new ByteWriter())).toThrow(message));
});

test("writers that share memory do not touch each other", () => {
  const property = fc.property(
    fc.array(fc.tuple(fc.nat({ max: 9 }), fc.nat({ max: 300 })), { maxLength: 60 }),
    (steps) => {
      const writers = Array.from({ length: 10 }, () => new ByteWriter(16));
      const expected = writers.map((): number[] => []);
      const finished: [Buffer, number[]][] = [];
      for (const [index, length] of steps) {
        writers[index]!.raw(Buffer.alloc(length, index));
        expected[index]!.push(...Array.from({ length }, () => index));
        if (length > 200) continue;
        finished.push([writers[index]!.toBuffer(), expected[index]!]);
        writers[index] = new ByteWriter(16);
        expected[index] = [];
      }
      for (const [bytes, values] of finished) expect([...bytes]).toEqual(values);
    },
  );
  fc.assert(property);
});
