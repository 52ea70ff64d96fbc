import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { messageIn } from "../test/arbitrary.ts";
import { type Subject, subjects, versionsOf } from "../test/codecs.ts";
import { readRequestHeader } from "./header.ts";
import { MalformedMessage } from "./malformed.ts";
import { fetch } from "./messages/01-fetch.ts";
import { metadata } from "./messages/03-metadata.ts";
import { ByteReader } from "./reader.ts";
import { ByteWriter } from "./writer.ts";

const everything = await subjects();
const seed = Number(process.env["SEED"] ?? fc.sample(fc.noBias(fc.nat()), 1)[0]);
const pairs = everything.flatMap((subject) => versionsOf(subject.schema).map((version) => ({ subject, version })));
const framesMin = 120_000;
const framesPerPair = Math.ceil(framesMin / pairs.length);
const sourcesPerPair = 3;

/** A small fast generator (mulberry32): fast-check's own would spend the test's time. */
function numbers(start: number): (below: number) => number {
  let state = start;
  return (below) => {
    state = (state + 0x6d2b_79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000) * below);
  };
}

const below = numbers(seed);

/** Values that lengths, counts and varints break at. */
const nasty: readonly number[][] = [
  [0x7f, 0xff, 0xff, 0xff],
  [0xff, 0xff, 0xff, 0xff],
  [0x80, 0x00, 0x00, 0x00],
  [0xff, 0xff, 0xff, 0xff, 0x0f],
  [0x80, 0x80, 0x80, 0x80, 0x80],
  [0x7f, 0xff],
  [0x00],
  [0x01],
  [0xff],
];

/** The frame with something wrong: bytes changed, cut off, doubled or overwritten by a lying length. */
function mutated(frame: Buffer): Buffer {
  const at = below(frame.length + 1);
  switch (below(5)) {
    case 0:
      return frame.subarray(0, at);
    case 1:
      return Buffer.concat([frame.subarray(0, at), frame.subarray(below(at + 1))]);
    case 2: {
      const bytes = nasty[below(nasty.length)] as number[];
      return Buffer.concat([frame.subarray(0, at), Buffer.from(bytes), frame.subarray(at + bytes.length)]);
    }
    default: {
      const copy = Buffer.from(frame);
      for (let left = 1 + below(3); left > 0 && copy.length > 0; left--) copy[below(copy.length)] = below(256);
      return copy;
    }
  }
}

function randomBytes(): Buffer {
  const bytes = Buffer.alloc(below(200));
  for (let at = 0; at < bytes.length; at++) bytes[at] = below(3) === 0 ? below(4) : below(256);
  return bytes;
}

/** Null when the frame was refused properly; any other failure passes through. */
function tryRead({ generated }: Subject, frame: Buffer, version: number): Readonly<Record<string, unknown>> | null {
  try {
    return generated.read(new ByteReader(frame), version);
  } catch (failure) {
    if (failure instanceof MalformedMessage) return null;
    throw failure;
  }
}

describe(`hostile frames, SEED=${seed}`, () => {
  test(`${framesPerPair * pairs.length} random and mutated frames end in a message or in MalformedMessage`, () => {
    let accepted = 0;
    for (const { subject, version } of pairs) {
      const sources = fc
        .sample(messageIn(subject.schema, version), { seed, numRuns: sourcesPerPair })
        .map((message) => written(subject, message, version));
      for (let count = 0; count < framesPerPair; count++) {
        const source = sources[count % (sourcesPerPair + 1)];
        const frame = source === undefined ? randomBytes() : mutated(source);
        const where = (): string => `${subject.name} v${version} ${frame.toString("hex")}`;
        const message = attempt(where, () => tryRead(subject, frame, version));
        if (message === null) continue;
        accepted++;
        const again = attempt(where, () => tryRead(subject, written(subject, message, version), version));
        if (!isDeepStrictEqual(again, message)) throw new Error(`read differently the second time: ${where()}`);
      }
    }
    expect(accepted, "many mutations still leave a message").toBeGreaterThan(framesMin / 20);
  });

  test("headers", () => {
    for (let left = 10_000; left > 0; left--) {
      const frame = randomBytes();
      try {
        readRequestHeader(new ByteReader(frame));
      } catch (failure) {
        expect(failure, frame.toString("hex")).toBeInstanceOf(MalformedMessage);
      }
    }
  });
});

function written({ generated }: Subject, message: Readonly<Record<string, unknown>>, version: number): Buffer {
  const writer = new ByteWriter();
  generated.write(writer, message, version);
  return writer.toBuffer();
}

/** Puts the frame beside an unexpected failure. */
function attempt<T>(where: () => string, run: () => T): T {
  try {
    return run();
  } catch (failure) {
    throw new Error(where(), { cause: failure });
  }
}

describe("a lying count", () => {
  const claimed = (count: number): Buffer => {
    const writer = new ByteWriter();
    for (const value of [-1, 500, 1, 1_000_000]) writer.int32(value);
    writer.int8(0);
    writer.int32(count);
    return writer.toBuffer();
  };

  test.for([1, 1000, 0x7fff_ffff, -2, -0x8000_0000])(
    "of %i elements is refused before anything is allocated",
    (count) => {
      expect(() => fetch.request.read(new ByteReader(claimed(count)), 4)).toThrow(MalformedMessage);
    },
  );

  test("of null where null may not be is refused", () => {
    expect(() => fetch.request.read(new ByteReader(claimed(-1)), 4)).toThrow("null for an array");
  });

  test("of elements that are there, but too many for one message, is refused", () => {
    const topicsCount = 5_000_000;
    const writer = new ByteWriter();
    writer.unsignedVarint(topicsCount + 1);
    const frame = Buffer.concat([writer.toBuffer(), Buffer.alloc(topicsCount * 18)]);
    expect(() => metadata.request.read(new ByteReader(frame), 12)).toThrow("too many for one message");
    const reader = new ByteReader(Buffer.concat([Buffer.from([11]), Buffer.alloc(200)]));
    reader.elementsLeft = 9;
    expect(() => metadata.request.read(reader, 12)).toThrow("too many for one message");
  });
});
