import { describeShareGroupOffsets } from "kafka-protocol-ts/messages/90-describe-share-group-offsets";
import { alterShareGroupOffsets } from "kafka-protocol-ts/messages/91-alter-share-group-offsets";
import { deleteShareGroupOffsets } from "kafka-protocol-ts/messages/92-delete-share-group-offsets";
import { brokerError } from "../errors.ts";
import type { TopicPartition } from "../topic-partition.ts";
import { partitionKey } from "../topic-partition.ts";
import type { Batch, CallOptions, Calls } from "./calls.ts";
import { check, reply } from "./calls.ts";
import { isMany } from "./outcome.ts";
import type { Outcome } from "./outcome.ts";
import { byPartition, byTopic, partitionName } from "./partitions-by-topic.ts";
import { coordinatorOf } from "./routes.ts";

/** Where a share group stands in a partition. */
export interface ShareOffset {
  /** Everything below it is done with; null where the group has not begun. */
  readonly startOffset: number | null;
  /** Null where nobody told it. */
  readonly leaderEpoch: number | null;
  /** Records that are to be delivered; null where the broker is older than 4.2, or does not know. */
  readonly lag: number | null;
}

/** Where a share group shall begin in a partition. */
export interface ShareOffsetToSet extends TopicPartition {
  /** Everything below it counts as done with. */
  readonly startOffset: number;
}

type PartitionOutcomes = readonly Outcome<TopicPartition, ShareOffset>[];

/**
 * Offsets of share groups (KIP-932); `groups` lists, describes and deletes them.
 *
 * @example
 *     const offsets = await admin.shareGroups.offsets("workers");
 */
export class ShareGroupsAdmin {
  readonly #calls: Calls;

  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /**
   * Where share groups stand: in all partitions, or in those that are named (for one group only).
   *
   * @throws KafkaError of a single group: GROUP_ID_NOT_FOUND.
   */
  offsets(
    groupId: string,
    options?: CallOptions & { readonly partitions?: readonly TopicPartition[] },
  ): Promise<PartitionOutcomes>;
  offsets(groupIds: readonly string[], options?: CallOptions): Promise<readonly Outcome<string, PartitionOutcomes>[]>;
  async offsets(
    groupIds: string | readonly string[],
    options: CallOptions & { readonly partitions?: readonly TopicPartition[] } = {},
  ): Promise<PartitionOutcomes | readonly Outcome<string, PartitionOutcomes>[]> {
    const topics =
      options.partitions === undefined
        ? null
        : byTopic(
            options.partitions,
            (topicName, partitions: number[]) => ({ topicName, partitions }),
            ({ partition }) => partition,
          );
    const batch: Batch<string, PartitionOutcomes> = {
      call: "shareGroups.offsets",
      items: isMany(groupIds) ? groupIds : [groupIds],
      name: (groupId) => `group ${groupId}`,
      route: coordinatorOf(this.#calls.wire, "group", (groupId) => groupId),
      send: async (connection, items) => {
        const { groups } = await connection.request(describeShareGroupOffsets, {
          groups: items.map((groupId) => ({ groupId, topics })),
        });
        const said = new Map(groups.map((group) => [group.groupId, group]));
        return items.map((groupId) =>
          reply(said.get(groupId), (group) =>
            group.topics.flatMap(({ topicName: topic, partitions }) =>
              partitions.map((told): Outcome<TopicPartition, ShareOffset> => {
                const item = { topic, partition: told.partitionIndex };
                if (told.errorCode !== 0) {
                  const options = { broker: connection.name };
                  const error = brokerError(told.errorCode, partitionName(item), told.errorMessage, options);
                  return { item, ok: false, error };
                }
                const known = (number: number): number | null => (number < 0 ? null : number);
                const { startOffset, leaderEpoch, lag } = told;
                const value = { startOffset: known(startOffset), leaderEpoch: known(leaderEpoch), lag: known(lag) };
                return { item, ok: true, value };
              }),
            ),
          ),
        );
      },
    };
    return isMany(groupIds) ? this.#calls.each(batch, options) : this.#calls.one(batch, options);
  }

  /**
   * Sets where a share group without members begins.
   *
   * Outcomes fail with NON_EMPTY_GROUP while it has members.
   */
  async alterOffsets(
    groupId: string,
    offsets: readonly ShareOffsetToSet[],
    options: CallOptions = {},
  ): Promise<readonly Outcome<ShareOffsetToSet>[]> {
    return this.#calls.each(
      {
        call: "shareGroups.alterOffsets",
        items: offsets,
        name: (item) => `${partitionName(item)} of group ${groupId}`,
        topicOf: ({ topic }) => topic,
        route: coordinatorOf(this.#calls.wire, "group", () => groupId),
        send: async (connection, items) => {
          const answer = await connection.request(alterShareGroupOffsets, {
            groupId,
            topics: byTopic(
              items,
              (topicName, partitions: { readonly partitionIndex: number; readonly startOffset: number }[]) => ({
                topicName,
                partitions,
              }),
              ({ partition, startOffset }) => ({ partitionIndex: partition, startOffset }),
            ),
          });
          check(answer, `group ${groupId}`, connection);
          const said = byPartition(
            answer.responses,
            ({ topicName }) => topicName,
            ({ partitions }) => partitions.map((each) => [each.partitionIndex, each]),
          );
          return items.map((item) => reply(said.get(partitionKey(item)), () => {}));
        },
      },
      options,
    );
  }

  /**
   * Makes a share group without members forget topics.
   *
   * Outcomes fail with NON_EMPTY_GROUP while it has members.
   */
  async deleteOffsets(
    groupId: string,
    topics: readonly string[],
    options: CallOptions = {},
  ): Promise<readonly Outcome<string>[]> {
    return this.#calls.each(
      {
        call: "shareGroups.deleteOffsets",
        items: topics,
        name: (topic) => `topic ${topic} of group ${groupId}`,
        route: coordinatorOf(this.#calls.wire, "group", () => groupId),
        send: async (connection, items) => {
          const answer = await connection.request(deleteShareGroupOffsets, {
            groupId,
            topics: items.map((topicName) => ({ topicName })),
          });
          check(answer, `group ${groupId}`, connection);
          const said = new Map(answer.responses.map((topic) => [topic.topicName, topic]));
          return items.map((topic) => reply(said.get(topic), () => {}));
        },
      },
      options,
    );
  }
}
