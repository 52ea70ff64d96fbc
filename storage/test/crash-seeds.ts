import { parseArgs } from "node:util";
import { crashSeed, noCrashes } from "./crash-story.ts";

/** Power losses for as many seeds as are asked for: `--seeds 1000 --from 1 --crashes 20`. Ends with 1 when anything was lost. */
const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    from: { type: "string", default: "1" },
    crashes: { type: "string", default: "20" },
  },
});
const counts = noCrashes();
let failures = 0;
const first = Number(values.from);
for (let seed = first; seed < first + Number(values.seeds); seed++) {
  for (const wrong of await crashSeed(seed, Number(values.crashes), counts)) {
    failures += 1;
    console.log(wrong);
  }
}
console.log(JSON.stringify({ seeds: Number(values.seeds), failures, ...counts }));
process.exitCode = failures === 0 ? 0 : 1;
