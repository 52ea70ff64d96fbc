import { failed, ok } from "@millrace/base/result";
import type { BrokerImage, MetadataImage } from "../image.ts";
import type { ItemResult } from "./decision.ts";

/** Brokers that may be given partitions. */
export function aliveBrokers(image: MetadataImage): BrokerImage[] {
  return [...image.brokers.values()].filter(({ isFenced }) => !isFenced).sort((a, b) => a.id - b.id);
}

/**
 * Replicas for each of `count` partitions, the first one of a partition leads.
 *
 *     brokers 1 2 3, two replicas, start 0:    [1 2] [2 3] [3 1] [1 3] [2 1] ...
 *
 * Racks are taken in turn, so that neighbours in the row stand in different ones. `start` spreads topics.
 */
export function placeReplicas(options: {
  readonly brokers: readonly BrokerImage[];
  readonly count: number;
  readonly replicationFactor: number;
  readonly start: number;
}): ItemResult<number[][]> {
  const { count, replicationFactor, start } = options;
  const row = byRacksInTurn(options.brokers);
  if (replicationFactor > row.length) {
    return failed(
      "invalid-replication-factor",
      `Unable to replicate the partition ${replicationFactor} time(s): The target replication factor of ${replicationFactor} cannot be reached because only ${row.length} broker(s) are registered.`,
    );
  }
  return ok(Array.from({ length: count }, (_, index) => replicasOf(row, start + index, replicationFactor)));
}

function replicasOf(row: readonly number[], turn: number, replicationFactor: number): number[] {
  const first = turn % row.length;
  // Each round over the row shifts the followers, so that they are not always the same neighbours.
  const shift = row.length > 1 ? Math.floor(turn / row.length) % (row.length - 1) : 0;
  const replicas = [row[first] ?? 0];
  for (let follower = 0; follower < replicationFactor - 1; follower++) {
    const step = 1 + ((shift + follower) % (row.length - 1));
    replicas.push(row[(first + step) % row.length] ?? 0);
  }
  return replicas;
}

function byRacksInTurn(brokers: readonly BrokerImage[]): number[] {
  const racks = Map.groupBy(brokers, ({ rack, id }) => rack ?? `broker ${id}`);
  const longest = Math.max(0, ...[...racks.values()].map((rack) => rack.length));
  const row: number[] = [];
  for (let place = 0; place < longest; place++) {
    for (const rack of racks.values()) {
      const broker = rack[place];
      if (broker !== undefined) row.push(broker.id);
    }
  }
  return row;
}

/** A topic's own place in the row: the same for the same id on every node. */
export function startOf(topicId: string): number {
  return Buffer.from(topicId, "base64url").readUInt32BE(0);
}

/** Replicas that a client chose. `replicationFactor`: how many earlier partitions of the topic have, null before the first. */
export function checkReplicas(
  image: MetadataImage,
  replicas: readonly number[],
  replicationFactor: number | null,
): ItemResult<readonly number[]> {
  const refused = (what: string): ItemResult<readonly number[]> =>
    failed("invalid-assignment", `The manual partition assignment includes ${what}`);
  if (replicas.length === 0) return refused("an empty replica list.");
  const sorted = [...replicas].sort((a, b) => a - b);
  for (const [index, broker] of sorted.entries()) {
    if (!image.brokers.has(broker)) return refused(`broker ${broker}, but no such broker is registered.`);
    if (broker === sorted[index - 1]) return refused(`the broker ${broker} more than once.`);
  }
  if (replicationFactor !== null && replicas.length !== replicationFactor) {
    return refused(
      `a partition with ${replicas.length} replica(s), but this is not consistent with previous partitions, which have ${replicationFactor} replica(s).`,
    );
  }
  return ok(replicas);
}
