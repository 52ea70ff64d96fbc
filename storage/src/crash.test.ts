import { Prng } from "@millrace/base/prng";
import { expect, test } from "vitest";
import { crashSeed, judge, noCrashes, Story } from "../test/crash-story.ts";

/* What fails names its seed. More of them: node --conditions=source storage/test/crash-seeds.ts --seeds 1000 --from 1001 */

const SEEDS = 1000;
const TOGETHER = 25;
const CRASHES = 3;
const counts = noCrashes();

test.for(Array.from({ length: SEEDS / TOGETHER }, (_, index) => index * TOGETHER + 1))(
  "nothing promised is lost with the power: seeds from %i on",
  { timeout: 60_000 },
  async (first) => {
    for (let seed = first; seed < first + TOGETHER; seed++)
      expect(
        await crashSeed(seed, CRASHES, counts),
        `node --conditions=source storage/test/crash-seeds.ts --seeds 1 --from ${seed} --crashes ${CRASHES}`,
      ).toEqual([]);
  },
);

test("the crashes of these seeds tear tails, and leave something to recover, and compacted logs", () => {
  expect(counts.imagesWithCuts).toBeGreaterThan(40);
  expect(counts.recoveredBytes).toBeGreaterThan(10_000_000);
  expect(counts.replayedBytes).toBeGreaterThan(10_000_000);
  expect(counts.compactedImages).toBeGreaterThan(1000);
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
