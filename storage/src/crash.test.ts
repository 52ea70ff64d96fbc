import { Prng } from "@millrace/base/prng";
import { expect, test } from "vitest";
import { crashSeed, judge, live } from "../test/crash-story.ts";
import type { CrashCounts } from "../test/crash-story.ts";

/* More seeds: node --conditions=source storage/test/crash-seeds.ts --seeds 1000 */

const SEEDS = 25;
const CRASHES = 12;
const counts: CrashCounts = { crashes: 0, acknowledged: 0, recoveredBytes: 0, imagesWithCuts: 0 };

test.for(Array.from({ length: SEEDS }, (_, index) => index + 1))(
  "nothing acknowledged is lost with the power: seed %i",
  async (seed) => {
    expect(await crashSeed(seed, CRASHES, counts)).toEqual([]);
  },
);

test("the crashes of these seeds tear tails, and leave something to recover", () => {
  expect(counts.imagesWithCuts).toBeGreaterThan(10);
  expect(counts.recoveredBytes).toBeGreaterThan(100_000);
});

test("the test finds a broker that does not sync", async () => {
  const prng = new Prng(7);
  const { disk, topics } = await live(prng, { isLying: true, steps: 20 });
  const acknowledged = disk.marks.map(({ label }) => label);
  const found: string[] = [];
  for (let round = 0; round < 10; round++) {
    const wrong = await judge(disk.afterPowerLoss(prng), acknowledged, topics).catch(String);
    if (wrong !== null) found.push(wrong);
  }
  expect(found.length).toBeGreaterThan(0);
});
