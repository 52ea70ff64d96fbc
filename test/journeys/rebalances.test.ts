import { expect, test } from "vitest";
import { groupKinds, rebalances } from "./rebalances/campaign.ts";
import { seedOf } from "./seed.ts";

const seed = seedOf("members that come and go");

/** `npm run client-rebalances -- --hours 2` takes hours of virtual time. */
test.for(groupKinds)(
  "%s members that come, go, crash and stand still: nothing acknowledged is lost or skipped, and nothing has two owners",
  async (kind) => {
    const result = await rebalances({ seed, kind, durationMs: 120_000 });
    console.log(`rebalances: ${kind}: ${JSON.stringify(result.counts)}`);
    const again = `npm run client-rebalances -- --seed ${seed} --kind ${kind} --hours ${120 / 3_600} --runs 1`;
    expect(result.problems, again).toEqual([]);
    // A calm run shows nothing.
    expect(result.counts["changes"]).toBeGreaterThan(4);
    expect(result.counts["commits"]).toBeGreaterThan(10);
    expect(result.size?.acknowledged).toBeGreaterThan(500);
  },
);
