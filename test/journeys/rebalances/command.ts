import { parseArgs } from "node:util";
import { groupKinds, rebalances } from "./campaign.ts";
import type { GroupKind } from "./campaign.ts";

/**
 * `npm run client-rebalances -- [--seed N] [--kind classic|consumer|both] [--hours H] [--runs K]`: hours of virtual time in which
 * members come, go, crash and stand still, connections break and the broker starts anew elsewhere. Each run prints its seed and
 * what came of it; the first with a problem ends it. Without a kind they take turns.
 */
const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    kind: { type: "string" },
    hours: { type: "string", default: "1" },
    runs: { type: "string", default: "3" },
  },
});
const first = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
const kinds: readonly GroupKind[] = values.kind === undefined ? groupKinds : [values.kind as GroupKind];
for (let run = 0; run < Number(values.runs); run++) {
  const seed = first + run;
  const kind = kinds[run % kinds.length] ?? "classic";
  const again = `npm run client-rebalances -- --seed ${seed} --kind ${kind} --hours ${values.hours} --runs 1`;
  console.log(again);
  const startedMs = performance.now();
  const result = await rebalances({ seed, kind, durationMs: Number(values.hours) * 3_600_000 });
  const { problems, counts, size, story } = result;
  console.log(
    JSON.stringify({ problems: problems.length, counts, size, seconds: (performance.now() - startedMs) / 1_000 }),
  );
  if (problems.length === 0) continue;
  console.error([...story, "", ...problems.slice(0, 20), `again: ${again}`].join("\n"));
  process.exitCode = 1;
  break;
}
