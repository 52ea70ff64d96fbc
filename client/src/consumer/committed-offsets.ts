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

/** Both by "topic-partition". */
export interface FetchedOffsets {
  readonly found: ReadonlyMap<string, CommittedOffset>;
  readonly failures: ReadonlyMap<string, KafkaError>;
}

/** Codes that say: ask who coordinates now. */
const coordinatorErrors: ReadonlySet<number> = new Set([
  ErrorCode.NOT_COORDINATOR,
  ErrorCode.COORDINATOR_NOT_AVAILABLE,
]);

/** Codes that say: ask what the topic is now. */
const topicErrors: ReadonlySet<number> = new Set([
  ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
  ErrorCode.UNKNOWN_TOPIC_ID,
  ErrorCode.INCONSISTENT_TOPIC_ID,
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
   * @param isWanted is asked when the request is about to leave, which may be a while after the call: where one of them is
   * not wanted any more, nothing is sent. It is told the id of the topic that the commit is for.
   * @returns the failures by "topic-partition"; all others are stored.
   * @throws KafkaError where there was no answer.
   */
  async commit(
    offsets: readonly NextOffset[],
    identity: GroupIdentity | null,
    isWanted: (offset: NextOffset, topicId: string) => boolean = () => true,
  ): Promise<ReadonlyMap<string, KafkaError>> {
    return this.#asking(async () => {
      const connection = await this.#wire.coordinator("group", this.#groupId);
      const version = connection.versionOf(offsetCommit);
      const hasIds = version > lastVersionWithNames;
      const failures = new Map<string, KafkaError>();
      // Also where topics go by their names: a commit that is for a topic that is gone is none for the next of its name.
      const { named, names, ids } = await this.#withIds(offsets, true, failures);
      if (named.length === 0) return failures;
      const late = named.find((offset) => !isWanted(offset, ids.get(offset.topic) ?? zeroUuid));
      if (late !== undefined) {
        const sentence = `${partitionKey(late)} was given up before its offset was on its way`;
        throw new KafkaError("NOT_ASSIGNED", sentence, { retriable: true });
      }
      const answer = await connection.request(offsetCommit, {
        groupId: this.#groupId,
        generationIdOrMemberEpoch: identity?.epoch ?? -1,
        memberId: identity?.memberId ?? "",
        // A version that knows no static members is spoken by brokers that have none.
        ...(version >= 7 ? { groupInstanceId: identity?.instanceId ?? null } : {}),
        topics: [...Map.groupBy(named, ({ topic }) => topic)].map(([topic, of]) => ({
          ...(hasIds ? { topicId: ids.get(topic) ?? zeroUuid } : { name: topic }),
          partitions: of.map(({ partition, offset, leaderEpoch, metadata = "" }) => ({
            partitionIndex: partition,
            committedOffset: offset,
            committedLeaderEpoch: leaderEpoch,
            committedMetadata: metadata,
          })),
        })),
      } satisfies OffsetCommitRequestInput);
      const open = new Set(named.map(partitionKey));
      for (const { name, topicId, partitions } of answer.topics) {
        const topic = (hasIds ? names.get(topicId) : name) ?? topicId;
        for (const { partitionIndex, errorCode } of partitions) {
          const key = partitionKey({ topic, partition: partitionIndex });
          open.delete(key);
          if (errorCode === ErrorCode.NONE) continue;
          failures.set(key, this.#errorOf(errorCode, `commit of ${key}`));
          this.#forgetIfUnknown(topic, errorCode);
        }
      }
      for (const key of open) failures.set(key, corrupt(`the answer to OffsetCommit does not mention ${key}`));
      return failures;
    });
  }

  /**
   * What is committed, stable even where a transaction has offsets pending (KIP-447): such a partition fails with
   * UNSTABLE_OFFSET_COMMIT, which passes. Partitions without an offset are in neither map.
   *
   * @throws KafkaError where there was no answer, or one that is an error of the whole group.
   */
  async fetch(partitions: readonly TopicPartition[], identity: GroupIdentity | null): Promise<FetchedOffsets> {
    return this.#asking(async () => {
      const connection = await this.#wire.coordinator("group", this.#groupId);
      const version = connection.versionOf(offsetFetch);
      const hasIds = version > lastVersionWithNames;
      const failures = new Map<string, KafkaError>();
      const { named, names, ids } = await this.#withIds(partitions, hasIds, failures);
      if (named.length === 0) return { found: new Map(), failures };
      const topics = [...Map.groupBy(named, ({ topic }) => topic)].map(([topic, of]) => ({
        ...(hasIds ? { topicId: ids.get(topic) ?? zeroUuid } : { name: topic }),
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
      return { found: this.#found(answer, hasIds ? names : null, failures), failures };
    });
  }

  /** @param names by topic id; null where the answer has names. */
  #found(
    answer: OffsetFetchResponse,
    names: ReadonlyMap<string, string> | null,
    failures: Map<string, KafkaError>,
  ): ReadonlyMap<string, CommittedOffset> {
    const group = answer.groups[0] ?? answer;
    if (group.errorCode !== ErrorCode.NONE) throw this.#errorOf(group.errorCode, `offsets of group ${this.#groupId}`);
    const found = new Map<string, CommittedOffset>();
    for (const one of group.topics) {
      const topic = names !== null && "topicId" in one ? names.get(one.topicId) : one.name;
      if (topic === undefined)
        throw corrupt(`the offsets of group ${this.#groupId} are of a topic that nobody asked for`);
      for (const each of one.partitions) {
        const key = partitionKey({ topic, partition: each.partitionIndex });
        if (each.errorCode !== ErrorCode.NONE) {
          failures.set(key, this.#errorOf(each.errorCode, `the committed offset of ${key}`));
          this.#forgetIfUnknown(topic, each.errorCode);
          continue;
        }
        if (each.committedOffset < 0) continue;
        const { committedOffset: offset, committedLeaderEpoch: leaderEpoch, metadata } = each;
        found.set(key, { offset, leaderEpoch, metadata: metadata ?? "" });
      }
    }
    return found;
  }

  /** What is known of it may be of one that is gone: the next attempt asks what it is by then. */
  #forgetIfUnknown(topic: string, errorCode: number): void {
    if (topicErrors.has(errorCode)) this.#wire.metadata.forget(topic);
  }

  /** Where topics go by their ids, those without one have failed: no other topic waits for them. */
  async #withIds<Of extends TopicPartition>(
    partitions: readonly Of[],
    hasIds: boolean,
    failures: Map<string, KafkaError>,
  ): Promise<{
    readonly named: readonly Of[];
    readonly names: ReadonlyMap<string, string>;
    readonly ids: ReadonlyMap<string, string>;
  }> {
    const names = new Map<string, string>();
    const ids = new Map<string, string>();
    if (!hasIds) return { named: partitions, names, ids };
    const errors = new Map<string, KafkaError>();
    const asked = [...new Set(partitions.map(({ topic }) => topic))].map(async (topic) => {
      try {
        const { topicId } = await this.#wire.topic(topic);
        ids.set(topic, topicId);
        names.set(topicId, topic);
      } catch (error) {
        if (!(error instanceof KafkaError)) throw error;
        errors.set(topic, error);
      }
    });
    await Promise.all(asked);
    for (const partition of partitions) {
      const error = errors.get(partition.topic);
      if (error !== undefined) failures.set(partitionKey(partition), error);
    }
    return { named: partitions.filter(({ topic }) => ids.has(topic)), names, ids };
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
