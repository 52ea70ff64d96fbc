import { expect, test } from "vitest";
import { campaign } from "./client/campaign.ts";
import { storm } from "./client/chaos-proxy.ts";
import { skipWhenMissing } from "./journey.ts";
import { whyTargetMissing } from "./target.ts";

/** `npm run client-faults` takes more records and seeds of chance. */
test.for([
  ["millrace", 1, 0],
  ["millrace", 2, 1],
  ["kafka", 3, 0],
] as const)(
  "%s, seed %i: what is acknowledged through a storm is there once and in order (%i kills)",
  { timeout: 180_000 },
  async ([target, seed, killsCount], context) => {
    skipWhenMissing(context, whyTargetMissing(target));
    const sizes = { recordsCount: 3_000, partitionsCount: 3, killsCount };
    const result = await campaign({ seed, target, chaos: storm, ...sizes });
    console.log(`client-faults: ${target}, seed ${seed}: ${JSON.stringify(result)}`);
    const again = `npm run client-faults -- --seed ${seed} --target ${target} --records 3000 --kills ${killsCount}`;
    expect(result.problems, again).toEqual([]);
    expect(result.acknowledged).toBeGreaterThan(2_000);
    expect(result.faults.cut + result.faults.reset + result.faults.stall).toBeGreaterThan(3);
  },
);
