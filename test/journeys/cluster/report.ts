import { faultNames } from "@millrace/simulator/cluster/drawn";
import type { RunReport } from "@millrace/simulator/cluster/run";

export function replayCommand(seed: number): string {
  return `npm run simulate -- --cluster --seed ${seed} --seeds 1`;
}

export function reportLine({ seed, hash, virtualMs, counts, problems }: RunReport, realMs: number): string {
  const outcome = problems.length === 0 ? "ok" : `${problems.length} PROBLEMS`;
  const times = `${(virtualMs / 1_000).toFixed(0)} s in ${(realMs / 1_000).toFixed(1)} s`;
  return `seed ${seed}: ${outcome}, ${times}, trace ${hash}, ${JSON.stringify(counts)}`;
}

/** What went wrong, what the seed had drawn, and how to have it again. */
export function failureText({ seed, drawn, problems, lines }: RunReport, linesMax: number): string {
  const left = faultNames.filter((name) => !drawn.faults.includes(name));
  return [
    ...(linesMax === 0 ? [] : lines.slice(-linesMax)),
    `seed ${seed}:`,
    ...problems.slice(0, 20).map((problem) => `  ${problem.slice(0, 1_500)}`),
    `drawn: ${JSON.stringify(drawn)}`,
    `left out: ${left.join(", ")}`,
    `again: ${replayCommand(seed)}`,
  ].join("\n");
}
