import { describe, expect, test } from "vitest";
import { ControllerStorm } from "../../../test/controller-storm.ts";
import type { StormCounts } from "../../../test/controller-storm.ts";
import { ReplayedImage } from "../image.ts";

/** `CONTROLLER_STEPS` for more of them, `CONTROLLER_SEED` for one again. */
const stepsInAll = Number(process.env["CONTROLLER_STEPS"] ?? 60_000);
const stepsEach = 600;

describe("storms", () => {
  test("whatever becomes of brokers and topics: what was acknowledged is with whoever leads, and all comes to rest", () => {
    const firstSeed = Number(process.env["CONTROLLER_SEED"] ?? Math.floor(Math.random() * 2 ** 32));
    const sums: Record<string, number> = {};
    let storms = 0;
    for (; storms * stepsEach < stepsInAll; storms++) {
      const storm = new ControllerStorm(firstSeed + storms);
      try {
        for (let step = 0; step < stepsEach; step++) storm.step();
        expectSnapshotsToBeWhole(storm.image);
        storm.calm();
      } catch (error) {
        throw new Error(`storm with CONTROLLER_SEED=${firstSeed + storms}, step ${storm.counts.steps}`, {
          cause: error,
        });
      }
      for (const [name, count] of Object.entries(storm.counts)) sums[name] = (sums[name] ?? 0) + count;
    }
    console.log(`controller: ${JSON.stringify(sums)}, ${storms} storms, first seed ${firstSeed}`);
    const happens: readonly (keyof StormCounts)[] = ["elections", "committed", "movesEnded"];
    for (const name of happens) expect(sums[name]).toBeGreaterThan(storms);
    const happensNowAndThen: readonly (keyof StormCounts)[] = ["uncleanElections", "eligibleLeadersElected"];
    for (const name of happensNowAndThen) expect(sums[name]).toBeGreaterThan(0);
  }, 240_000);
});

function expectSnapshotsToBeWhole(image: ReplayedImage): void {
  const again = new ReplayedImage();
  again.restore([...image.records()], image.offset);
  expect([...again.records()]).toEqual([...image.records()]);
  for (const id of image.brokers.keys()) {
    const names = [again, image].map((each) =>
      [...each.partitionsOf(id)].map(({ topic, partition }) => `${topic.name}-${partition.index}`).sort(),
    );
    expect(names[0]).toEqual(names[1]);
  }
}
