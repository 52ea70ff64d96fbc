import { isSameList, isSamePartition } from "../image-difference.ts";
import type { BrokerImage, MetadataImage, PartitionAt, PartitionImage } from "../image.ts";
import type { PartitionChangeRecord } from "../records.ts";
import type { DecisionContext } from "./decision.ts";

/*
 * What becomes of a partition when its replicas, its ISR or its brokers change: a move that has come to its end is
 * ended, the eligible leader replicas are kept (KIP-966), a leader is elected where one is needed, and the epochs grow.
 * Every decision about partitions that are there goes through `changeOf`.
 */

/**
 * `online`: a leader that may stay stays; otherwise the first replica in sync. `preferred`: the first replica leads if
 * it can. `unclean`: as `online`, and when nobody in sync can lead, a replica that may lack records does.
 */
export type Election = "online" | "preferred" | "unclean";

export interface PartitionWish {
  readonly replicas?: readonly number[];
  readonly addingReplicas?: readonly number[];
  readonly removingReplicas?: readonly number[];
  readonly isr?: readonly number[];
  /** Without it: what the topic's `unclean.leader.election.enable` says. */
  readonly election?: Election;
  /** A broker that may have lost records when it stopped: it is nobody's eligible leader any more. */
  readonly lossyBroker?: number;
  /** Without it: a broker that is unfenced and stays. */
  readonly mayLead?: (brokerId: number) => boolean;
  /** The leader gets a new epoch even if it stays the same: it is another process, whose log may be another one. */
  readonly isLeaderNew?: boolean;
}

/** Whether a broker may lead, be in an ISR, and get new partitions. */
export function isActive(broker: BrokerImage | undefined): boolean {
  return broker !== undefined && !broker.isFenced && !broker.isInControlledShutdown;
}

/** Whether eligible leader replicas are kept (KIP-966). */
export function keepsEligibleLeaders(image: Pick<MetadataImage, "features">): boolean {
  return (image.features.get("eligible.leader.replicas.version") ?? 0) >= 1;
}

/** Replicas that must be in sync before a record counts; a partition with fewer replicas needs all of them. */
export function minInSync(configured: number, replicas: readonly number[]): number {
  return Math.min(configured, replicas.length);
}

/** Null: nothing changes. */
export function changeOf(
  context: DecisionContext,
  { topic, partition: before }: PartitionAt,
  wish: PartitionWish,
): PartitionChangeRecord | null {
  const { image, configs } = context;
  const settings = configs.topic(topic.name);
  const rules: Rules = {
    election: wish.election ?? (settings["unclean.leader.election.enable"] ? "unclean" : "online"),
    keepsElr: keepsEligibleLeaders(image),
    minInSync: settings["min.insync.replicas"],
    lossyBroker: wish.lossyBroker ?? null,
    mayLead: wish.mayLead ?? ((id) => isActive(image.brokers.get(id))),
  };
  const wished = withMoveEnded({
    ...before,
    replicas: wish.replicas ?? before.replicas,
    addingReplicas: wish.addingReplicas ?? before.addingReplicas,
    removingReplicas: wish.removingReplicas ?? before.removingReplicas,
    isr: wish.isr ?? before.isr,
  });
  const led = withMoveEnded(elected(before, { ...wished, elr: eligible(before, wished, rules) }, rules));
  // An election can leave one in sync where one is enough: the others are not eligible from the first record on.
  const after = { ...led, elr: hasEnoughInSync(led, rules) ? [] : led.elr };
  const { leader, isr } = after;
  const isNewTerm =
    leader !== before.leader ||
    (wish.isLeaderNew === true && leader !== -1) ||
    // A replica that is gone must not be counted by a leader that has not heard of it.
    before.replicas.some((id) => !after.replicas.includes(id));
  const lastKnownElr = rememberedLeader(before, after);
  const leaderEpoch = before.leaderEpoch + (isNewTerm ? 1 : 0);
  const changed = { ...after, lastKnownElr, leaderEpoch };
  if (isSamePartition(before, changed)) return null;
  const { addingReplicas, removingReplicas, elr } = changed;
  return {
    type: "partition-change",
    topicId: topic.id,
    index: before.index,
    isr,
    leader,
    leaderEpoch,
    partitionEpoch: before.partitionEpoch + 1,
    replicas: isSameList(before.replicas, changed.replicas) ? null : changed.replicas,
    addingReplicas,
    removingReplicas,
    elr,
    lastKnownElr,
  };
}

interface Rules {
  readonly election: Election;
  readonly keepsElr: boolean;
  readonly minInSync: number;
  readonly lossyBroker: number | null;
  readonly mayLead: (brokerId: number) => boolean;
}

