import { failed, ok } from "@millrace/base/result";
import type { MetadataImage, PartitionAt } from "../image.ts";
import type { PartitionChangeRecord } from "../records.ts";
import type { Decision, DecisionContext, ItemResult } from "./decision.ts";
import { changeOf } from "./partition-changes.ts";

/** What a client may ask for (KIP-460). */
export type ElectionKind = "preferred" | "unclean";

/** Kafka's numbers; from outside, so it may be anything. */
export function electionKindOf(code: number): ItemResult<ElectionKind> {
  if (code === 0) return ok("preferred");
  return code === 1 ? ok("unclean") : failed("bad-request", `Unknown election type ${code}`);
}

export interface PartitionName {
  readonly topic: string;
  readonly partitionIndex: number;
}

export interface ElectionResult extends PartitionName {
  readonly result: ItemResult<null>;
}

/** ElectLeaders (43). Null means all partitions, and names in the answer those that were in need of an election. */
export function electLeaders(
  context: DecisionContext,
  kind: ElectionKind,
  names: readonly PartitionName[] | null,
): Decision<readonly ElectionResult[]> {
  const records: PartitionChangeRecord[] = [];
  const results: ElectionResult[] = [];
  /** A partition that is named twice is elected for once: the second election is decided when the first has its leader. */
  const elected = new Set<string>();
  for (const name of names ?? allPartitions(context.image)) {
    const key = `${name.topic} ${name.partitionIndex}`;
    const outcome = elected.has(key) ? failed("election-not-needed" as const) : elect(context, kind, name);
    if (outcome.ok) {
      records.push(outcome.value);
      elected.add(key);
    }
    if (names === null && !outcome.ok && outcome.failure === "election-not-needed") continue;
    results.push({ ...name, result: outcome.ok ? ok(null) : outcome });
  }
  return { response: results, records };
}

function* allPartitions(image: MetadataImage): Generator<PartitionName> {
  for (const { name, partitions } of image.topics()) {
    for (const { index } of partitions) yield { topic: name, partitionIndex: index };
  }
}

function elect(
  context: DecisionContext,
  kind: ElectionKind,
  { topic: name, partitionIndex }: PartitionName,
): ItemResult<PartitionChangeRecord> {
  const topic = context.image.topic(name);
  if (topic === undefined) return failed("unknown-topic", `No such topic as ${name}`);
  const partition = topic.partitions[partitionIndex];
  if (partition === undefined) return failed("unknown-topic", `No such partition as ${name}-${partitionIndex}`);
  const { leader, replicas } = partition;
  if (kind === "preferred" ? leader === replicas[0] : leader !== -1) return failed("election-not-needed");
  const change = changeOf(context, { topic, partition }, { election: kind });
  if (change !== null && change.leader !== leader) return ok(change);
  return failed(kind === "preferred" ? "preferred-leader-not-available" : "eligible-leaders-not-available");
}

/** As many as Kafka's controller moves at a time. */
const electionsMax = 1000;

export interface RebalanceOutcome {
  /** More are left: this is to be decided again at once. */
  readonly hasMore: boolean;
}

/** Leadership goes back to the preferred replicas that can take it: `auto.leader.rebalance.enable`, from time to time. */
export function rebalanceLeaders(context: DecisionContext): Decision<RebalanceOutcome> {
  return changesOfMany(context.image, ({ topic, partition }) => {
    if (partition.leader === partition.replicas[0]) return null;
    return changeOf(context, { topic, partition }, { election: "preferred" });
  });
}

/**
 * Partitions that nobody leads and that could be led: by a replica that may lack records where
 * `unclean.leader.election.enable` has been set since, or by who led last (KIP-966).
 */
export function electMissingLeaders(context: DecisionContext): Decision<RebalanceOutcome> {
  return changesOfMany(context.image, (at) => (at.partition.leader === -1 ? changeOf(context, at, {}) : null));
}

function changesOfMany(
  image: MetadataImage,
  change: (at: PartitionAt) => PartitionChangeRecord | null,
): Decision<RebalanceOutcome> {
  const records: PartitionChangeRecord[] = [];
  for (const topic of image.topics()) {
    for (const partition of topic.partitions) {
      const record = change({ topic, partition });
      if (record === null) continue;
      if (records.length === electionsMax) return { response: { hasMore: true }, records };
      records.push(record);
    }
  }
  return { response: { hasMore: false }, records };
}
