import { failed, ok } from "@millrace/base/result";
import type { BrokerImage, MetadataImage } from "../image.ts";
import { noExtras } from "../records.ts";
import type { PartitionRecord } from "../records.ts";
import type { ItemResult } from "./decision.ts";
import { isActive } from "./partition-changes.ts";

/** Brokers that may lead, in the order of their ids. */
export function aliveBrokers(image: MetadataImage): BrokerImage[] {
  return [...image.brokers.values()].filter(isActive).sort((a, b) => a.id - b.id);
}

/**
 * Brokers that may be given partitions: fenced ones as well, as they may come back, but none that is about to be gone
 * and none of which all directories are cordoned (KIP-1066).
 */
export function placeableBrokers(image: MetadataImage): BrokerImage[] {
  return [...image.brokers.values()]
    .filter(({ isInControlledShutdown }) => !isInControlledShutdown)
    .filter(({ directoryIds, cordonedDirectoryIds }) => {
      return directoryIds.length === 0 || directoryIds.some((id) => !cordonedDirectoryIds.includes(id));
    })
    .sort((a, b) => a.id - b.id);
}

type Place = Pick<BrokerImage, "id" | "rack" | "isFenced">;

/**
 * Replicas for each of `count` partitions, the first one of a partition leads.
 *
 *     brokers 1 2 3, two replicas, start 0:    [1 2] [2 3] [3 1] [1 3] [2 1] ...
 *
 * Replicas stand in different racks as far as there are racks. `start` spreads topics. Fenced brokers get replicas only
 * where the others are too few, and never the first.
 */
export function placeReplicas(options: {
  readonly brokers: readonly Place[];
  readonly count: number;
  readonly replicationFactor: number;
  readonly start: number;
}): ItemResult<number[][]> {
  const { brokers, count, replicationFactor, start } = options;
  const unable = `Unable to replicate the partition ${replicationFactor} time(s): `;
  if (replicationFactor > brokers.length) {
    return failed(
      "invalid-replication-factor",
      `${unable}The target replication factor of ${replicationFactor} cannot be reached because only ${brokers.length} broker(s) are registered.`,
    );
  }
  const row = byRacksInTurn(brokers.filter(({ isFenced }) => !isFenced));
  if (row.length === 0) return failed("invalid-replication-factor", `${unable}All brokers are currently fenced.`);
  const fenced = byRacksInTurn(brokers.filter(({ isFenced }) => isFenced));
  return ok(
    Array.from({ length: count }, (_, index) => {
      const turn = start + index;
      const replicas = replicasOf(row, turn, Math.min(replicationFactor, row.length));
      for (let spare = 0; replicas.length < replicationFactor; spare++) {
        const place = fenced[(turn + spare) % fenced.length];
        if (place !== undefined) replicas.push(place.id);
      }
      return replicas;
    }),
  );
}

function replicasOf(row: readonly Place[], turn: number, replicationFactor: number): number[] {
  const first = turn % row.length;
  // Each round over the row shifts the followers, so that they are not always the same neighbours.
  const shift = row.length > 1 ? Math.floor(turn / row.length) % (row.length - 1) : 0;
  const followers = Array.from({ length: row.length - 1 }, (_, follower) => {
    const step = 1 + ((shift + follower) % (row.length - 1));
    return row[(first + step) % row.length];
  });
  const inOrder = [row[first], ...followers].filter((place) => place !== undefined);
  return inDifferentRacks(inOrder, replicationFactor).map(({ id }) => id);
}

/** The first ones, but none of a rack that has one already while another rack has none. */
function inDifferentRacks(inOrder: readonly Place[], count: number): Place[] {
  const chosen: Place[] = [];
  let left = inOrder;
  while (chosen.length < count && left.length > 0) {
    const racks = new Set<string>();
    const passed: Place[] = [];
    for (const place of left) {
      if (chosen.length === count || racks.has(rackOf(place))) {
        passed.push(place);
        continue;
      }
      racks.add(rackOf(place));
      chosen.push(place);
    }
    left = passed;
  }
  return chosen;
}

/** A broker that does not say where it stands is a rack by itself. */
function rackOf({ rack, id }: Place): string {
  return rack === null ? `broker ${id}` : `rack ${rack}`;
}

/** Neighbours in the row stand in different racks, so that partitions that follow each other are led in different ones. */
function byRacksInTurn(brokers: readonly Place[]): Place[] {
  const racks = Map.groupBy(brokers, rackOf);
  const longest = Math.max(0, ...[...racks.values()].map((rack) => rack.length));
  const row: Place[] = [];
  for (let place = 0; place < longest; place++) {
    for (const rack of racks.values()) {
      const broker = rack[place];
      if (broker !== undefined) row.push(broker);
    }
  }
  return row;
}

/**
 * A partition as it begins: all replicas that live are in sync, the first of them leads. Null where none lives.
 */
export function newPartition(
  image: MetadataImage,
  { topicId, index, replicas }: Pick<PartitionRecord, "topicId" | "index" | "replicas">,
): PartitionRecord | null {
  const isr = replicas.filter((id) => isActive(image.brokers.get(id)));
  const [leader] = isr;
  if (leader === undefined) return null;
  return { type: "partition", topicId, index, replicas, isr, leader, leaderEpoch: 0, partitionEpoch: 0, ...noExtras };
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
