import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { encodeEndTransactionMarker } from "kafka-protocol-ts/records/control";
import { RecordBatchView } from "kafka-protocol-ts/records/batch";
import { crc32c } from "kafka-protocol-ts/records/crc32c";
import { encodeBatch } from "kafka-protocol-ts/records/record";
import { describe, expect, test } from "vitest";
import { decodeSnapshot, encodeSnapshot } from "./producer-snapshot.ts";
import { ProducerStates } from "./producer-state.ts";
import type { Offset } from "./types.ts";

const SEQUENCE_MAX = 2 ** 31 - 1;

interface Sent {
  readonly epoch?: number;
  readonly sequence: number;
  readonly count?: number;
  readonly isTransactional?: boolean;
  readonly timestamp?: number;
}

function batch({ epoch = 0, sequence, count = 1, isTransactional = false, timestamp }: Sent): RecordBatchView {
  const value = Buffer.from("v");
  const records = Array.from({ length: count }, () => (timestamp === undefined ? { value } : { value, timestamp }));
  return new RecordBatchView(
    encodeBatch({ records, producerId: 7, producerEpoch: epoch, baseSequence: sequence, isTransactional }),
  );
}

/** One producer's batches, one after the other, as a log would take them: the answer to each in a few words. */
function script(sent: readonly Sent[], states = new ProducerStates()): string[] {
  let nextOffset = 0;
  return sent.map((each) => {
    const view = batch(each);
    const verdict = states.check(view);
    if (verdict.kind === "refused") return verdict.failure;
    if (verdict.kind === "duplicate") return `duplicate of ${verdict.mark.lastOffset - verdict.mark.offsetDelta}`;
    states.replay(view, nextOffset as Offset);
    nextOffset += each.count ?? 1;
    return `at ${nextOffset - (each.count ?? 1)}`;
  });
}

describe("sequences", () => {
  test.for<[string, readonly Sent[], readonly string[]]>([
    ["one after the other", [{ sequence: 0 }, { sequence: 1, count: 3 }, { sequence: 4 }], ["at 0", "at 1", "at 4"]],
    ["a producer that is not known begins anywhere", [{ sequence: 40 }, { sequence: 41 }], ["at 0", "at 1"]],
    ["a gap", [{ sequence: 0 }, { sequence: 2 }], ["at 0", "sequence-gap"]],
    [
      "the same again",
      [
        { sequence: 0, count: 2 },
        { sequence: 0, count: 2 },
      ],
      ["at 0", "duplicate of 0"],
    ],
    ["the same sequence, another length", [{ sequence: 0, count: 2 }, { sequence: 0 }], ["at 0", "sequence-gap"]],
    [
      "five are known again, the sixth is too old",
      [0, 1, 2, 3, 4, 5, 1, 5, 0].map((sequence) => ({ sequence })),
      ["at 0", "at 1", "at 2", "at 3", "at 4", "at 5", "duplicate of 1", "duplicate of 5", "sequence-gap"],
    ],
    [
      "an older epoch",
      [
        { epoch: 3, sequence: 0 },
        { epoch: 2, sequence: 1 },
      ],
      ["at 0", "stale-producer-epoch"],
    ],
    [
      "a newer epoch begins with 0",
      [{ sequence: 0 }, { epoch: 1, sequence: 1 }, { epoch: 1, sequence: 0 }],
      ["at 0", "sequence-gap", "at 1"],
    ],
    [
      "no duplicate across epochs (R9)",
      [{ sequence: 0 }, { epoch: 1, sequence: 0 }, { epoch: 1, sequence: 0 }],
      ["at 0", "at 1", "duplicate of 1"],
    ],
    [
      "sequences wrap",
      [{ sequence: SEQUENCE_MAX }, { sequence: 0 }, { sequence: SEQUENCE_MAX }],
      ["at 0", "at 1", "duplicate of 0"],
    ],
    [
      "a batch across the wrap",
      [{ sequence: SEQUENCE_MAX - 1, count: 4 }, { sequence: 2 }, { sequence: SEQUENCE_MAX - 1, count: 4 }],
      ["at 0", "at 4", "duplicate of 0"],
    ],
  ])("%s", ([, sent, expected]) => {
    expect(script(sent)).toEqual(expected);
  });
});

function marker(options: {
  readonly epoch?: number;
  readonly isCommit?: boolean;
  readonly coordinatorEpoch?: number;
}): RecordBatchView {
  const { epoch = 0, isCommit = true, coordinatorEpoch = 1 } = options;
  return new RecordBatchView(
    encodeEndTransactionMarker({ isCommit, coordinatorEpoch, producerId: 7, producerEpoch: epoch, timestamp: 5 }),
  );
}

