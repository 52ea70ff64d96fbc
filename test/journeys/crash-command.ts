import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { clusterCommand } from "./cluster/command.ts";
import { crashCampaign } from "./crash/campaign.ts";
import { failureText, reportLine } from "./crash/report.ts";

const args = process.argv.slice(2);
if (args.includes("--cluster")) await clusterCommand(args);
else await crashCommand();

/**
 * `npm run simulate -- --seed N --points 1000`: the crashes of `crash.test.ts`, more of them. `--runs K` takes K seeds one
 * after the other, `--real` records over the real disk, clock and network, where a seed brings the crashes back but not
 * the run.
 */
async function crashCommand(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seed: { type: "string", default: `${Math.floor(Math.random() * 2 ** 31)}` },
      points: { type: "string", default: "1000" },
      requests: { type: "string", default: "40" },
      runs: { type: "string", default: "1" },
      real: { type: "boolean", default: false },
    },
  });

  let failed = 0;
  for (let run = 0; run < Number(values.runs); run++) {
    const seed = Number(values.seed) + run;
    const directory = values.real ? await mkdtemp(join(tmpdir(), "millrace-crash-")) : undefined;
    const startedMs = performance.now();
    const report = await crashCampaign({
      seed,
      points: Number(values.points),
      requests: Number(values.requests),
      ...(directory === undefined ? {} : { directory }),
    });
    if (directory !== undefined) await rm(directory, { recursive: true, force: true });
    console.log(`${reportLine(seed, report)} in ${((performance.now() - startedMs) / 1000).toFixed(1)} s`);
    for (const failure of report.failures) console.log(failureText(failure));
    failed += report.failures.length;
  }
  process.exitCode = failed === 0 ? 0 : 1;
}
