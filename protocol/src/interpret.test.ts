import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { messageIn } from "../test/arbitrary.ts";
import { subjects, versionsOf } from "../test/codecs.ts";
import type { DataCodec } from "./api.ts";
import type { AnyMessage } from "./interpret.ts";
import { listOffsets } from "./messages/02-list-offsets.ts";
import { ByteReader } from "./reader.ts";
import { UnsupportedFieldVersion } from "./unsupported.ts";
import { ByteWriter } from "./writer.ts";

const everything = await subjects();
const runsPerVersion = 15;

const encode = (codec: DataCodec<AnyMessage>, message: AnyMessage, version: number): Buffer => {
  const writer = new ByteWriter();
  codec.write(writer, message, version);
  return writer.toBuffer();
};

const decode = (codec: DataCodec<AnyMessage>, bytes: Buffer, version: number): AnyMessage => {
  const reader = new ByteReader(bytes);
  const message = codec.read(reader, version);
  expect(reader.remaining).toBe(0);
  return message;
};

describe("generated code does what the declaration says", () => {
  test.for(everything.map((subject) => [subject.name, subject] as const))(
    "%s",
    ([, { schema, generated, interpreted }]) => {
      for (const version of versionsOf(schema)) {
        const property = fc.property(messageIn(schema, version), (message) => {
          const bytes = encode(interpreted, message, version);
          expect(encode(generated, message, version).equals(bytes), "written alike").toBe(true);
          const read = decode(interpreted, bytes, version);
          expect(decode(generated, bytes, version), "read alike").toStrictEqual(read);
          expect(read, "nothing lost").toMatchObject(asRead(message));
          expect(encode(generated, read, version).equals(bytes), "written again").toBe(true);
        });
        fc.assert(property, { numRuns: runsPerVersion });
      }
    },
  );
});

/** What was left out is left out; bytes are buffers. */
function asRead(value: unknown): AnyMessage {
  const convert = (inner: unknown): unknown => {
    if (inner instanceof Uint8Array) return Buffer.from(inner);
    if (Array.isArray(inner)) return inner.map(convert);
    if (typeof inner !== "object" || inner === null) return inner;
    return Object.fromEntries(Object.entries(inner).map(([name, member]) => [name, convert(member)]));
  };
  return convert(value) as AnyMessage;
}

describe("a version refuses what it can not say", () => {
  /** What happens to a message of the newest version when it is written as an older one. */
  const outcome = (codec: DataCodec<AnyMessage>, message: AnyMessage, version: number): string => {
    const writer = new ByteWriter();
    try {
      codec.write(writer, message, version);
      return writer.toBuffer().toString("hex");
    } catch (failure) {
      if (!(failure instanceof UnsupportedFieldVersion)) throw failure;
      return "refused";
    }
  };

  const several = everything.filter(({ schema: { versions } }) => versions[0] < versions[1]);
  test.for(several.map((subject) => [subject.name, subject] as const))(
    "%s",
    ([, { schema, generated, interpreted }]) => {
      for (const version of versionsOf(schema).slice(0, -1)) {
        const property = fc.property(messageIn(schema, schema.versions[1]), (message) => {
          expect(outcome(generated, message, version)).toBe(outcome(interpreted, message, version));
        });
        fc.assert(property, { numRuns: runsPerVersion });
      }
    },
  );
});

test("a version that does not exist is refused", () => {
  for (const { schema, generated, interpreted } of everything) {
    for (const version of [schema.versions[0] - 1, schema.versions[1] + 1]) {
      for (const codec of [generated, interpreted]) {
        expect(() => codec.read(new ByteReader(Buffer.alloc(8)), version)).toThrow(UnsupportedFieldVersion);
        expect(() => codec.write(new ByteWriter(), {}, version)).toThrow(UnsupportedFieldVersion);
      }
    }
  }
});

test("ListOffsets answers a timestamp exactly that no number holds", () => {
  const timestamp = 2n ** 60n + 1n;
  const partitions = [{ partitionIndex: 0, errorCode: 0, timestamp, offset: 5, leaderEpoch: 1 }];
  const writer = new ByteWriter();
  listOffsets.response.write(writer, { throttleTimeMs: 0, topics: [{ name: "t", partitions }] }, 7);
  expect(writer.toBuffer().readBigInt64BE(4 + 1 + 2 + 1 + 4 + 2)).toBe(timestamp);
});
