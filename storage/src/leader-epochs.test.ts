import { describe, expect, test } from "vitest";
import { decodeEpochs, encodeEpochs, LeaderEpochs } from "./leader-epochs.ts";
import type { LeaderEpoch, Offset } from "./types.ts";

function epochsOf(...starts: readonly [epoch: number, startOffset: number][]): LeaderEpochs {
  const epochs = new LeaderEpochs();
  for (const [epoch, startOffset] of starts) epochs.assign(epoch as LeaderEpoch, startOffset as Offset);
  return epochs;
}

function shown(epochs: LeaderEpochs): string {
  return epochs
    .all()
    .map(({ epoch, startOffset }) => `${epoch}@${startOffset}`)
    .join(" ");
}

describe("where an epoch ended (KIP-101)", () => {
  test.for<[asked: number, epoch: number, endOffset: number]>([
    [1, 1, 10],
    [2, 2, 100],
    [4, 2, 100],
    [5, 5, 180],
    [6, 6, 200],
    [7, -1, -1],
    [-1, -1, -1],
  ])("epoch %i", ([asked, epoch, endOffset]) => {
    const epochs = epochsOf([2, 10], [5, 100], [6, 180]);
    expect(epochs.endOffset(asked as LeaderEpoch, 200 as Offset)).toEqual({ epoch, endOffset });
  });
});

test("an epoch that begins where an empty one did takes its place", () => {
  expect(shown(epochsOf([1, 0], [2, 10], [3, 10], [3, 11], [2, 12]))).toBe("1@0 3@10");
});

test("an epoch without a record gives way to a batch of an older one, as the next leader may have it", () => {
  const led = epochsOf([1, 0], [2, 10], [4, 20]);
  led.append(3 as LeaderEpoch, 20 as Offset);
  led.append(3 as LeaderEpoch, 25 as Offset);
  expect(shown(led)).toBe("1@0 2@10 3@20");
  const again = epochsOf([1, 0], [4, 20]);
  again.append(1 as LeaderEpoch, 20 as Offset);
  expect(shown(again)).toBe("1@0");
  again.append(5 as LeaderEpoch, 30 as Offset);
  expect(shown(again)).toBe("1@0 5@30");
});

test.for<[offset: number, epoch: number]>([
  [9, -1],
  [10, 2],
  [99, 2],
  [100, 5],
  [500, 6],
])("the epoch at offset %i", ([offset, epoch]) => {
  expect(epochsOf([2, 10], [5, 100], [6, 180]).epochAt(offset as Offset)).toBe(epoch);
});

test("cut from either end", () => {
  const epochs = epochsOf([2, 10], [5, 100], [6, 180]);
  epochs.truncateFromEnd(180 as Offset);
  expect(shown(epochs)).toBe("2@10 5@100");
  epochs.truncateFromStart(50 as Offset);
  expect(shown(epochs)).toBe("2@50 5@100");
  epochs.truncateFromStart(100 as Offset);
  expect(shown(epochs)).toBe("5@100");
});

test("the checkpoint is Kafka's text", () => {
  const epochs = epochsOf([2, 10], [5, 100]);
  expect(encodeEpochs(epochs.all())).toBe("0\n2\n2 10\n5 100\n");
  expect(decodeEpochs("0\n2\n2 10\n5 100\n")).toEqual({ ok: true, value: epochs.all() });
  expect(decodeEpochs("0\n0\n")).toEqual({ ok: true, value: [] });
});

test.for(["1\n0\n", "0\n2\n1 1\n", "0\n1\n1 x\n", "0\n2\n2 10\n1 20\n", ""])("%j is refused", (text) => {
  expect(decodeEpochs(text).ok).toBe(false);
});

test("an epoch that was led without a record gives way to records of the one before", () => {
  const epochs = new LeaderEpochs();
  epochs.assign(9 as LeaderEpoch, 25 as Offset);
  epochs.assign(10 as LeaderEpoch, 70 as Offset);
  epochs.isChanged = false;
  epochs.append(9 as LeaderEpoch, 70 as Offset);
  expect(epochs.all()).toEqual([{ epoch: 9, startOffset: 25 }]);
  expect(epochs.isChanged).toBe(true);
  expect(epochs.endOffset(9 as LeaderEpoch, 78 as Offset)).toEqual({ epoch: 9, endOffset: 78 });
});
