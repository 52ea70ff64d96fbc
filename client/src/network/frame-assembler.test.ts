import fc from "fast-check";
import { expect, test } from "vitest";
import { FrameAssembler } from "@millrace/client/network/frame-assembler";

function framed(body: Uint8Array): Buffer {
  const frame = Buffer.alloc(4 + body.length);
  frame.writeInt32BE(body.length, 0);
  frame.set(body, 4);
  return frame;
}

test("frames come out whole, however the stream was cut, and the chunks may be written over", () => {
  const bodies = fc.array(fc.uint8Array({ minLength: 4, maxLength: 40 }), { maxLength: 12 });
  fc.assert(
    fc.property(bodies, fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 30 }), (frames, cuts) => {
      const stream = Buffer.concat(frames.map(framed));
      const found: string[] = [];
      const assembler = new FrameAssembler(1000, (frame) => found.push(frame.toString("hex")));
      for (let at = 0, cut = 0; at < stream.length; cut++) {
        const chunk = Buffer.from(stream.subarray(at, at + (cuts[cut % cuts.length] ?? 1)));
        at += chunk.length;
        assembler.push(chunk);
        chunk.fill(0xee);
      }
      expect(found).toEqual(frames.map((frame) => Buffer.from(frame).toString("hex")));
    }),
  );
});

test.for([
  [-1, "a frame claims -1 bytes"],
  [3, "a frame claims 3 bytes"],
  [1001, "a frame claims 1001 bytes"],
] as const)("a length of %i is not believed", ([length, message]) => {
  const assembler = new FrameAssembler(1000, () => undefined);
  const bytes = Buffer.alloc(8);
  bytes.writeInt32BE(length, 0);
  assembler.push(bytes.subarray(0, 3));
  expect(() => assembler.push(bytes.subarray(3))).toThrow(message);
});

test("large frames that are read to where they belong come out as they were sent", () => {
  const bodies = [3_333_333, 5, 1_200_000, 70_000, 3_333_333].map((length, index) =>
    Buffer.alloc(length, `${index}-body-`),
  );
  const stream = Buffer.concat(bodies.map(framed));
  const whole: Buffer[] = [];
  const assembler = new FrameAssembler(10_000_000, (frame) => whole.push(frame));
  const shared = Buffer.alloc(100_000);
  let copiedBytes = 0;
  for (let at = 0; at < stream.length;) {
    const memory = assembler.memory();
    const into = memory ?? shared;
    // As from a socket: not always as much as there is room for.
    const count = Math.min(into.length, 90_000, stream.length - at);
    stream.copy(into, 0, at, at + count);
    assembler.push(into.subarray(0, count));
    if (memory === null) copiedBytes += count;
    shared.fill(0xee);
    at += count;
  }
  expect(whole.length).toBe(bodies.length);
  for (const [index, body] of bodies.entries()) expect(body.equals(whole[index] as Buffer)).toBe(true);
  expect(copiedBytes).toBeLessThan(stream.length / 5);
});

test("memory is taken on the word of a length only up to what came before", () => {
  const assembler = new FrameAssembler(100_000_000, () => undefined);
  const lengthOf = (bytes: number): Buffer => framed(Buffer.alloc(bytes)).subarray(0, 4);
  assembler.push(lengthOf(50_000_000));
  expect(assembler.memory()?.length).toBe(1_048_576);
  const other = new FrameAssembler(100_000_000, () => undefined);
  other.push(framed(Buffer.alloc(3_000_000)));
  other.push(lengthOf(50_000_000));
  expect(other.memory()?.length).toBe(3_000_000);
});

test("a frame of more than a megabyte arrives whole, and its memory grows with what arrives", () => {
  const body = Buffer.alloc(3_333_333, "large");
  const stream = framed(body);
  let whole: Buffer | null = null;
  const assembler = new FrameAssembler(10_000_000, (frame) => (whole = frame));
  for (let at = 0; at < stream.length; at += 65_536) assembler.push(stream.subarray(at, at + 65_536));
  expect(body.equals(whole ?? Buffer.alloc(0))).toBe(true);
});
