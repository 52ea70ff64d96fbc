import { offsetCommit } from "kafka-protocol-ts/messages/08-offset-commit";
import { offsetFetch } from "kafka-protocol-ts/messages/09-offset-fetch";
import type { OffsetFetchResponse } from "kafka-protocol-ts/messages/09-offset-fetch";
import { offsetDelete } from "kafka-protocol-ts/messages/47-offset-delete";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { brokerError } from "../errors.ts";
import type { TopicPartition } from "../topic-partition.ts";
import { partitionKey } from "../topic-partition.ts";
import type { BrokerConnection } from "../network/broker-connection.ts";
import type { Batch, CallOptions, Calls, Reply } from "./calls.ts";
import { check, reply } from "./calls.ts";
import type { Outcome } from "./outcome.ts";
import { byPartition, byTopic, partitionName } from "./partitions-by-topic.ts";
import { coordinatorOf } from "./routes.ts";

/** Where a group stands in a partition: the next record that it will read. */
export interface CommittedOffset {
  /** Null where nothing is committed. */
  readonly offset: number | null;
  /** Null where whoever committed did not know it. */
  readonly leaderEpoch: number | null;
  /** What whoever committed wrote beside it. */
  readonly metadata: string;
}

/** How to read committed offsets. */
export interface GroupOffsetsOptions extends CallOptions {
  /** Waits while a transaction holds an offset, instead of answering with the one before it (KIP-447). Default false. */
  readonly requireStable?: boolean;
}

/** An offset to be committed for a group. */
export interface OffsetToCommit extends TopicPartition {
  /** The next record to be read. */
  readonly offset: number;
  /** Of the record before it, by which a truncated log is noticed. Absent: not known. */
  readonly leaderEpoch?: number;
  /** Kept with the offset, for people and tools. Default "". */
  readonly metadata?: string;
}

/** Topics by name: an admin also wants the offsets of topics that are gone, whose ids nobody can name. */
const byNameVersionMax = 9;

type FetchedTopic = OffsetFetchResponse["topics"][number];
type PartitionOutcomes = readonly Outcome<TopicPartition, CommittedOffset>[];

export function fetchedOffsets(
  calls: Calls,
  groupIds: readonly string[],
  options: GroupOffsetsOptions & { readonly partitions?: readonly TopicPartition[] },
): Batch<string, PartitionOutcomes> {
  const { partitions, requireStable = false } = options;
  const topics =
    partitions === undefined
      ? null
      : byTopic(
          partitions,
          (name, partitionIndexes: number[]) => ({ name, partitionIndexes }),
          ({ partition }) => partition,
        );
  return {
    call: "groups.offsets",
    items: groupIds,
    name: (groupId) => `group ${groupId}`,
    route: coordinatorOf(calls.wire, "group", (groupId) => groupId),
    send: async (connection, items): Promise<readonly Reply<PartitionOutcomes>[]> => {
      const version = connection.versionOf(offsetFetch);
      const stable = version >= 7 ? { requireStable } : {};
      if (version < 8) {
        return Promise.all(
          items.map(async (groupId) => {
            const answer = await connection.request(offsetFetch, { groupId, topics, ...stable });
            return reply(unstableOf(answer.topics) ?? answer, () => outcomesOf(answer.topics, connection));
          }),
        );
      }
      const { groups } = await connection.request(
        offsetFetch,
        { groups: items.map((groupId) => ({ groupId, topics })), ...stable },
        { versionMax: byNameVersionMax },
      );
      const said = new Map(groups.map((group) => [group.groupId, group]));
      return items.map((groupId) => {
        const group = said.get(groupId);
        const topics = group?.topics ?? [];
        return reply(unstableOf(topics) ?? group, () => outcomesOf(topics, connection));
      });
    },
  };
}

/** Offsets that are not stable are asked for again, with all of their group. */
function unstableOf(topics: readonly FetchedTopic[]): { readonly errorCode: number } | undefined {
  return topics
    .flatMap(({ partitions }) => partitions)
    .find(({ errorCode }) => errorCode === ErrorCode.UNSTABLE_OFFSET_COMMIT);
}

