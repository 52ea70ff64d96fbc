import { silentLogger } from "@millrace/base/logger";
import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { expect, test } from "vitest";
import type { TransactionMarker } from "../coordinator/shard-log.ts";
import { MarkerWriter } from "./marker-writer.ts";
import type { MarkerFailure } from "./marker-writer.ts";
import type { MarkersToWrite } from "./types.ts";

interface Tried {
  readonly partition: number;
  readonly marker: TransactionMarker;
  settle(result: Result<void, MarkerFailure>): void;
}

const markers = (producerEpoch: number, partitions: readonly number[] = [0]): MarkersToWrite => ({
  transactionalId: "t",
  producerId: 7,
  producerEpoch,
  outcome: "commit",
  isEpochRaised: true,
  topics: [{ topic: "orders", partitions }],
});

function writerOf(): { readonly clock: VirtualClock; readonly tried: Tried[]; readonly writer: MarkerWriter } {
  const clock = new VirtualClock();
  const tried: Tried[] = [];
  const writer = new MarkerWriter({
    clock,
    logger: silentLogger,
    end: (_topic, partition, marker) =>
      new Promise((settle) => {
        tried.push({ partition, marker, settle });
      }),
  });
  return { clock, tried, writer };
}

const epochs = (tried: readonly Tried[]): readonly number[] => tried.map(({ marker }) => marker.producerEpoch);

test("a marker does not overtake the one before it in its partition, also while that waits for its next try", async () => {
  const { clock, tried, writer } = writerOf();
  const always = (): boolean => true;
  const first = writer.write(markers(1), 5, always);
  const second = writer.write(markers(2, [0, 1]), 5, always);
  await clock.settle();
  expect(tried.map(({ partition, marker }) => [partition, marker.producerEpoch])).toEqual([
    [0, 1],
    [1, 2],
  ]);
  tried[0]!.settle(failed("not-leader"));
  await clock.advance(19);
  expect(tried).toHaveLength(2);
  await clock.advance(1);
  expect(epochs(tried)).toEqual([1, 2, 1]);
  tried[1]!.settle(ok(undefined));
  tried[2]!.settle(ok(undefined));
  expect(await first).toBe(true);
  await clock.settle();
  expect(epochs(tried)).toEqual([1, 2, 1, 2]);
  tried[3]!.settle(ok(undefined));
  expect(await second).toBe(true);
});

test("a marker does not wait for what an incarnation that is gone has left", async () => {
  const { clock, tried, writer } = writerOf();
  let isCurrent = true;
  const first = writer.write(markers(1), 5, () => isCurrent);
  isCurrent = false;
  const second = writer.write(markers(1), 6, () => true);
  await clock.settle();
  expect(tried.map(({ marker }) => marker.coordinatorEpoch)).toEqual([5, 6]);
  tried[1]!.settle(ok(undefined));
  expect(await second).toBe(true);
  tried[0]!.settle(failed("unreachable"));
  await clock.advance(20);
  expect(await first).toBe(false);
  expect(tried).toHaveLength(2);
});
