import { Prng } from "@millrace/base/prng";
import { expect, test } from "vitest";
import { crashSeed, judge, noCrashes, Story } from "../test/crash-story.ts";

/* More seeds: node --conditions=source storage/test/crash-seeds.ts --seeds 1000 */

const SEEDS = 25;
const CRASHES = 20;
const counts = noCrashes();

test.for(Array.from({ length: SEEDS }, (_, index) => index + 1))(
  "nothing promised is lost with the power: seed %i",
  async (seed) => {
    expect(await crashSeed(seed, CRASHES, counts)).toEqual([]);
  },
);

test("the crashes of these seeds tear tails, and leave something to recover", () => {
  expect(counts.imagesWithCuts).toBeGreaterThan(10);
  expect(counts.recoveredBytes).toBeGreaterThan(100_000);
  expect(counts.replayedBytes).toBeGreaterThan(100_000);
});

test.each([0, 131_072] as const)(
  "the test finds a broker that does not sync, with a journal of %i bytes",
  async (journalBytes) => {
    const prng = new Prng(7);
    const { disk } = await Story.live(prng, { journalBytes, isLying: true, steps: 20 });
    const promised = disk.marks.map(({ label }) => label);
    const found: string[] = [];
    for (let round = 0; round < 10; round++) {
      const wrong = await judge(disk.afterPowerLoss(prng), promised, { journalBytes }).catch(String);
      if (wrong !== null) found.push(wrong);
    }
    expect(found.length).toBeGreaterThan(0);
  },
);
