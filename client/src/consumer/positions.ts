import { ErrorCode } from "kafka-protocol-ts/errors";
import { listOffsets } from "kafka-protocol-ts/messages/02-list-offsets";
import { offsetForLeaderEpoch } from "kafka-protocol-ts/messages/23-offset-for-leader-epoch";
import { brokerError, corrupt, isRetriableError } from "../errors.ts";
import type { KafkaError } from "../errors.ts";
import type { TopicMetadata } from "../network/metadata.ts";
import type { Wire } from "../network/wire.ts";

/** Where reading begins: an end of the log, an offset, or the first record at or after a time (milliseconds since 1970). */
export type StartAt = "earliest" | "latest" | { readonly offset: number } | { readonly timestamp: number };

export interface FoundOffset {
  /** -1: there is none. */
  readonly offset: number;
  readonly leaderEpoch: number;
}

/** What one attempt has found, and why it has not found the others; by partition. */
export interface FoundOffsets {
  readonly found: ReadonlyMap<number, FoundOffset>;
  readonly failure: KafkaError | null;
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
    const found = new Map<number, FoundOffset>();
    await this.#wire.retrying({ what: `offsets of ${topic}`, timeoutMs }, async () => {
      const missing = partitions.filter((partition) => !found.has(partition));
      const answer = await this.look(topic, missing, from);
      for (const [partition, offset] of answer.found) found.set(partition, offset);
      if (answer.failure !== null) throw answer.failure;
    });
    return found;
  }

  /** As `starts`, but one attempt: what is not known now must be asked for again. */
  async look(topic: string, partitions: readonly number[], from: StartAt): Promise<FoundOffsets> {
    if (from === "earliest") return this.#ask(topic, partitions, earliest);
    if (from === "latest") return this.#ask(topic, partitions, latest);
    if ("offset" in from) {
      const { offset } = from;
      return { found: new Map(partitions.map((index) => [index, { offset, leaderEpoch: -1 }])), failure: null };
    }
    const { found, failure } = await this.#ask(topic, partitions, from.timestamp);
    // No record is so young: what comes next is.
    const without = [...found].filter(([, { offset }]) => offset < 0).map(([partition]) => partition);
    const ends = await this.#ask(topic, without, latest);
    const known = [...found].filter(([, { offset }]) => offset >= 0);
    return { found: new Map([...known, ...ends.found]), failure: failure ?? ends.failure };
  }

  /**
   * Where the records of a leader epoch end (KIP-320): an offset below our position says that records we have read, or
   * would have read on from, were truncated.
   *
   * @returns "unknown" where the leader has never heard of the epoch; null where the broker is too old to be asked.
   */
  async endOfEpoch(
    topic: TopicMetadata,
    partition: number,
    leaderEpoch: number,
  ): Promise<FoundOffset | "unknown" | null> {
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
    return found.endOffset < 0 ? "unknown" : { offset: found.endOffset, leaderEpoch: found.leaderEpoch };
  }

  /** Asks each leader once for all its partitions; one that is away keeps nobody from what the others say. */
  async #ask(name: string, partitions: readonly number[], timestamp: number): Promise<FoundOffsets> {
    const found = new Map<number, FoundOffset>();
    if (partitions.length === 0) return { found, failure: null };
    const topic = await this.#wire.topic(name);
    const byLeader = Map.groupBy(partitions, (partition) => topic.partitions[partition]?.leaderId ?? -1);
    const answers = [...byLeader.values()].map(async (led) => this.#askLeader(topic, led, { timestamp, found }));
    const failures = (await Promise.allSettled(answers)).flatMap((outcome) =>
      outcome.status === "rejected" ? [outcome.reason as KafkaError] : [],
    );
    if (failures.length > 0) this.#wire.metadata.forget(name);
    return { found, failure: failures.find((error) => !isRetriableError(error)) ?? failures[0] ?? null };
  }

  async #askLeader(
    topic: TopicMetadata,
    partitions: readonly number[],
    { timestamp, found }: { readonly timestamp: number; readonly found: Map<number, FoundOffset> },
  ): Promise<void> {
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
    const failures: KafkaError[] = [];
    for (const { partitionIndex, errorCode, offset, leaderEpoch } of answer.topics[0]?.partitions ?? []) {
      // Only a time may have no record; a log has both its ends.
      if (errorCode === ErrorCode.NONE && timestamp < 0 && offset < 0)
        throw corrupt(`the answer to ListOffsets says that ${name}-${partitionIndex} ends at ${offset}`);
      if (errorCode === ErrorCode.NONE) found.set(partitionIndex, { offset, leaderEpoch });
      else failures.push(brokerError(errorCode, `${name}-${partitionIndex}`));
    }
    const failure = failures.find((error) => !error.retriable) ?? failures[0];
    if (failure !== undefined) throw failure;
    const missing = partitions.find((partition) => !found.has(partition));
    if (missing !== undefined) throw corrupt(`the answer to ListOffsets does not mention ${name}-${missing}`);
  }
}
