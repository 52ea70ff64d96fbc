import { ErrorCode } from "kafka-protocol-ts/errors";
import { brokerError, KafkaError } from "../errors.ts";
import type { TopicMetadata } from "../network/metadata.ts";
import type { Wire } from "../network/wire.ts";
import type { CommittedOffsets } from "./committed-offsets.ts";
import type { GroupIdentity } from "./membership/membership.ts";
import type { PositionMoved, ReadOptions, ResolvedOptions } from "./options.ts";
import type { PartitionReading } from "./partition-reading.ts";
import { Positions } from "./positions.ts";
import type { StartAt } from "./positions.ts";

/** What a locator tells its consumption. */
export interface LocatorListener {
  /** The positions of these are known: they can be fetched. */
  onLocated(readings: readonly PartitionReading[]): void;
  onMoved(moved: PositionMoved): void;
  /** It is tried again by itself. */
  onTrouble(reading: PartitionReading, error: KafkaError): void;
  onFailure(reading: PartitionReading, error: KafkaError): void;
}

interface LocatorOptions {
  readonly options: ResolvedOptions;
  readonly read: ReadOptions;
  readonly listener: LocatorListener;
}

/** Whoever begins to read without a group wants to know soon that it cannot be done. */
const beginMsMax = 10_000;
const locateMsMax = 30_000;

/** Finds out where each partition is to be read from: at the beginning, and where a position turns out to be none. */
export class Locator {
  readonly #wire: Wire;
  readonly #options: ResolvedOptions;
  readonly #read: ReadOptions;
  readonly #listener: LocatorListener;
  readonly #positions: Positions;

  constructor(wire: Wire, { options, read, listener }: LocatorOptions) {
    this.#wire = wire;
    this.#options = options;
    this.#read = read;
    this.#listener = listener;
    this.#positions = new Positions(wire, options.isolation);
  }

  /**
   * The partitions of a topic that a consumer without a group reads, each with its beginning and, where asked for, its end.
   *
   * @throws KafkaError where the topic, a partition, or its leader is not there.
   */
  async begin(
    name: string,
    newReading: (topic: string, partition: number) => PartitionReading,
  ): Promise<readonly PartitionReading[]> {
    const { partitions, from = "earliest", untilEnd = false } = this.#read;
    const topic = await this.#wire.topic(name);
    const chosen = [...new Set(partitions ?? topic.partitions.map(({ index }) => index))];
    const missing = chosen.find((partition) => topic.partitions[partition] === undefined);
    if (missing !== undefined) {
      const sentence = `the topic has the partitions 0 to ${topic.partitions.length - 1}`;
      throw brokerError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, `partition ${name}-${missing}`, sentence);
    }
    const timeoutMs = Math.min(this.#options.outageMsMax, beginMsMax);
    const starts = await this.#positions.starts(name, chosen, from, timeoutMs);
    const ends = untilEnd ? await this.#positions.ends(name, chosen, timeoutMs) : null;
    return chosen.map((partition) => {
      const reading = newReading(name, partition);
      reading.moveTo(starts.get(partition)?.offset ?? 0);
      reading.endOffset = ends?.get(partition)?.offset ?? Number.POSITIVE_INFINITY;
      return reading;
    });
  }

  /** From the committed offset, always; without one, as `from` says. Tries until it succeeds, or the partitions are given up. */
  async locate(
    readings: readonly PartitionReading[],
    offsets: CommittedOffsets,
    identity: () => GroupIdentity | null,
  ): Promise<void> {
    for (;;) {
      const open = readings.filter((reading) => reading.isOwned && !reading.isLocated);
      if (open.length === 0) break;
      try {
        const what = `positions of group ${this.#options.group}`;
        await this.#wire.retrying({ what, timeoutMs: locateMsMax }, async () => {
          const committed = await offsets.fetch(open, identity());
          for (const reading of open) {
            const found = committed.get(reading.key);
            if (found === undefined || !reading.isOwned) continue;
            reading.moveTo(found.offset, found.leaderEpoch);
            reading.committedOffset = found.offset;
          }
        });
        await this.#reset(open, this.#read.from ?? "latest");
      } catch (error) {
        if (!(error instanceof KafkaError) || !error.retriable) {
          for (const reading of open) this.#listener.onFailure(reading, error as KafkaError);
          return;
        }
        for (const reading of open) this.#listener.onTrouble(reading, error);
      }
    }
    this.#listener.onLocated(readings.filter(({ isOwned }) => isOwned));
  }

  /** The first offset at or after a time, or an end of the partition. */
  async find({ topic, partition }: PartitionReading, at: StartAt): Promise<number | null> {
    return (await this.#positions.starts(topic, [partition], at, locateMsMax)).get(partition)?.offset ?? null;
  }

  /** The position is not in the log (any more): reading goes on from one of its ends. */
  async move(reading: PartitionReading, reason: PositionMoved["reason"], to: "earliest" | "latest"): Promise<void> {
    const { topic, partition, fetchOffset: before } = reading;
    reading.unlocate();
    while (reading.isOwned && !reading.isLocated) {
      try {
        await this.#reset([reading], to);
        this.#listener.onMoved({ topic, partition, reason, before, now: reading.fetchOffset });
      } catch (error) {
        if (!(error instanceof KafkaError) || !error.retriable) {
          this.#listener.onFailure(reading, error as KafkaError);
          return;
        }
        this.#listener.onTrouble(reading, error);
      }
    }
    this.#listener.onLocated([reading]);
  }

  /**
   * Whether a new leader has the records up to our position (KIP-320); if not, reading goes on where its log parts from what
   * was read.
   *
   * @throws KafkaError that may pass, or not.
   */
  async check(reading: PartitionReading, topic: TopicMetadata): Promise<void> {
    const { fetchOffset: before, fetchedEpoch, partition } = reading;
    const end = await this.#positions.endOfEpoch(topic, partition, fetchedEpoch);
    if (!reading.isOwned || reading.fetchOffset !== before) return;
    reading.checkedEpoch = topic.partitions[partition]?.leaderEpoch ?? -1;
    if (end === null || end.offset >= before) return;
    reading.moveTo(end.offset, end.leaderEpoch);
    this.#listener.onMoved({ topic: topic.name, partition, reason: "truncated", before, now: end.offset });
  }

  async #reset(readings: readonly PartitionReading[], from: StartAt): Promise<void> {
    const open = readings.filter((reading) => reading.isOwned && !reading.isLocated);
    for (const [topic, of] of Map.groupBy(open, (reading) => reading.topic)) {
      const indexes = of.map(({ partition }) => partition);
      const starts = await this.#positions.starts(topic, indexes, from, locateMsMax);
      for (const reading of of) {
        const found = starts.get(reading.partition);
        if (found !== undefined && reading.isOwned && !reading.isLocated) reading.moveTo(found.offset);
      }
    }
  }
}
