import { withOne } from "@millrace/base/with-one";
import { ErrorCode } from "kafka-protocol-ts/errors";
import type { OffsetCommitRequest, OffsetCommitResponseInput } from "kafka-protocol-ts/messages/08-offset-commit";
import type {
  OffsetFetchRequest,
  OffsetFetchRequestGroup,
  OffsetFetchResponseGroupInput,
  OffsetFetchResponseInput,
} from "kafka-protocol-ts/messages/09-offset-fetch";
import type {
  TxnOffsetCommitRequest,
  TxnOffsetCommitResponseInput,
} from "kafka-protocol-ts/messages/28-txn-offset-commit";
import type { OffsetDeleteRequest, OffsetDeleteResponseInput } from "kafka-protocol-ts/messages/47-offset-delete";
import { zeroUuid } from "kafka-protocol-ts/reader";
import type { TransactionalProducer } from "../coordinator/shard-log.ts";
import type { CommitAnswer, DeleteOffsetsAnswer, FetchAnswer, FetchedPartition } from "./answers.ts";
import type { CommitCommand, DeleteOffsetsCommand, FetchCommand, OffsetToCommit } from "./commands.ts";
import { codeOf } from "./messages.ts";
import { hasPartition } from "./topic-lookup.ts";
import type { KnownTopic, TopicLookup } from "./topic-lookup.ts";

/*
 * OffsetCommit, OffsetFetch and OffsetDelete in all versions. Up to v9 topics are named, from v10 on they have ids. What
 * the metadata does not know is refused here, partition by partition; the machine sees the rest.
 */

// --- OffsetCommit ----------------------------------------------------------------------------------------------------

/** The last version that names topics. */
const NAMED_TOPICS_VERSION = 9;

interface CommittedTopic {
  readonly name: string;
  readonly topicId?: string;
  readonly partitions: readonly { readonly partitionIndex: number }[];
}

export interface CommitPlan {
  /** What the machine decides on. */
  readonly offsets: readonly OffsetToCommit[];
  /** In the order of the request: the code that is already clear, or null for what the machine decides. Null: it decides on all. */
  readonly codes: readonly (readonly (ErrorCode | null)[])[] | null;
}

export function commitPlan(
  wanted: readonly (CommittedTopic & OffsetCommitRequest["topics"][number])[],
  version: number,
  topics: TopicLookup,
): CommitPlan {
  let offsets: OffsetToCommit[] | null = null;
  let isAllKnown = true;
  for (const topic of wanted) {
    const known = lookUp(topics, topic, version);
    for (const one of topic.partitions) {
      if (known === null || !hasPartition(known, one.partitionIndex)) {
        isAllKnown = false;
        continue;
      }
      offsets = withOne(offsets, {
        topic: known.name,
        topicId: known.id,
        partition: one.partitionIndex,
        offset: one.committedOffset,
        leaderEpoch: one.committedLeaderEpoch,
        metadata: one.committedMetadata ?? "",
      });
    }
  }
  return { offsets: offsets ?? [], codes: isAllKnown ? null : refusedCodes(wanted, version, topics) };
}

function refusedCodes(
  wanted: readonly OffsetCommitRequest["topics"][number][],
  version: number,
  topics: TopicLookup,
): NonNullable<CommitPlan["codes"]> {
  return wanted.map((topic) => {
    const known = lookUp(topics, topic, version);
    return topic.partitions.map(({ partitionIndex }) => {
      if (known === null) return unknownTopicCode(version);
      return hasPartition(known, partitionIndex) ? null : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
    });
  });
}

export function commitCommand(
  request: OffsetCommitRequest,
  version: number,
  { offsets }: CommitPlan,
  ticket: CommitCommand["ticket"],
): CommitCommand {
  return {
    ticket,
    groupId: request.groupId,
    memberId: request.memberId,
    instanceId: request.groupInstanceId,
    generation: request.generationIdOrMemberEpoch,
    producer: null,
    knowsGroupIdNotFound: version >= 9,
    expireAfterMs: request.retentionTimeMs === -1 ? null : request.retentionTimeMs,
    offsets,
  };
}

