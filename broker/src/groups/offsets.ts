import type { TimeMs } from "@millrace/base/units";
import { withOne } from "@millrace/base/with-one";
import type { FetchAnswer, FetchedPartition, FetchedTopic } from "./answers.ts";
import { isSubscribed, refuseMember } from "./classic-group.ts";
import type { ClassicGroup } from "./classic-group.ts";
import type { CommitCommand, DeleteOffsetsCommand, FetchCommand, OffsetToCommit } from "./commands.ts";
import { refuseConsumerCommit, refuseConsumerFetch } from "./consumer/offsets.ts";
import { answered, decisionOf } from "./draft.ts";
import type { GroupFailure } from "./failures.ts";
import type { CommittedOffset, OffsetStore } from "./offset-store.ts";
import type { GroupRecord } from "./records.ts";
import type { GroupSettings } from "./settings.ts";
import type { TopicLookup } from "./topic-lookup.ts";
import type { Group, GroupDecision } from "./types.ts";

/** Decides an OffsetCommit or TxnOffsetCommit: one record for each partition that is accepted. A member that commits for itself is alive. */
export function decideCommit(
  group: Group | null,
  command: CommitCommand,
  {
    settings,
    nowMs,
    topics,
  }: { readonly settings: GroupSettings; readonly nowMs: TimeMs; readonly topics: TopicLookup },
): GroupDecision {
  const { ticket, groupId, memberId, producer } = command;
  const failure =
    group?.type === "consumer"
      ? refuseConsumerCommit(
          group,
          { ...command, isTransactional: producer !== null, knowsMemberEpochs: command.knowsGroupIdNotFound },
          topics,
        )
      : refuseCommit(group, command);
  if (failure !== null) return commitRefused(group, command, failure);

  let records: GroupRecord[] | null = null;
  const expireTimestampMs = command.expireAfterMs === null ? -1 : nowMs + command.expireAfterMs;
  const times = { commitTimestampMs: nowMs, expireTimestampMs };
  const partitions = command.offsets.map((one) => {
    if (one.metadata.length > settings.offsetMetadataMax) return "offset-metadata-too-large";
    records = withOne(records, recordOf(groupId, one, times));
    return null;
  });
  // A member of a consumer group says that it is alive by its heartbeat alone.
  const member = producer === null && group?.type === "classic" ? group.members.get(memberId) : undefined;
  return decisionOf({
    records: records ?? [],
    producer,
    timers: member === undefined ? [] : [{ timer: member.session, afterMs: member.sessionTimeoutMs }],
    replies: [{ ticket, response: { failure: null, partitions }, when: "committed" }],
  });
}

function commitRefused(group: Group | null, command: CommitCommand, failure: GroupFailure): GroupDecision {
  const { ticket, groupId, memberId, generation } = command;
  const decision = answered(ticket, { failure, partitions: [] });
  // In the middle of a rebalance it is only told to come again.
  if (group === null || failure === "rebalance-in-progress") return decision;
  const [word, now] = group.type === "classic" ? ["generation", group.generation] : ["epoch", group.groupEpoch];
  const reason = `${failure}, the group is ${group.state} in ${word} ${now}`;
  return {
    ...decision,
    events: [{ kind: "commit-refused", groupId, memberId, epoch: `${word} ${generation}`, reason }],
  };
}

/**
 * From outside of the group (a tool, a consumer that assigns itself) only a group without members takes offsets. From
 * inside, only the present generation may commit: a paused member that wakes after its partitions moved is refused.
 */
function refuseCommit(group: ClassicGroup | null, command: CommitCommand): GroupFailure | null {
  const { memberId, instanceId, generation, producer } = command;
  // Before KIP-447 a producer does not say for which member it commits.
  const isFromNobody = generation < 0 && memberId === "" && instanceId === null;
  if (producer !== null && isFromNobody) return null;
  if (group === null) {
    if (generation < 0) return null;
    return command.knowsGroupIdNotFound ? "group-id-not-found" : "illegal-generation";
  }
  if (generation < 0 && group.state === "Empty") return null;
  if (isFromNobody) return "unknown-member-id";
  const failure = refuseMember(group, memberId, instanceId);
  if (failure !== null) return failure;
  if (generation !== group.generation) return "illegal-generation";
  // It knows the new generation but not its assignment: what it commits belongs to the old one. A producer has no assignment.
  return group.state === "CompletingRebalance" && producer === null ? "rebalance-in-progress" : null;
}

