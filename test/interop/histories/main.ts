import { parseArgs } from "node:util";
import { whyMissing } from "../runtimes.ts";
import { whyTargetMissing, type TargetName } from "../target.ts";
import { campaign } from "./campaign.ts";
import { faultNames, workerFaults } from "./nemesis.ts";
import { ClusterStage, clusterFaultNames } from "../cluster/stage.ts";

/**
 * `npm run histories -- --seconds 60 --seed N`: clients work while processes are killed and paused, and their histories
 * are checked. `--target kafka` runs Apache Kafka, `--target cluster` three nodes of Millrace with faults of their own, `--faults "kill broker,zombie"` some faults only, or none, `--runs K`
 * takes K seeds one after the other, `--keep` leaves the notes of the clients.
 */
const { values } = parseArgs({
  options: {
    seed: { type: "string", default: `${Math.floor(Math.random() * 2 ** 31)}` },
    seconds: { type: "string", default: "60" },
    runs: { type: "string", default: "1" },
    target: { type: "string", default: "millrace" },
    faults: { type: "string" },
    keep: { type: "boolean", default: false },
  },
});

const isCluster = values.target === "cluster";
const possible: readonly string[] = isCluster ? [...clusterFaultNames, ...Object.keys(workerFaults)] : faultNames;
const target = isCluster ? async () => await ClusterStage.start() : (values.target as TargetName);
const names = (values.faults ?? possible.join()).split(",").filter((name) => name !== "" && name !== "none");
const unknown = names.filter((name) => !possible.includes(name));
const problem =
  unknown.length > 0
    ? `unknown fault ${unknown.join(", ")}: choose from ${possible.join(", ")}`
    : !["millrace", "millrace-dist", "kafka", "cluster"].includes(values.target)
      ? `unknown target ${values.target}: choose from millrace, millrace-dist, kafka, cluster`
      : (whyMissing("java") ??
        whyMissing("python") ??
        whyTargetMissing(isCluster ? "millrace" : (values.target as TargetName)));
if (problem === null) {
  for (let run = 0; run < Number(values.runs); run++) {
    const seed = Number(values.seed) + run;
    console.log(`seed ${seed} against ${values.target} for ${values.seconds} s`);
    const report = await campaign({
      seed,
      seconds: Number(values.seconds),
      target,
      faults: names,
      isKept: values.keep,
      note: console.log,
    });
    for (const line of report.findings) console.log(line);
    const { size, longestGapMs, faults, directory } = report;
    console.log(
      `${report.findings.length === 0 ? "nothing" : "ANOMALIES"} found: ${size.events} events, ${size.acknowledged} sends acknowledged and ${size.indeterminate} not, ${size.read} records read, transactions: ${size.committed} committed, ${size.aborted} aborted, ${size.undecided} undecided; ${faults.length} faults, longest gap ${Math.round(longestGapMs)} ms`,
    );
    if (directory !== null) console.log(`the notes of all clients are in ${directory}`);
    if (report.findings.length > 0) process.exitCode = 1;
  }
} else {
  console.error(problem);
  process.exitCode = 2;
}