/** A move ends when all replicas that shall stay are in sync (KIP-455). */
function withMoveEnded(partition: PartitionImage): PartitionImage {
  const { addingReplicas, removingReplicas } = partition;
  if (addingReplicas.length === 0 && removingReplicas.length === 0) return partition;
  const stays = (id: number): boolean => !removingReplicas.includes(id);
  const replicas = partition.replicas.filter(stays);
  const isr = partition.isr.filter(stays);
  if (replicas.length === 0 || !replicas.every((id) => isr.includes(id))) return partition;
  return { ...partition, replicas, isr, addingReplicas: [], removingReplicas: [] };
}

/**
 * Who left the ISR while it was below min.insync.replicas: nothing was committed without them, so each of them can lead
 * as well as a member of the ISR, unless it has lost records when it stopped.
 */
function eligible(before: PartitionImage, wished: PartitionImage, rules: Rules): readonly number[] {
  if (hasEnoughInSync(wished, rules)) return [];
  const { replicas, isr } = wished;
  const left = rules.keepsElr ? before.isr.filter((id) => !before.elr.includes(id)) : [];
  const candidates = [...before.elr, ...left];
  return candidates.filter((id) => replicas.includes(id) && !isr.includes(id) && id !== rules.lossyBroker);
}

function hasEnoughInSync({ replicas, isr }: PartitionImage, rules: Rules): boolean {
  // Eligible leaders of a time in which they were kept are given up only for somebody in sync: until then they are all
  // that is known of where the records are.
  return isr.length >= (rules.keepsElr ? minInSync(rules.minInSync, replicas) : 1);
}

function elected(before: PartitionImage, wished: PartitionImage, rules: Rules): PartitionImage {
  const { replicas, isr, elr } = wished;
  const canLead = (id: number): boolean =>
    (isr.includes(id) || (isr.length === 0 && elr.includes(id))) && rules.mayLead(id);
  const [preferred] = replicas;
  const wantsPreferred = rules.election === "preferred" && preferred !== undefined && canLead(preferred);
  const stays = canLead(before.leader) ? before.leader : undefined;
  const leader = wantsPreferred ? preferred : (stays ?? replicas.find(canLead));
  if (leader !== undefined) {
    // From here on it alone is in sync; the others of the ELR stay eligible until enough have caught up.
    if (isr.length === 0) return { ...wished, leader, isr: [leader], elr: elr.filter((id) => id !== leader) };
    return { ...wished, leader };
  }
  const uncleanLeader = lastLeader(before, wished, rules) ?? anyReplica(wished, rules);
  if (uncleanLeader !== undefined) return { ...wished, leader: uncleanLeader, isr: [uncleanLeader], elr: [] };
  // The last one in sync stays in the ISR when it goes: it alone has everything, and it leads when it is back.
  const left = isr.length === 0 && !rules.keepsElr ? before.isr.filter((id) => replicas.includes(id)) : isr;
  return { ...wished, leader: -1, isr: left };
}

/** Everybody that had all records may have lost some: the one that led last has most of them, most probably. */
function lastLeader(
  { lastKnownElr }: PartitionImage,
  { replicas, isr, elr }: PartitionImage,
  { mayLead }: Rules,
): number | undefined {
  if (isr.length > 0 || elr.length > 0) return undefined;
  return lastKnownElr.find((id) => replicas.includes(id) && mayLead(id));
}

function anyReplica({ replicas }: PartitionImage, { election, mayLead }: Rules): number | undefined {
  return election === "unclean" ? replicas.find(mayLead) : undefined;
}

/** Who led last, kept from when the ISR is empty until somebody leads; if it is gone, one that had everything then. */
function rememberedLeader(before: PartitionImage, after: PartitionImage): readonly number[] {
  if (after.leader !== -1 || after.isr.length > 0) return [];
  const candidates = [...before.lastKnownElr, before.leader, ...before.isr, ...before.elr];
  return candidates.filter((id) => after.replicas.includes(id)).slice(0, 1);
}

export function leadsAnything(image: MetadataImage, brokerId: number): boolean {
  for (const { partition } of image.partitionsOf(brokerId)) if (partition.leader === brokerId) return true;
  return false;
}

/** Changes of the partitions of a broker for which there is a wish. */
export function changesAt(
  context: DecisionContext,
  brokerId: number,
  wishFor: (partition: PartitionImage) => PartitionWish | null,
): PartitionChangeRecord[] {
  const records: PartitionChangeRecord[] = [];
  for (const at of context.image.partitionsOf(brokerId)) {
    const wish = wishFor(at.partition);
    const change = wish === null ? null : changeOf(context, at, wish);
    if (change !== null) records.push(change);
  }
  return records;
}

/** What becomes of the partitions of a broker that is about to be gone: it leads none, and leaves the ISRs that have others. */
export function withoutBroker(context: DecisionContext, brokerId: number): PartitionChangeRecord[] {
  const mayLead = (id: number): boolean => id !== brokerId && isActive(context.image.brokers.get(id));
  return changesAt(context, brokerId, ({ isr, leader }) =>
    isr.includes(brokerId) || leader === brokerId ? { isr: isr.filter((id) => id !== brokerId), mayLead } : null,
  );
}
