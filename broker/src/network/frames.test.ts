import fc from "fast-check";
import { expect, test } from "vitest";
import { FramePool } from "./frame-pool.ts";
import { BadFrame, FrameAssembler } from "./frames.ts";

const framed = (payload: Buffer): Buffer => {
  const length = Buffer.alloc(4);
  length.writeInt32BE(payload.length);
  return Buffer.concat([length, payload]);
};

test("however a stream is cut into chunks, the same frames come out", () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 12 }),
      fc.array(fc.integer({ min: 1, max: 17 }), { minLength: 1, maxLength: 9 }),
      (payloads, cuts) => {
        const stream = Buffer.concat(payloads.map((payload) => framed(Buffer.from(payload))));
        const assembler = new FrameAssembler(1024, new FramePool());
        const frames: Buffer[] = [];
        for (let at = 0, turn = 0; at < stream.length; turn++) {
          const size = cuts[turn % cuts.length]!;
          assembler.push(stream.subarray(at, at + size));
          at += size;
          for (let frame = assembler.next(); frame !== null; frame = assembler.next()) frames.push(frame);
        }
        expect(frames.map((frame) => frame.toString("hex"))).toEqual(
          payloads.map((each) => Buffer.from(each).toString("hex")),
        );
        expect(assembler.bufferedBytes).toBe(0);
      },
    ),
  );
});

test.for([
  ["a negative length", -1],
  ["a length above the limit", 101],
])("%s is refused before anything is kept for it", ([, length]) => {
  const assembler = new FrameAssembler(100, new FramePool());
  const head = Buffer.alloc(4);
  head.writeInt32BE(Number(length));
  assembler.push(head);
  expect(() => assembler.next()).toThrow(BadFrame);
});

test("a claimed length costs no memory before its bytes arrive", () => {
  const assembler = new FrameAssembler(100 * 1024 * 1024, new FramePool());
  const head = Buffer.alloc(4);
  head.writeInt32BE(100 * 1024 * 1024);
  assembler.push(head);
  expect(assembler.next()).toBeNull();
  expect(assembler.bufferedBytes).toBe(4);
});

test("a frame is a copy: the chunk may be written over", () => {
  const assembler = new FrameAssembler(100, new FramePool());
  const chunk = framed(Buffer.from("hello"));
  assembler.push(chunk);
  chunk.fill(0);
  expect(assembler.next()?.toString()).toBe("hello");
});

test("frames before a bad length are handed out first", () => {
  const assembler = new FrameAssembler(100, new FramePool());
  assembler.push(Buffer.concat([framed(Buffer.from("good")), Buffer.from([0x7f, 0, 0, 0])]));
  expect(assembler.next()?.toString()).toBe("good");
  expect(() => assembler.next()).toThrow(BadFrame);
});

test("large frames that were given back are used again, and grow as their bytes arrive", () => {
  const pool = new FramePool();
  const payload = Buffer.alloc(300_000, 7);
  const stream = framed(payload);
  const assembler = new FrameAssembler(1_000_000, pool);
  const seen = new Set<ArrayBufferLike>();
  for (let round = 0; round < 5; round++) {
    for (let at = 0; at < stream.length; at += 65_536) assembler.push(stream.subarray(at, at + 65_536));
    const frame = assembler.next()!;
    expect(frame.equals(payload)).toBe(true);
    seen.add(frame.buffer);
    pool.give(frame);
  }
  expect(seen.size).toBeLessThan(3);
});

test("memory that did not come from the pool is never given out: others may lie in it", () => {
  const pool = new FramePool();
  for (const sizeBytes of [8_192, 65_536]) {
    const shared = Buffer.allocUnsafeSlow(sizeBytes);
    pool.give(shared.subarray(0, 100));
    expect(pool.take(sizeBytes).buffer).not.toBe(shared.buffer);
  }
});
