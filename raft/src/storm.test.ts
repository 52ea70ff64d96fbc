import { describe, expect, test } from "vitest";
import { Storm } from "../test/storm.ts";

/** In `npm test` a million steps; `RAFT_STEPS` and `RAFT_SEED` for more, or one again. */
const stepsInAll = Number(process.env["RAFT_STEPS"] ?? 1_000_000);
const stepsEach = 5_000;

describe("storms", () => {
  test("whatever is lost, doubled, overtaken, cut and crashed: one leader a term, one log, and all come to it", () => {
    const firstSeed = Number(process.env["RAFT_SEED"] ?? Math.floor(Math.random() * 2 ** 32));
    const sums = { steps: 0, storms: 0, committed: 0, elections: 0, snapshots: 0, reads: 0, recoveries: 0 };
    const beganMs = performance.now();
    while (sums.steps < stepsInAll) {
      const storm = new Storm(firstSeed + sums.storms);
      storm.run(stepsEach);
      storm.calm();
      sums.storms++;
      sums.steps += storm.steps;
      sums.committed += storm.committedCount;
      sums.elections += storm.electionsCount;
      sums.snapshots += storm.snapshotsCount;
      sums.reads += storm.readsCount;
      sums.recoveries += storm.recoveriesCount;
    }
    const perSecond = Math.round((1000 * sums.steps) / (performance.now() - beganMs));
    console.log(`raft: ${JSON.stringify(sums)}, ${perSecond} steps/s, first seed ${firstSeed}`);
    // A storm in which nothing happens shows nothing.
    expect(sums.committed).toBeGreaterThan(sums.storms * 20);
    expect(sums.recoveries).toBeGreaterThan(sums.storms / 10);
    for (const each of [sums.elections, sums.snapshots, sums.reads]) expect(each).toBeGreaterThan(sums.storms);
  }, 240_000);
});
