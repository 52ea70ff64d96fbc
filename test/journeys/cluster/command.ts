import { spawn } from "node:child_process";
import { once } from "node:events";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { runCluster } from "@millrace/simulator/cluster/run";
import type { RunReport } from "@millrace/simulator/cluster/run";
import { failureText, reportLine } from "./report.ts";

const entry = fileURLToPath(new URL("../crash-command.ts", import.meta.url));

/**
 * `npm run simulate -- --cluster --seeds 1000 [--seed 7] [--jobs 2] [--seconds 60] [--lines 500]`: whole clusters in virtual time, one
 * for each seed, several processes at a time. It ends after so many seeds, or so many seconds. A failure says what the seed had drawn
 * and how to have it again; `--lines` puts the end of its story before.
 */
export async function clusterCommand(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      cluster: { type: "boolean" },
      seed: { type: "string", default: `${Math.floor(Math.random() * 2 ** 31)}` },
      seeds: { type: "string", default: "100" },
      step: { type: "string", default: "1" },
      seconds: { type: "string", default: "1000000" },
      jobs: { type: "string" },
      lines: { type: "string", default: "0" },
    },
  });
  const first = Number(values.seed);
  const seeds = Number(values.seeds);
  const jobs = Math.min(seeds, Number(values.jobs ?? availableParallelism()));
  const startedMs = performance.now();
  const given = {
    first,
    seeds,
    seconds: Number(values.seconds),
    lines: Number(values.lines),
    step: Number(values.step),
  };
  const done = jobs === 1 ? await runSeeds(given) : await shareOut(given, jobs);
  if (values.step !== "1") return;
  const hours = (performance.now() - startedMs) / 3_600_000;
  console.log(`${done} seeds from ${first} on, ${(done / hours).toFixed(0)} an hour`);
}

interface Given {
  readonly first: number;
  readonly seeds: number;
  readonly step: number;
  readonly seconds: number;
  readonly lines: number;
}

async function runSeeds({ first, seeds, step, seconds, lines }: Given): Promise<number> {
  const rejected: unknown[] = [];
  process.on("unhandledRejection", (reason) => rejected.push(reason));
  const startedMs = performance.now();
  let done = 0;
  for (; done < seeds && performance.now() - startedMs < seconds * 1_000; done++) {
    const seed = first + done * step;
    const beganMs = performance.now();
    const report = withRejected(await runCluster({ seed }), rejected.splice(0));
    console.log(reportLine(report, performance.now() - beganMs));
    if (report.problems.length === 0) continue;
    console.log(failureText(report, lines));
    process.exitCode = 1;
  }
  return done;
}

function withRejected(report: RunReport, rejected: readonly unknown[]): RunReport {
  const texts = rejected.map(
    (reason) => `nobody has caught ${reason instanceof Error ? reason.stack : String(reason)}`,
  );
  return { ...report, problems: [...report.problems, ...texts] };
}

/** Each process takes every so manieth seed. */
async function shareOut({ first, seeds, seconds, lines }: Given, jobs: number): Promise<number> {
  const counts = await Promise.all(
    Array.from({ length: jobs }, async (_, index) => {
      const share = Math.floor(seeds / jobs) + (index < seeds % jobs ? 1 : 0);
      const args = [
        "--cluster",
        "--jobs",
        "1",
        "--step",
        `${jobs}`,
        "--seed",
        `${first + index}`,
        "--seeds",
        `${share}`,
      ];
      const limits = ["--seconds", `${seconds}`, "--lines", `${lines}`];
      const child = spawn(process.execPath, [...process.execArgv, entry, ...args, ...limits], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      let text = "";
      child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
        process.stdout.write(chunk);
      });
      const [code] = (await once(child, "close")) as [number | null];
      if (code !== 0) process.exitCode = 1;
      return text.match(/^seed \d+: (ok|\d+ PROBLEMS),/gm)?.length ?? 0;
    }),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}