/** Of a TxnOffsetCommit. */
export function transactionalCommitPlan(request: TxnOffsetCommitRequest, topics: TopicLookup): CommitPlan {
  const wanted = request.topics.map((topic) => ({ ...topic, topicId: zeroUuid }));
  return commitPlan(wanted, NAMED_TOPICS_VERSION, topics);
}

/** `producer` with the guard of the partition. */
export function transactionalCommitCommand(
  request: TxnOffsetCommitRequest,
  producer: TransactionalProducer,
  { offsets }: CommitPlan,
  ticket: CommitCommand["ticket"],
): CommitCommand {
  return {
    ticket,
    groupId: request.groupId,
    memberId: request.memberId,
    instanceId: request.groupInstanceId,
    generation: request.generationId,
    producer,
    knowsGroupIdNotFound: false,
    expireAfterMs: null,
    offsets,
  };
}

/** `outcome` a code: all that the machine was to decide failed with it. Of an OffsetCommit and of a TxnOffsetCommit. */
export function commitResponse(
  request: { readonly topics: readonly CommittedTopic[] },
  plan: CommitPlan,
  outcome: CommitAnswer | ErrorCode,
): OffsetCommitResponseInput & TxnOffsetCommitResponseInput {
  const wholeCode = typeof outcome === "number" ? outcome : outcome.failure === null ? null : codeOf(outcome.failure);
  const decided = typeof outcome === "number" ? [] : outcome.partitions;
  let next = 0;
  return {
    throttleTimeMs: 0,
    topics: request.topics.map(({ name, topicId = zeroUuid, partitions }, topicAt) => ({
      name,
      topicId,
      partitions: partitions.map(({ partitionIndex }, at) => ({
        partitionIndex,
        errorCode: plan.codes?.[topicAt]?.[at] ?? wholeCode ?? codeOf(decided[next++] ?? null),
      })),
    })),
  };
}

// --- OffsetFetch -----------------------------------------------------------------------------------------------------

/** One group's question, as v8+ has it; older versions ask one without the list around it. */
export function groupsToFetch(request: OffsetFetchRequest, version: number): readonly OffsetFetchRequestGroup[] {
  if (version >= 8) return request.groups;
  const topics = request.topics?.map((topic) => ({ ...topic, topicId: zeroUuid })) ?? null;
  return [{ groupId: request.groupId, memberId: null, memberEpoch: -1, topics }];
}

export function fetchCommand(
  group: OffsetFetchRequestGroup,
  {
    version,
    isStableRequired,
    topics,
  }: { readonly version: number; readonly isStableRequired: boolean; readonly topics: TopicLookup },
): Omit<FetchCommand, "ticket"> {
  return {
    groupId: group.groupId,
    memberId: group.memberId,
    memberEpoch: group.memberEpoch,
    isStableRequired,
    topics:
      group.topics?.flatMap((topic) => {
        const known = lookUp(topics, topic, version);
        if (known === null && version >= 10) return [];
        return [{ topic: known?.name ?? topic.name, topicId: known?.id ?? null, partitions: topic.partitionIndexes }];
      }) ?? null,
  };
}

export function fetchedGroup(
  group: OffsetFetchRequestGroup,
  answer: FetchAnswer,
  { version, topics }: { readonly version: number; readonly topics: TopicLookup },
): OffsetFetchResponseGroupInput {
  if (answer.failure !== null) return fetchError(group, codeOf(answer.failure), version);
  if (group.topics === null) {
    // By id, a topic that is gone cannot be told of.
    const all = answer.topics.flatMap(({ topic, partitions }) => {
      const topicId = version >= 10 ? topics.byName(topic)?.id : zeroUuid;
      return topicId === undefined ? [] : [{ name: topic, topicId, partitions: partitions.map(fetchedPartition) }];
    });
    return { groupId: group.groupId, topics: all };
  }
  let next = 0;
  return {
    groupId: group.groupId,
    topics: group.topics.map(({ name, topicId, partitionIndexes }) => {
      const isAnswered = version < 10 || topics.byId(topicId) !== null;
      const partitions = isAnswered
        ? (answer.topics[next++]?.partitions ?? []).map(fetchedPartition)
        : partitionIndexes.map((partitionIndex) => noOffset(partitionIndex, ErrorCode.UNKNOWN_TOPIC_ID));
      return { name, topicId, partitions };
    }),
  };
}

