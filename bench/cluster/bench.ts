import { availableParallelism, loadavg, tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { whyTargetMissing } from "../../test/interop/target.ts";
import { printLine } from "../measure.ts";
import { measureControlled } from "./controlled.ts";
import { measureCreate } from "./create.ts";
import { measureFailover } from "./failover.ts";
import { measureReplicated } from "./replicated.ts";
import { measureRolling } from "./rolling.ts";
import { Subject } from "./subject.ts";
import type { SubjectName } from "./subject.ts";

/** What a bench prints. */
export type Line = Record<string, string | number | boolean>;

export interface Extent {
  /** Of this visit to the cluster: each cluster is visited several times, in turn with the other one. */
  readonly rounds: number;
  readonly seconds: number;
  readonly directory: string;
}

/** One visit: what was measured, by name, all values of all rounds. */
export type Measured = Readonly<Record<string, readonly number[]>>;

export interface ClusterBench {
  readonly visits: number;
  readonly rounds: number;
  readonly seconds: number;
  visit(subject: Subject, extent: Extent): Promise<Measured>;
  /** From all that was measured of each. */
  judge(ours: Measured | null, kafka: Measured | null): Line;
}

const benches: Readonly<Record<string, ClusterBench>> = {
  failover: measureFailover,
  controlled: measureControlled,
  rolling: measureRolling,
  create: measureCreate,
  replicated: measureReplicated,
};

/**
 * `npm run bench -- failover|controlled|rolling|create|replicated [--visits N] [--rounds N] [--seconds N]
 * [--target millrace|kafka] [--directory DIR] [--profile DIR]`
 *
 * Three nodes of Millrace, then three of Apache Kafka, and both again: replication factor 3, min.insync.replicas 2, everything
 * else as they are shipped. Only one cluster runs at a time: they would take each other's processor while they elect, and a
 * cluster that is frozen meanwhile would come back to sessions that are over.
 */
export async function run(name: string, args: readonly string[] = []): Promise<void> {
  const bench = benches[name];
  if (bench === undefined) throw new Error(`no such bench: ${name}`);
  const { values } = parseArgs({
    args: [...args],
    options: {
      visits: { type: "string", default: `${bench.visits}` },
      rounds: { type: "string", default: `${bench.rounds}` },
      seconds: { type: "string", default: `${bench.seconds}` },
      target: { type: "string" },
      directory: { type: "string", default: tmpdir() },
      profile: { type: "string" },
    },
  });
  const names = (["millrace", "kafka"] as const).filter((each) => (values.target ?? each) === each);
  // The producers and tools are Apache Kafka's, too.
  const missing = whyTargetMissing("kafka");
  if (missing !== null) throw new Error(missing);
  const { directory, profile } = values;
  const nodeArguments = profile === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profile}`];
  const extent = { rounds: Number(values.rounds), seconds: Number(values.seconds), directory };
  const found = new Map<SubjectName, Record<string, number[]>>();
  for (let visit = 0; visit < Number(values.visits); visit++) {
    for (const each of visit % 2 === 0 ? names : names.toReversed()) {
      await using subject = await Subject.start(each, { directory, nodeArguments });
      const measured = await bench.visit(subject, extent);
      add(found, each, measured);
      console.error(`${name}, visit ${visit + 1}: ${each} ${textOf(measured)}`);
      if (profile === undefined || each === "kafka") continue;
      // A profile is written by a process that ends by itself.
      for (const nodeId of subject.nodes.nodeIds) await subject.nodes.stop(nodeId);
    }
  }
  const line = bench.judge(found.get("millrace") ?? null, found.get("kafka") ?? null);
  const machine = { cores: availableParallelism(), loadAverage: Number((loadavg()[0] ?? 0).toFixed(1)) };
  printLine({ bench: name, ...line, ...machine });
}

function add(found: Map<SubjectName, Record<string, number[]>>, name: SubjectName, measured: Measured): void {
  const all = found.get(name) ?? {};
  found.set(name, all);
  for (const [what, values] of Object.entries(measured)) (all[what] ??= []).push(...values);
}

function textOf(measured: Measured): string {
  return Object.entries(measured)
    .map(([what, values]) => `${what} ${values.map((value) => Number(value.toPrecision(4))).join(" ")}`)
    .join(", ");
}