function outcomesOf(topics: readonly FetchedTopic[], { name: broker }: BrokerConnection): PartitionOutcomes {
  return topics.flatMap(({ name: topic, partitions }) =>
    partitions.map((told): Outcome<TopicPartition, CommittedOffset> => {
      const item = { topic, partition: told.partitionIndex };
      if (told.errorCode !== ErrorCode.NONE) {
        const error = brokerError(told.errorCode, partitionName(item), null, { broker });
        return { item, ok: false, error };
      }
      const { committedOffset, committedLeaderEpoch, metadata } = told;
      const value = {
        offset: committedOffset < 0 ? null : committedOffset,
        leaderEpoch: committedLeaderEpoch < 0 ? null : committedLeaderEpoch,
        metadata: metadata ?? "",
      };
      return { item, ok: true, value };
    }),
  );
}

export async function alteredOffsets(
  calls: Calls,
  parts: { readonly call: string; readonly groupId: string; readonly offsets: readonly OffsetToCommit[] },
  options: CallOptions,
): Promise<readonly Outcome<OffsetToCommit>[]> {
  const { call, groupId, offsets } = parts;
  interface Partition {
    readonly partitionIndex: number;
    readonly committedOffset: number;
    readonly committedLeaderEpoch?: number;
    readonly committedMetadata: string;
  }
  return calls.each(
    {
      call,
      items: offsets,
      name: (item) => `${partitionName(item)} of group ${groupId}`,
      topicOf: ({ topic }) => topic,
      route: coordinatorOf(calls.wire, "group", () => groupId),
      send: async (connection, items) => {
        const topics = byTopic(
          items,
          (name, partitions: Partition[]) => ({ name, partitions }),
          ({ partition, offset, leaderEpoch, metadata }) => ({
            partitionIndex: partition,
            committedOffset: offset,
            ...(leaderEpoch === undefined ? {} : { committedLeaderEpoch: leaderEpoch }),
            committedMetadata: metadata ?? "",
          }),
        );
        const answer = await connection.request(
          offsetCommit,
          { groupId, generationIdOrMemberEpoch: -1, memberId: "", topics },
          { versionMax: byNameVersionMax },
        );
        const said = byPartition(
          answer.topics,
          ({ name }) => name,
          ({ partitions }) => partitions.map((each) => [each.partitionIndex, each]),
        );
        return items.map((item) => explained(reply(said.get(partitionKey(item)), () => {})));
      },
    },
    options,
  );
}

/** An admin is no member, and that is not what is wrong. */
function explained(reply: Reply<void>): Reply<void> {
  if (reply?.ok !== false || reply.errorCode !== ErrorCode.UNKNOWN_MEMBER_ID) return reply;
  return { ...reply, errorMessage: "the group has members, which commit for themselves: stop them first" };
}

export async function deletedOffsets(
  calls: Calls,
  parts: { readonly groupId: string; readonly partitions: readonly TopicPartition[] },
  options: CallOptions,
): Promise<readonly Outcome<TopicPartition>[]> {
  const { groupId, partitions } = parts;
  return calls.each(
    {
      call: "groups.deleteOffsets",
      items: partitions,
      name: (item) => `${partitionName(item)} of group ${groupId}`,
      topicOf: ({ topic }) => topic,
      route: coordinatorOf(calls.wire, "group", () => groupId),
      send: async (connection, items) => {
        const answer = await connection.request(offsetDelete, {
          groupId,
          topics: byTopic(
            items,
            (name, each: { readonly partitionIndex: number }[]) => ({ name, partitions: each }),
            ({ partition }) => ({ partitionIndex: partition }),
          ),
        });
        check(answer, `group ${groupId}`, connection);
        const said = byPartition(
          answer.topics,
          ({ name }) => name,
          (topic) => topic.partitions.map((each) => [each.partitionIndex, each]),
        );
        return items.map((item) => reply(said.get(partitionKey(item)), () => {}));
      },
    },
    options,
  );
}