/** v1 has no place for an error of the whole group, so each partition carries it. */
export function fetchError(
  group: OffsetFetchRequestGroup,
  errorCode: ErrorCode,
  version: number,
): OffsetFetchResponseGroupInput {
  if (version >= 2) return { groupId: group.groupId, topics: [], errorCode };
  const topics = (group.topics ?? []).map(({ name, topicId, partitionIndexes }) => ({
    name,
    topicId,
    partitions: partitionIndexes.map((partitionIndex) => noOffset(partitionIndex, errorCode)),
  }));
  return { groupId: group.groupId, topics, errorCode };
}

export function fetchResponse(
  groups: readonly OffsetFetchResponseGroupInput[],
  version: number,
): OffsetFetchResponseInput {
  if (version >= 8) return { throttleTimeMs: 0, groups };
  const [group] = groups;
  const topics = (group?.topics ?? []).map(({ name = "", partitions }) => ({ name, partitions }));
  return { throttleTimeMs: 0, topics, errorCode: group?.errorCode ?? ErrorCode.NONE };
}

function fetchedPartition({ partition, failure, offset, leaderEpoch, metadata }: FetchedPartition): FetchedOffset {
  return {
    partitionIndex: partition,
    committedOffset: offset,
    committedLeaderEpoch: leaderEpoch,
    metadata,
    errorCode: codeOf(failure),
  };
}

function noOffset(partitionIndex: number, errorCode: ErrorCode): FetchedOffset {
  return { partitionIndex, committedOffset: -1, committedLeaderEpoch: -1, metadata: "", errorCode };
}

interface FetchedOffset {
  readonly partitionIndex: number;
  readonly committedOffset: number;
  readonly committedLeaderEpoch: number;
  readonly metadata: string;
  readonly errorCode: ErrorCode;
}

// --- OffsetDelete ----------------------------------------------------------------------------------------------------

export interface DeletePlan {
  readonly command: Omit<DeleteOffsetsCommand, "ticket">;
  readonly codes: readonly (readonly (ErrorCode | null)[])[];
}

export function deletePlan(request: OffsetDeleteRequest, topics: TopicLookup): DeletePlan {
  const partitions: { readonly topic: string; readonly partition: number }[] = [];
  const codes = request.topics.map((topic) => {
    const known = topics.byName(topic.name);
    return topic.partitions.map(({ partitionIndex }): ErrorCode | null => {
      if (known === null || !hasPartition(known, partitionIndex)) return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
      partitions.push({ topic: topic.name, partition: partitionIndex });
      return null;
    });
  });
  return { command: { groupId: request.groupId, partitions }, codes };
}

/** An error of the whole group is told at the top, and then nothing else. */
export function deleteResponse(
  request: OffsetDeleteRequest,
  plan: DeletePlan,
  outcome: DeleteOffsetsAnswer | ErrorCode,
): OffsetDeleteResponseInput {
  const errorCode = typeof outcome === "number" ? outcome : codeOf(outcome.failure);
  if (errorCode !== ErrorCode.NONE || typeof outcome === "number") return { errorCode, throttleTimeMs: 0, topics: [] };
  let next = 0;
  return {
    errorCode,
    throttleTimeMs: 0,
    topics: request.topics.map(({ name, partitions }, topicAt) => ({
      name,
      partitions: partitions.map(({ partitionIndex }, at) => ({
        partitionIndex,
        errorCode: plan.codes[topicAt]?.[at] ?? codeOf(outcome.partitions[next++] ?? null),
      })),
    })),
  };
}

function lookUp(
  topics: TopicLookup,
  topic: { readonly name: string; readonly topicId: string },
  version: number,
): KnownTopic | null {
  return version >= 10 ? topics.byId(topic.topicId) : topics.byName(topic.name);
}

function unknownTopicCode(version: number): ErrorCode {
  return version >= 10 ? ErrorCode.UNKNOWN_TOPIC_ID : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
}
