import fc from "fast-check";
import { expect, test } from "vitest";
import { AnswerAssembler } from "./answer-assembler.ts";

const seed = Number(process.env["SEED"] ?? fc.sample(fc.noBias(fc.nat()), 1)[0]);

function framed(answer: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeInt32BE(answer.length);
  return Buffer.concat([length, answer]);
}

/** As a socket does it: where memory is offered the bytes are read there, else into a buffer that the next read writes over. */
function feed(assembler: AnswerAssembler, bytes: Buffer, sizes: readonly number[]): void {
  const shared = Buffer.alloc(70_000);
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const into = assembler.memory() ?? shared;
    const count = Math.min(sizes[turn % sizes.length] ?? 1, into.length, bytes.length - at);
    bytes.copy(into, 0, at, at + count);
    at += count;
    assembler.push(into.subarray(0, count));
    shared.fill(0xdb);
  }
}

test(`answers are what was sent, however it is cut, and stay so (SEED=${seed})`, () => {
  const size = fc.oneof(fc.integer({ min: 4, max: 300 }), fc.integer({ min: 4, max: 400_000 }));
  fc.assert(
    fc.property(
      fc.array(size, { minLength: 1, maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 70_000 }), { minLength: 1, maxLength: 5 }),
      (answerSizes, chunkSizes) => {
        const sent = answerSizes.map((sizeBytes, at) => Buffer.alloc(sizeBytes, `answer ${at} of ${sizeBytes} `));
        const got: Buffer[] = [];
        const assembler = new AnswerAssembler(1_000_000, (answer) => void got.push(answer));
        feed(assembler, Buffer.concat(sent.map(framed)), chunkSizes);
        expect(got.length).toBe(sent.length);
        for (const [at, answer] of sent.entries()) expect(got[at]?.equals(answer)).toBe(true);
      },
    ),
    { seed, numRuns: 200 },
  );
});

test("a length is not believed: memory comes with the bytes, until as many came before", () => {
  const got: Buffer[] = [];
  const assembler = new AnswerAssembler(1 << 30, (answer) => void got.push(answer));
  const length = Buffer.alloc(4);
  length.writeInt32BE(500_000_000);
  assembler.push(length);
  const offered: number[] = [];
  for (let filledBytes = 0; filledBytes < 1_000_000; filledBytes += 50_000) {
    assembler.push(Buffer.alloc(50_000));
    offered.push((assembler.memory()?.length ?? 0) + filledBytes + 50_000);
  }
  for (const [at, wholeBytes] of offered.entries()) expect(wholeBytes).toBeLessThanOrEqual(4 * 50_000 * (at + 1));
});

test.for([-1, 0, 3, 101])("a length of %i is none", (sizeBytes) => {
  const assembler = new AnswerAssembler(100, () => undefined);
  const length = Buffer.alloc(4);
  length.writeInt32BE(sizeBytes);
  assembler.push(length.subarray(0, 2));
  expect(() => assembler.push(length.subarray(2))).toThrow(`an answer claims ${sizeBytes} bytes (4 to 100)`);
});
