import { ErrorCode } from "kafka-protocol-ts/errors";
import { offsetCommit } from "kafka-protocol-ts/messages/08-offset-commit";
import type { OffsetCommitRequestInput } from "kafka-protocol-ts/messages/08-offset-commit";
import { offsetFetch } from "kafka-protocol-ts/messages/09-offset-fetch";
import type { OffsetFetchResponse } from "kafka-protocol-ts/messages/09-offset-fetch";
import { brokerError, corrupt, KafkaError } from "../errors.ts";
import { zeroUuid } from "kafka-protocol-ts/reader";
import type { Wire } from "../network/wire.ts";
import { partitionKey } from "../topic-partition.ts";
import type { TopicPartition } from "../topic-partition.ts";
import type { NextOffset } from "./consumed-offsets.ts";
import type { GroupIdentity } from "./membership/membership.ts";

export interface CommittedOffset {
  readonly offset: number;
  readonly leaderEpoch: number;
  readonly metadata: string;
}

/** Codes that say: ask who coordinates now. */
const coordinatorErrors: ReadonlySet<number> = new Set([
  ErrorCode.NOT_COORDINATOR,
  ErrorCode.COORDINATOR_NOT_AVAILABLE,
]);

const lastVersionWithNames = 9;

/** The offsets of one group, as its coordinator keeps them. */
export class CommittedOffsets {
  readonly #wire: Wire;
  readonly #groupId: string;

  constructor(wire: Wire, groupId: string) {
    this.#wire = wire;
    this.#groupId = groupId;
  }

  /**
   * Stores where the group goes on. One request: who retries decides anew what is to be committed.
   *
   * @param identity null: of no member, as tools commit for a group that is empty.
   * @throws KafkaError with the worst code of all partitions.
   */
  async commit(offsets: readonly NextOffset[], identity: GroupIdentity | null): Promise<void> {
    await this.#asking(async () => {
      const connection = await this.#wire.coordinator("group", this.#groupId);
      const topicIds = await this.#topicIds(offsets);
      const hasIds = connection.versionOf(offsetCommit) > lastVersionWithNames;
      const answer = await connection.request(offsetCommit, {
        groupId: this.#groupId,
        generationIdOrMemberEpoch: identity?.epoch ?? -1,
        memberId: identity?.memberId ?? "",
        // A version that knows no static members is spoken by brokers that have none.
        ...(connection.versionOf(offsetCommit) >= 7 ? { groupInstanceId: identity?.instanceId ?? null } : {}),
        topics: [...Map.groupBy(offsets, ({ topic }) => topic)].map(([topic, of]) => ({
          ...(hasIds ? { topicId: topicIds.get(topic) ?? zeroUuid } : { name: topic }),
          partitions: of.map(({ partition, offset, leaderEpoch, metadata = "" }) => ({
            partitionIndex: partition,
            committedOffset: offset,
            committedLeaderEpoch: leaderEpoch,
            committedMetadata: metadata,
          })),
        })),
      } satisfies OffsetCommitRequestInput);
      let worst: KafkaError | null = null;
      for (const { name, topicId, partitions } of answer.topics) {
        const topic = hasIds ? (this.#wire.metadata.nameOf(topicId) ?? topicId) : name;
        for (const { partitionIndex, errorCode } of partitions) {
          if (errorCode === ErrorCode.NONE) continue;
          const error = this.#errorOf(errorCode, `commit of ${topic}-${partitionIndex}`);
          if (worst === null || (worst.retriable && !error.retriable)) worst = error;
        }
      }
      if (worst !== null) throw worst;
    });
  }

  /**
   * What is committed, stable even where a transaction has offsets pending (KIP-447): then this fails with
   * UNSTABLE_OFFSET_COMMIT, which passes. Partitions without an offset are missing.
   */
  async fetch(
    partitions: readonly TopicPartition[],
    identity: GroupIdentity | null,
  ): Promise<ReadonlyMap<string, CommittedOffset>> {
    return this.#asking(async () => {
      const connection = await this.#wire.coordinator("group", this.#groupId);
      const version = connection.versionOf(offsetFetch);
      const hasIds = version > lastVersionWithNames;
      const topicIds = await this.#topicIds(partitions);
      const topics = [...Map.groupBy(partitions, ({ topic }) => topic)].map(([topic, of]) => ({
        ...(hasIds ? { topicId: topicIds.get(topic) ?? zeroUuid } : { name: topic }),
        partitionIndexes: of.map(({ partition }) => partition),
      }));
      const requireStable = version >= 7;
      const member =
        version >= 9 && identity !== null ? { memberId: identity.memberId, memberEpoch: identity.epoch } : {};
      const answer = await connection.request(
        offsetFetch,
        version >= 8
          ? { groups: [{ groupId: this.#groupId, ...member, topics }], requireStable }
          : { groupId: this.#groupId, topics: topics as { name: string; partitionIndexes: number[] }[], requireStable },
      );
      return this.#found(answer, hasIds);
    });
  }

  #found(answer: OffsetFetchResponse, hasIds: boolean): ReadonlyMap<string, CommittedOffset> {
    const group = answer.groups[0] ?? answer;
    if (group.errorCode !== ErrorCode.NONE) throw this.#errorOf(group.errorCode, `offsets of group ${this.#groupId}`);
    const found = new Map<string, CommittedOffset>();
    for (const one of group.topics) {
      const topic = hasIds && "topicId" in one ? this.#wire.metadata.nameOf(one.topicId) : one.name;
      if (topic === null) throw corrupt(`the offsets of group ${this.#groupId} are of a topic that nobody asked for`);
      for (const each of one.partitions) {
        const key = partitionKey({ topic, partition: each.partitionIndex });
        if (each.errorCode !== ErrorCode.NONE) throw this.#errorOf(each.errorCode, `the committed offset of ${key}`);
        if (each.committedOffset < 0) continue;
        const { committedOffset: offset, committedLeaderEpoch: leaderEpoch, metadata } = each;
        found.set(key, { offset, leaderEpoch, metadata: metadata ?? "" });
      }
    }
    return found;
  }

  async #topicIds(partitions: readonly TopicPartition[]): Promise<ReadonlyMap<string, string>> {
    const names = [...new Set(partitions.map(({ topic }) => topic))];
    return new Map(
      await Promise.all(names.map(async (name) => [name, (await this.#wire.topic(name)).topicId] as const)),
    );
  }

  #errorOf(errorCode: number, what: string): KafkaError {
    if (coordinatorErrors.has(errorCode)) this.#wire.forgetCoordinator("group", this.#groupId);
    const error = brokerError(errorCode, what);
    // The group comes together: afterwards the same commit is accepted, or refused for good.
    if (errorCode === ErrorCode.REBALANCE_IN_PROGRESS || errorCode === ErrorCode.STALE_MEMBER_EPOCH)
      return new KafkaError(error.code, error.message, { retriable: true });
    return error;
  }

  async #asking<T>(ask: () => Promise<T>): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      const isLost =
        error instanceof KafkaError && ["NETWORK_EXCEPTION", "NOT_CONNECTED", "REQUEST_TIMED_OUT"].includes(error.code);
      if (isLost) this.#wire.forgetCoordinator("group", this.#groupId);
      throw error;
    }
  }
}
