import type { Prng } from "@millrace/base/prng";
import type { NodeRole } from "./node.ts";

export const faultNames = [
  "crash of a process",
  "loss of power",
  "loss of power of all",
  "pause",
  "slow disk",
  "failed sync",
  "failed write",
  "full disk",
  "cut",
  "partition",
  "one-way partition",
  "slow network",
  "restart",
  "storm of elections",
  "bit rot",
  "misdirected write",
  "loss of power after an acknowledgement",
] as const;
export type FaultName = (typeof faultNames)[number];

/** What they spoil is found, and is not mended: where one of them is drawn, nobody has to get on in the end. */
export const spoilingFaults: readonly FaultName[] = ["bit rot", "misdirected write"];

/** It comes beside the others, or alone. */
const lastFault: FaultName = "loss of power after an acknowledgement";

export const workloadNames = ["writers", "group", "transfers", "admin"] as const;
/** Beside the others, and seldom. */
export const furtherWorkloadNames = ["table", "retained", "moves"] as const;
export type WorkloadName = (typeof workloadNames)[number] | (typeof furtherWorkloadNames)[number];

/** What a seed has drawn: each run leaves some faults out, so that the others get far. */
export interface Drawn {
  readonly nodes: number;
  readonly replicas: number;
  readonly minInSync: number;
  readonly partitions: number;
  readonly faults: readonly FaultName[];
  /** Of virtual time: between two faults, on the average. */
  readonly faultPauseMs: number;
  readonly faultyMs: number;
  /** How far the wall clocks of the nodes are apart at most. */
  readonly wallSkewMs: number;
  readonly workloads: readonly WorkloadName[];
  readonly protocol: "classic" | "consumer";
  readonly settings: Readonly<Record<string, string>>;
  readonly topicConfig: Readonly<Record<string, string>>;
  /** Of each node. */
  readonly roles: readonly NodeRole[];
  /** What nodes have on their disks of the metadata rots while they are down. */
  readonly losesMetadata: boolean;
}

/**
 * @param only leaves just these faults; empty: none happens.
 * @param apart a stream of its own for what was added, so that no other draw of a seed is another one for it.
 */
export function draw(prng: Prng, apart: Prng, only: readonly FaultName[] | null = null): Drawn {
  const nodes = prng.pick([3, 3, 3, 3, 4, 5]);
  const replicas = prng.pick([3, 3, 3, 3, 2, 1, nodes]);
  const minInSync = prng.between(1, Math.max(1, replicas - 1));
  const likelihood = prng.pick([0.15, 0.3, 0.5, 0.8]);
  const isSpoiling = prng.chance(0.05);
  const drawnFaults = faultNames
    .filter((name) => name !== lastFault)
    .filter((name) => (spoilingFaults.includes(name) ? isSpoiling && prng.chance(0.7) : prng.chance(likelihood)));
  const workloads: WorkloadName[] = workloadNames.filter(() => prng.chance(0.6));
  if (workloads.length === 0) workloads.push(prng.pick(workloadNames));
  const sessionMs = prng.pick([1_000, 2_000, 4_000]);
  const internalPartitions = `${prng.between(1, 3)}`;
  const drawn: Drawn = {
    nodes,
    replicas,
    minInSync,
    partitions: prng.between(1, 3),
    faults: only === null ? drawnFaults : faultNames.filter((name) => only.includes(name)),
    faultPauseMs: prng.pick([100, 300, 800, 2_000]),
    faultyMs: prng.between(3_000, 12_000),
    wallSkewMs: prng.pick([0, 0, 100, 60_000]),
    workloads,
    protocol: prng.pick(["classic", "consumer"]),
    settings: {
      "default.replication.factor": `${replicas}`,
      "min.insync.replicas": `${minInSync}`,
      "offsets.topic.replication.factor": `${replicas}`,
      "offsets.topic.num.partitions": internalPartitions,
      "transaction.state.log.replication.factor": `${replicas}`,
      "transaction.state.log.num.partitions": internalPartitions,
      "broker.session.timeout.ms": `${sessionMs}`,
      "broker.heartbeat.interval.ms": `${sessionMs / 4}`,
      "replica.lag.time.max.ms": `${prng.pick([500, 1_500, 5_000])}`,
      "replica.fetch.wait.max.ms": `${prng.pick([50, 200, 450])}`,
      "replica.fetch.backoff.ms": `${prng.pick([50, 300, 1_000])}`,
      "replica.high.watermark.checkpoint.interval.ms": `${prng.pick([100, 1_000, 5_000])}`,
      "log.flush.offset.checkpoint.interval.ms": `${prng.pick([200, 2_000, 60_000])}`,
      "metadata.log.max.record.bytes.between.snapshots": `${prng.pick([500, 2_000, 20_000, 20_971_520])}`,
      "millrace.journal.bytes": `${prng.pick([1_048_576, 67_108_864])}`,
      "group.initial.rebalance.delay.ms": "100",
      "group.min.session.timeout.ms": "1000",
      "group.consumer.min.session.timeout.ms": "1000",
      "group.consumer.session.timeout.ms": "3000",
      "group.consumer.min.heartbeat.interval.ms": "100",
      "group.consumer.heartbeat.interval.ms": "500",
    },
    topicConfig: prng.chance(0.5) ? {} : { "segment.ms": `${prng.pick([300, 2_000])}` },
    roles: drawRoles(apart, nodes),
    losesMetadata: apart.chance(0.15) && only === null,
  };
  // The last fault needs all nodes to be there, and some seconds afterwards in which nothing else happens.
  const isLast = apart.chance(0.3);
  const before = apart.chance(0.5) ? [] : drawn.faults;
  workloads.push(...furtherWorkloadNames.filter(() => apart.chance(0.25)));
  const settings = { ...drawn.settings, ...soonSettings };
  return { ...drawn, settings, faults: isLast && only === null ? [...before, lastFault] : drawn.faults };
}

/** What a broker does once in minutes, it does while a run lasts. */
const soonSettings: Readonly<Record<string, string>> = {
  "log.retention.check.interval.ms": "500",
  "log.cleaner.backoff.ms": "200",
};

/** Most often each node is both; else some are apart, and there are more nodes. */
function drawRoles(prng: Prng, nodes: number): readonly NodeRole[] {
  const all = (role: NodeRole, count: number): NodeRole[] => Array.from({ length: count }, () => role);
  const kind = prng.pick(["both", "both", "both", "both", "both", "both", "apart", "one more broker"] as const);
  if (kind === "both") return all("both", nodes);
  if (kind === "apart") return [...all("broker", nodes), ...all("controller", 3)];
  return [...all("both", nodes), "broker"];
}
