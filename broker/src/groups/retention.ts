import type { TimeMs } from "@millrace/base/units";
import { isSubscribed } from "./classic-group.ts";
import type { DeleteGroupsCommand } from "./commands.ts";
import { tombstonesOfConsumerGroup } from "./consumer/migration.ts";
import { decisionOf } from "./draft.ts";
import type { GroupEvent } from "./events.ts";
import type { GroupFailure } from "./failures.ts";
import type { CommittedOffset, OffsetStore } from "./offset-store.ts";
import type { GroupRecord } from "./records.ts";
import type { GroupSettings } from "./settings.ts";
import { retentionTimer } from "./types.ts";
import type { Group, GroupDecision } from "./types.ts";

/*
 * How groups and offsets go. Every decision here writes tombstones only, the group's own last, so that any prefix of
 * them is a true state: they may be split over batches.
 */

/** Decides a DeleteGroups: groups without members go with all their offsets. */
export function decideDeleteGroups(
  groups: ReadonlyMap<string, Group>,
  offsets: OffsetStore,
  command: DeleteGroupsCommand,
): GroupDecision {
  const records: GroupRecord[] = [];
  const events: GroupEvent[] = [];
  const gone = new Set<string>();
  const results = command.groupIds.map((groupId) => {
    const group = gone.has(groupId) ? undefined : groups.get(groupId);
    const failure: GroupFailure | null =
      group === undefined ? "group-id-not-found" : group.state === "Empty" ? null : "non-empty-group";
    if (group === undefined || failure !== null) return { groupId, failure };
    gone.add(groupId);
    records.push(...tombstonesOf(group, offsets));
    events.push({ kind: "group-deleted", groupId, reason: "asked for" });
    return { groupId, failure };
  });
  return decisionOf({
    records,
    isAtomic: false,
    soft: Array.from(gone)
      .filter((groupId) => groups.get(groupId)?.type === "classic")
      .map((groupId) => ({ groupId, group: null })),
    events,
    replies: [{ ticket: command.ticket, response: { groups: results }, when: "committed" }],
  });
}

function* tombstonesOf(group: Group, offsets: OffsetStore): Iterable<GroupRecord> {
  const { groupId } = group;
  const places = new Map<string, { readonly topic: string; readonly partition: number }>();
  for (const { topic, partition } of offsets.of(groupId)) places.set(`${partition}:${topic}`, { topic, partition });
  for (const place of offsets.pendingOf(groupId)) places.set(`${place.partition}:${place.topic}`, place);
  for (const { topic, partition } of places.values()) yield { kind: "offset", groupId, topic, partition, value: null };
  yield* tombstonesOfGroup(group);
}

function* tombstonesOfGroup(group: Group): Iterable<GroupRecord> {
  if (group.type === "consumer") yield* tombstonesOfConsumerGroup(group);
  else if (group.isLogged) yield { kind: "group", groupId: group.groupId, value: null };
}

/** Decides what is too old (KIP-211): offsets first, and an empty group once it has no more of them. */
export function decideRetention(
  groups: ReadonlyMap<string, Group>,
  offsets: OffsetStore,
  { settings, nowMs }: { readonly settings: GroupSettings; readonly nowMs: TimeMs },
): GroupDecision {
  const records: GroupRecord[] = [];
  const events: GroupEvent[] = [];
  for (const group of groups.values()) {
    const { groupId } = group;
    const clock = retentionBegan(group);
    let kept = 0;
    let expired = 0;
    for (const { topic, partition, committed } of offsets.of(groupId)) {
      const isKept = clock === null || isSubscribed(group, topic) || offsets.isPending(groupId, topic, partition);
      if (isKept || !isTooOld(committed, clock(committed), { settings, nowMs })) {
        kept++;
        continue;
      }
      expired++;
      records.push({ kind: "offset", groupId, topic, partition, value: null });
    }
    if (expired > 0) events.push({ kind: "offsets-removed", groupId, count: expired, reason: "too old" });
    const isUseless =
      kept === 0 && group.state === "Empty" && !hasPendingMembers(group) && !offsets.hasPending(groupId);
    if (isUseless) {
      records.push(...tombstonesOfGroup(group));
      events.push({ kind: "group-deleted", groupId, reason: "empty, and without offsets" });
    }
  }
  return decisionOf({
    records,
    isAtomic: false,
    events,
    timers: [{ timer: retentionTimer, afterMs: settings.offsetsRetentionCheckMs }],
  });
}

/**
 * From when on an offset of this group ages; null: it does not.
 * - a group without members: from when it lost the last one
 * - a simple group: from the commit
 * - a stable group that uses Kafka's consumer protocol, and any consumer group: from the commit, and only for topics that
 *   it reads no more
 */
function retentionBegan(group: Group): ((committed: CommittedOffset) => number) | null {
  const sinceCommit = (committed: CommittedOffset): number => committed.commitTimestampMs;
  if (group.type === "consumer" || group.protocolType === null) return sinceCommit;
  if (group.state === "Empty") return group.stateTimestampMs === -1 ? sinceCommit : () => group.stateTimestampMs;
  return group.state === "Stable" && group.subscribedTopics !== null ? sinceCommit : null;
}

function hasPendingMembers(group: Group): boolean {
  return group.type === "classic" && group.pendingMembers.size > 0;
}

function isTooOld(
  committed: CommittedOffset,
  beganMs: number,
  { settings, nowMs }: { readonly settings: GroupSettings; readonly nowMs: TimeMs },
): boolean {
  if (committed.expireTimestampMs !== -1) return nowMs >= committed.expireTimestampMs;
  return nowMs - beganMs >= settings.offsetsRetentionMs;
}

/** Decides what to forget with topics that were deleted: a later topic of the same name begins without offsets. */
export function decideTopicsDeleted(
  groups: ReadonlyMap<string, Group>,
  offsets: OffsetStore,
  topics: ReadonlySet<string>,
): GroupDecision {
  const records: GroupRecord[] = [];
  const events: GroupEvent[] = [];
  for (const groupId of groups.keys()) {
    const before = records.length;
    const seen = new Set<string>();
    for (const { topic, partition } of [...offsets.of(groupId), ...offsets.pendingOf(groupId)]) {
      if (!topics.has(topic) || seen.has(`${partition}:${topic}`)) continue;
      seen.add(`${partition}:${topic}`);
      records.push({ kind: "offset", groupId, topic, partition, value: null });
    }
    if (records.length > before)
      events.push({ kind: "offsets-removed", groupId, count: records.length - before, reason: "topic deleted" });
  }
  return decisionOf({ records, isAtomic: false, events });
}