describe("transactions", () => {
  test("the first unstable offset is that of the oldest one under way, and of one whose marker is not yet below the high watermark", () => {
    const states = new ProducerStates();
    expect(states.firstUnstableOffset(100 as Offset)).toBeNull();
    states.replay(batch({ sequence: 0, isTransactional: true, count: 2 }), 10 as Offset);
    states.replay(batch({ sequence: 2, isTransactional: true }), 12 as Offset);
    expect(states.firstUnstableOffset(100 as Offset)).toBe(10);
    const ended = states.replay(marker({ isCommit: false }), 13 as Offset);
    expect(ended).toEqual({ producerId: 7, firstOffset: 10, lastOffset: 13, isAborted: true });
    expect(states.firstUnstableOffset(13 as Offset)).toBe(10);
    expect(states.firstUnstableOffset(14 as Offset)).toBeNull();
    states.forgetDecidedBelow(14 as Offset);
    expect(states.firstUnstableOffset(0 as Offset)).toBeNull();
  });

  test("a marker without records of its transaction here changes nothing but epochs", () => {
    const states = new ProducerStates();
    expect(states.replay(marker({ epoch: 4 }), 0 as Offset)).toBeNull();
    expect(
      script(
        [
          { epoch: 3, sequence: 0 },
          { epoch: 4, sequence: 9 },
        ],
        states,
      ),
    ).toEqual(["stale-producer-epoch", "sequence-gap"]);
  });

  test("a marker with the next epoch (KIP-890) lets sequences begin with 0 again", () => {
    const states = new ProducerStates();
    states.replay(batch({ sequence: 0, isTransactional: true }), 0 as Offset);
    states.replay(marker({ epoch: 1 }), 1 as Offset);
    expect(
      script(
        [
          { epoch: 1, sequence: 1 },
          { epoch: 1, sequence: 0 },
        ],
        states,
      ),
    ).toEqual(["sequence-gap", "at 0"]);
  });

  test("a coordinator that was replaced, and a producer that was fenced, write no markers", () => {
    const states = new ProducerStates();
    states.replay(batch({ epoch: 2, sequence: 0, isTransactional: true }), 0 as Offset);
    states.replay(marker({ epoch: 2, coordinatorEpoch: 5 }), 1 as Offset);
    expect(states.checkMarker(marker({ epoch: 2 }), 4)).toMatchObject({ failure: "stale-coordinator-epoch" });
    expect(states.checkMarker(marker({ epoch: 1 }), 5)).toMatchObject({ failure: "stale-producer-epoch" });
    expect(states.checkMarker(marker({ epoch: 2 }), 5)).toEqual({ kind: "new" });
  });
});

test("silent producers are forgotten, unless a transaction is under way", async () => {
  const states = new ProducerStates();
  const clock = new VirtualClock();
  states.replay(batch({ sequence: 0, isTransactional: true }), 0 as Offset, 0);
  await clock.advance(1_000_000);
  states.expire({ clock, expirationMs: 1000 });
  expect(states.size).toBe(1);
  states.replay(marker({}), 1 as Offset, 999_500);
  states.expire({ clock, expirationMs: 1000 });
  expect(states.size).toBe(1);
  await clock.advance(500);
  states.expire({ clock, expirationMs: 1000 });
  expect(states.size).toBe(0);
});

test("silence is a duration: a wall clock that steps, and records with old times, end it neither early nor late", async () => {
  const clock = new VirtualClock({ startMs: 1_700_000_000_000 });
  const states = new ProducerStates();
  const expirationMs = 86_400_000;
  const left = (): number => {
    states.expire({ clock, expirationMs });
    return states.size;
  };
  states.replay(batch({ sequence: 0 }), 0 as Offset, clock.monotonicMs());
  expect(left()).toBe(1);
  clock.stepWallClock(3 * expirationMs);
  expect(left()).toBe(1);
  clock.stepWallClock(-6 * expirationMs);
  await clock.advance(expirationMs - 1);
  expect(left()).toBe(1);
  await clock.advance(1);
  expect(left()).toBe(0);
  // Of what a start has loaded only the times of its records are known, and how long they have been past since.
  states.replay(batch({ sequence: 0, timestamp: clock.now() - expirationMs + 1000 }), 0 as Offset);
  expect(left()).toBe(1);
  clock.stepWallClock(expirationMs);
  expect(left()).toBe(1);
  await clock.advance(1000);
  expect(left()).toBe(0);
});

describe("snapshot", () => {
  function full(): ProducerStates {
    const states = new ProducerStates();
    script(
      [0, 1, 2, 3, 4, 5, 6].map((sequence) => ({ sequence, epoch: 2 })),
      states,
    );
    states.replay(batch({ sequence: 7, epoch: 2, isTransactional: true }), 7 as Offset);
    return states;
  }

  test("all five batches of the window are known again, and the transaction under way", () => {
    const restored = new ProducerStates();
    expect(decodeSnapshot(encodeSnapshot(full()), restored)).toMatchObject({ ok: true });
    expect([...restored.entries()]).toEqual([...full().entries()]);
    expect(restored.firstUnstableOffset(100 as Offset)).toBe(7);
  });

  test("the format: version 1, CRC-32C of what follows it, a count, 46 bytes an entry", () => {
    const states = new ProducerStates();
    states.replay(batch({ sequence: 3, count: 2 }), 9 as Offset);
    const bytes = encodeSnapshot(states);
    expect(bytes.length).toBe(56);
    expect(bytes.readInt16BE(0)).toBe(1);
    expect(bytes.readUInt32BE(2)).toBe(crc32c(bytes.subarray(6)));
    expect(bytes.readInt32BE(6)).toBe(1);
    const fields = [
      "0000000000000007",
      "0000",
      "00000004",
      "000000000000000a",
      "00000001",
      "ffffffffffffffff",
      "ffffffff",
      "ffffffffffffffff",
    ];
    expect(bytes.subarray(10).toString("hex")).toBe(fields.join(""));
  });

  test.for<[string, (bytes: Buffer) => Buffer]>([
    ["a flipped bit", (bytes) => bytes.fill((bytes[20] ?? 0) ^ 1, 20, 21)],
    ["a missing end", (bytes) => bytes.subarray(0, -1)],
    ["an unknown version", (bytes) => bytes.fill(9, 1, 2)],
    ["nothing", () => Buffer.alloc(0)],
  ])("%s is refused", ([, damage]) => {
    expect(decodeSnapshot(damage(encodeSnapshot(full())), new ProducerStates()).ok).toBe(false);
  });
});
