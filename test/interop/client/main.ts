import { parseArgs } from "node:util";
import { whyTargetMissing } from "../target.ts";
import type { TargetName } from "../target.ts";
import { campaign } from "./campaign.ts";
import { storm } from "./chaos-proxy.ts";

/**
 * `npm run client-faults -- [--seed N] [--target millrace|kafka] [--records N] [--kills N] [--runs N]`: our client through a proxy that
 * delays, cuts, resets and stalls as the seed says. Each run prints its seed and what came of it; the first with a problem ends it.
 */
const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    target: { type: "string", default: "millrace" },
    records: { type: "string", default: "20000" },
    kills: { type: "string", default: "2" },
    runs: { type: "string", default: "1" },
  },
});
const target = values.target as TargetName;
const missing = whyTargetMissing(target);
if (missing !== null) throw new Error(missing);
const first = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
const [recordsCount, killsCount, runsCount] = [Number(values.records), Number(values.kills), Number(values.runs)];
for (let run = 0; run < runsCount; run++) {
  const seed = first + run;
  const again = `npm run client-faults -- --seed ${seed} --target ${target} --records ${recordsCount} --kills ${killsCount}`;
  console.log(again);
  const result = await campaign({ seed, target, recordsCount, partitionsCount: 5, chaos: storm, killsCount });
  console.log(JSON.stringify({ ...result, problems: result.problems.length }));
  if (result.problems.length === 0) continue;
  console.error(result.problems.slice(0, 20).join("\n"));
  console.error(`again: ${again}`);
  process.exitCode = 1;
  break;
}
