import { ErrorCode } from "kafka-protocol-ts/errors";
import { listOffsets } from "kafka-protocol-ts/messages/02-list-offsets";
import { offsetForLeaderEpoch } from "kafka-protocol-ts/messages/23-offset-for-leader-epoch";
import { brokerError, corrupt } from "../errors.ts";
import type { TopicMetadata } from "../network/metadata.ts";
import type { Wire } from "../network/wire.ts";

/** Where reading begins: an end of the log, an offset, or the first record at or after a time (milliseconds since 1970). */
export type StartAt = "earliest" | "latest" | { readonly offset: number } | { readonly timestamp: number };

export interface FoundOffset {
  /** -1: there is none. */
  readonly offset: number;
  readonly leaderEpoch: number;
}

const latest = -1;
const earliest = -2;

/** Asks the leaders of partitions for offsets. */
export class Positions {
  readonly #wire: Wire;
  readonly #isolationLevel: number;

  constructor(wire: Wire, isolation: "read_uncommitted" | "read_committed") {
    this.#wire = wire;
    this.#isolationLevel = isolation === "read_committed" ? 1 : 0;
  }

  /** @throws KafkaError TIMED_OUT with the last failure as its cause, or one that no retry mends. */
  async starts(
    topic: string,
    partitions: readonly number[],
    from: StartAt,
    timeoutMs: number,
  ): Promise<ReadonlyMap<number, FoundOffset>> {
    if (from === "earliest") return this.#ask(topic, partitions, earliest, timeoutMs);
    if (from === "latest") return this.#ask(topic, partitions, latest, timeoutMs);
    if ("offset" in from)
      return new Map(partitions.map((partition) => [partition, { offset: from.offset, leaderEpoch: -1 }]));
    const found = await this.#ask(topic, partitions, from.timestamp, timeoutMs);
    // No record is so young: what comes next is.
    const without = partitions.filter((partition) => (found.get(partition)?.offset ?? -1) < 0);
    return new Map([...found, ...(await this.#ask(topic, without, latest, timeoutMs))]);
  }

  async ends(
    topic: string,
    partitions: readonly number[],
    timeoutMs: number,
  ): Promise<ReadonlyMap<number, FoundOffset>> {
    return this.#ask(topic, partitions, latest, timeoutMs);
  }

  /**
   * Where the records of a leader epoch end (KIP-320): an offset below our position says that records we have read, or
   * would have read on from, were truncated.
   *
   * @returns null where the broker cannot say.
   */
  async endOfEpoch(topic: TopicMetadata, partition: number, leaderEpoch: number): Promise<FoundOffset | null> {
    const connection = await this.#wire.leader(topic, partition);
    if (!connection.serves(offsetForLeaderEpoch, 3)) return null;
    const currentLeaderEpoch = topic.partitions[partition]?.leaderEpoch ?? -1;
    const answer = await connection.request(offsetForLeaderEpoch, {
      replicaId: -1,
      topics: [{ topic: topic.name, partitions: [{ partition, currentLeaderEpoch, leaderEpoch }] }],
    });
    const found = answer.topics[0]?.partitions[0];
    if (found === undefined)
      throw corrupt(`the answer to OffsetForLeaderEpoch does not mention ${topic.name}-${partition}`);
    if (found.errorCode !== ErrorCode.NONE) throw brokerError(found.errorCode, `${topic.name}-${partition}`);
    return found.endOffset < 0 ? null : { offset: found.endOffset, leaderEpoch: found.leaderEpoch };
  }

  /** Asks each leader once for all its partitions. */
  async #ask(
    name: string,
    partitions: readonly number[],
    timestamp: number,
    timeoutMs: number,
  ): Promise<ReadonlyMap<number, FoundOffset>> {
    const found = new Map<number, FoundOffset>();
    if (partitions.length === 0) return found;
    await this.#wire.retrying({ what: `offsets of ${name}`, timeoutMs }, async () => {
      const topic = await this.#wire.topic(name);
      const missing = partitions.filter((partition) => !found.has(partition));
      const byLeader = Map.groupBy(missing, (partition) => topic.partitions[partition]?.leaderId ?? -1);
      const answers = [...byLeader.values()].map(async (led) => this.#askLeader(topic, led, timestamp));
      try {
        for (const answer of await Promise.all(answers)) for (const [index, offset] of answer) found.set(index, offset);
      } catch (error) {
        this.#wire.metadata.forget(name);
        throw error;
      }
    });
    return found;
  }

  async #askLeader(
    topic: TopicMetadata,
    partitions: readonly number[],
    timestamp: number,
  ): Promise<ReadonlyMap<number, FoundOffset>> {
    const { name } = topic;
    const connection = await this.#wire.leader(topic, partitions[0] ?? 0);
    const answer = await connection.request(listOffsets, {
      replicaId: -1,
      isolationLevel: this.#isolationLevel,
      topics: [
        {
          name,
          partitions: partitions.map((partitionIndex) => ({
            partitionIndex,
            currentLeaderEpoch: topic.partitions[partitionIndex]?.leaderEpoch ?? -1,
            timestamp,
          })),
        },
      ],
    });
    const found = new Map<number, FoundOffset>();
    for (const { partitionIndex, errorCode, offset, leaderEpoch } of answer.topics[0]?.partitions ?? []) {
      if (errorCode !== ErrorCode.NONE) throw brokerError(errorCode, `${name}-${partitionIndex}`);
      found.set(partitionIndex, { offset, leaderEpoch });
    }
    const missing = partitions.find((partition) => !found.has(partition));
    if (missing === undefined) return found;
    throw corrupt(`the answer to ListOffsets does not mention ${name}-${missing}`);
  }
}