function recordOf(
  groupId: string,
  { topic, topicId, partition, offset, leaderEpoch, metadata }: OffsetToCommit,
  { commitTimestampMs, expireTimestampMs }: { readonly commitTimestampMs: number; readonly expireTimestampMs: number },
): GroupRecord {
  const value = { offset, leaderEpoch, metadata, topicId, commitTimestampMs, expireTimestampMs };
  return { kind: "offset", groupId, topic, partition, value };
}

/** Decides an OffsetFetch: a read, so it answers when all that was queued before it is committed. */
export function decideFetch(group: Group | null, offsets: OffsetStore, command: FetchCommand): GroupDecision {
  const failure = group?.type === "consumer" ? refuseConsumerFetch(group, command) : null;
  if (failure !== null) return answered(command.ticket, { failure, topics: [] } satisfies FetchAnswer, "committed");
  const topics = command.topics === null ? allOf(offsets, command) : requestedOf(offsets, command, command.topics);
  const answer: FetchAnswer = { failure: null, topics };
  return answered(command.ticket, answer, "committed");
}

function requestedOf(
  offsets: OffsetStore,
  command: FetchCommand,
  topics: NonNullable<FetchCommand["topics"]>,
): FetchedTopic[] {
  return topics.map(({ topic, topicId, partitions }) => ({
    topic,
    partitions: partitions.map((partition) => {
      const committed = offsets.get(command.groupId, topic, partition);
      const isOfThisTopic =
        topicId === null || committed === null || committed.topicId === null || committed.topicId === topicId;
      return fetched(offsets, command, { topic, partition, committed: isOfThisTopic ? committed : null });
    }),
  }));
}

function allOf(offsets: OffsetStore, command: FetchCommand): FetchedTopic[] {
  const byTopic = new Map<string, FetchedPartition[]>();
  for (const one of offsets.of(command.groupId)) {
    const partitions = byTopic.get(one.topic) ?? [];
    partitions.push(fetched(offsets, command, one));
    byTopic.set(one.topic, partitions);
  }
  return Array.from(byTopic, ([topic, partitions]) => ({ topic, partitions }));
}

function fetched(
  offsets: OffsetStore,
  { groupId, isStableRequired }: FetchCommand,
  {
    topic,
    partition,
    committed,
  }: { readonly topic: string; readonly partition: number; readonly committed: CommittedOffset | null },
): FetchedPartition {
  const isUnstable = isStableRequired && offsets.isPending(groupId, topic, partition);
  const failure: GroupFailure | null = isUnstable ? "unstable-offset-commit" : null;
  if (isUnstable || committed === null) return { partition, failure, offset: -1, leaderEpoch: -1, metadata: "" };
  return {
    partition,
    failure,
    offset: committed.offset,
    leaderEpoch: committed.leaderEpoch,
    metadata: committed.metadata,
  };
}

/** Decides an OffsetDelete (KIP-496). Offsets of a topic that the group reads stay. */
export function decideDeleteOffsets(
  group: Group | null,
  offsets: OffsetStore,
  command: DeleteOffsetsCommand,
): GroupDecision {
  const { ticket, groupId } = command;
  const failure = refuseDeleteOffsets(group);
  if (failure !== null) return answered(ticket, { failure, partitions: [] });
  const records: GroupRecord[] = [];
  const partitions = command.partitions.map(({ topic, partition }): GroupFailure | null => {
    if (group !== null && isSubscribed(group, topic)) return "group-subscribed-to-topic";
    const isThere = offsets.get(groupId, topic, partition) !== null || offsets.isPending(groupId, topic, partition);
    if (isThere) records.push({ kind: "offset", groupId, topic, partition, value: null });
    return null;
  });
  return decisionOf({ records, replies: [{ ticket, response: { failure: null, partitions }, when: "committed" }] });
}

function refuseDeleteOffsets(group: Group | null): GroupFailure | null {
  if (group === null) return "group-id-not-found";
  if (group.type === "consumer") return null;
  // Only of Kafka's consumer protocol does the coordinator know which topics are read.
  return group.state === "Empty" || group.protocolType === "consumer" ? null : "non-empty-group";
}
