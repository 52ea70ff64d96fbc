import { ErrorCode } from "kafka-protocol-ts/errors";
import { brokerError, isRetriableError, KafkaError } from "../errors.ts";
import type { TopicMetadata } from "../network/metadata.ts";
import type { Wire } from "../network/wire.ts";
import { refusals } from "./commits.ts";
import type { CommittedOffsets } from "./committed-offsets.ts";
import type { GroupIdentity } from "./membership/membership.ts";
import type { PositionMoved, ReadOptions, ResolvedOptions } from "./options.ts";
import type { PartitionReading } from "./partition-reading.ts";
import { Positions } from "./positions.ts";
import type { FoundOffset, StartAt } from "./positions.ts";

/** What a locator tells its consumption. */
export interface LocatorListener {
  /** The positions of these are known: they can be fetched. */
  onLocated(readings: readonly PartitionReading[]): void;
  onMoved(moved: PositionMoved): void;
  /** It is the same one again: what is wrong is not the position. */
  onUnmoved(reading: PartitionReading): void;
  /** It is tried again by itself. */
  onTrouble(reading: PartitionReading, error: KafkaError): void;
  onFailure(reading: PartitionReading, error: KafkaError): void;
}

/** What a locator must know of a group. */
export interface LocatedGroup {
  readonly offsets: CommittedOffsets;
  readonly identity: () => GroupIdentity | null;
  /** The coordinator does not take this identity for a member's. */
  readonly onRefused: (identity: GroupIdentity, error: KafkaError) => void;
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
  /**
   * Where partitions began of which the group has no offset; by topic id and partition. Whoever comes back to one that still
   * has none goes on there: what `from` says may be another place by then, with records before it that nobody has read.
   */
  readonly #starts = new Map<string, FoundOffset>();
  readonly #endsAsked = new Set<PartitionReading>();

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
    const topic = await this.#wire.topicSoon(name);
    const chosen = [...new Set(partitions ?? topic.partitions.map(({ index }) => index))];
    const missing = chosen.find((partition) => topic.partitions[partition] === undefined);
    if (missing !== undefined) {
      const sentence = `the topic has the partitions 0 to ${topic.partitions.length - 1}`;
      throw brokerError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, `partition ${name}-${missing}`, sentence);
    }
    const timeoutMs = Math.min(this.#options.outageMsMax, beginMsMax);
    const starts = await this.#positions.starts(name, chosen, startOf(from, name), timeoutMs);
    const ends = untilEnd ? await this.#positions.starts(name, chosen, "latest", timeoutMs) : null;
    return chosen.map((partition) => {
      const reading = newReading(name, partition);
      reading.moveTo(starts.get(partition)?.offset ?? 0);
      reading.endOffset = ends?.get(partition)?.offset ?? Number.POSITIVE_INFINITY;
      return reading;
    });
  }

  /**
   * From the committed offset, always; without one, as `from` says. Each is told as soon as it is known, whatever keeps the
   * others. Tries until all are known, or given up.
   */
  async locate(readings: readonly PartitionReading[], group: LocatedGroup): Promise<void> {
    const left = new Set(readings);
    const open = (): readonly PartitionReading[] => {
      for (const reading of left) if (!reading.isOwned || reading.isLocated || reading.hasFailed) left.delete(reading);
      return [...left];
    };
    const withoutOffset = new Set<PartitionReading>();
    while (open().length > 0) {
      try {
        const what = `positions of group ${this.#options.group}`;
        await this.#wire.retrying({ what, timeoutMs: locateMsMax }, async () => {
          const failures = [
            ...(await this.#restore(open(), group, withoutOffset)),
            ...(await this.#lookFor(
              open().filter((reading) => withoutOffset.has(reading)),
              this.#read.from ?? "latest",
            )),
          ];
          const failure = failures.find((error) => !isRetriableError(error)) ?? failures[0];
          if (failure !== undefined) throw failure;
        });
      } catch (error) {
        const isForGood = !isRetriableError(error);
        for (const reading of open()) {
          reading.hasFailed = isForGood;
          if (isForGood) this.#listener.onFailure(reading, error as KafkaError);
          else this.#listener.onTrouble(reading, error as KafkaError);
        }
      }
    }
  }

  /** What the group has committed; adds those of which it has nothing. */
  async #restore(
    readings: readonly PartitionReading[],
    { offsets, identity, onRefused }: LocatedGroup,
    withoutOffset: Set<PartitionReading>,
  ): Promise<readonly KafkaError[]> {
    const asked = readings.filter((reading) => !withoutOffset.has(reading));
    if (asked.length === 0) return [];
    const member = identity();
    // The membership finds out where it stands: either we are told to give these up, or the next attempt succeeds.
    const passing = (error: KafkaError): KafkaError => {
      if (member === null || !refusals.has(error.code)) return error;
      onRefused(member, error);
      return new KafkaError(error.code, error.message, { retriable: true, cause: error });
    };
    try {
      const { found, failures } = await offsets.fetch(asked, member);
      const located: PartitionReading[] = [];
      for (const reading of asked) {
        const committed = found.get(reading.key);
        // Sought elsewhere meanwhile, or found by an earlier attempt whose answer came late.
        if (!reading.isOwned || reading.isLocated || failures.has(reading.key)) continue;
        if (committed === undefined) {
          withoutOffset.add(reading);
          continue;
        }
        reading.moveTo(committed.offset, committed.leaderEpoch);
        reading.committedOffset = committed.offset;
        located.push(reading);
      }
      if (located.length > 0) this.#listener.onLocated(located);
      return [...failures.values()].map((error) => passing(error));
    } catch (error) {
      if (error instanceof KafkaError) return [passing(error)];
      throw error;
    }
  }

  async #lookFor(
    readings: readonly PartitionReading[],
    from: NonNullable<ReadOptions["from"]>,
  ): Promise<readonly KafkaError[]> {
    const topics = [...Map.groupBy(readings, ({ topic }) => topic)];
    const failures = await Promise.all(
      topics.map(async ([topic, of]): Promise<KafkaError | null> => {
        try {
          const indexes = of.map(({ partition }) => partition);
          const { topicId } = await this.#wire.topic(topic);
          const keyOf = (partition: number): string => `${topicId} ${partition}`;
          const known = indexes.filter((partition) => this.#starts.has(keyOf(partition)));
          const others = indexes.filter((partition) => !known.includes(partition));
          const { found, failure } = await this.#positions.look(topic, others, startOf(from, topic));
          for (const [partition, start] of found) this.#starts.set(keyOf(partition), start);
          this.#place(of, (partition) => this.#starts.get(keyOf(partition)));
          return failure;
        } catch (error) {
          if (error instanceof KafkaError) return error;
          throw error;
        }
      }),
    );
    return failures.filter((error) => error !== null);
  }

  #place(readings: readonly PartitionReading[], startAt: (partition: number) => FoundOffset | undefined): void {
    const located: PartitionReading[] = [];
    for (const reading of readings) {
      const start = startAt(reading.partition);
      if (start === undefined || !reading.isOwned || reading.isLocated) continue;
      reading.moveTo(start.offset);
      located.push(reading);
    }
    if (located.length > 0) this.#listener.onLocated(located);
  }

  /** The first offset at or after a time, or an end of the partition. */
  async find({ topic, partition }: PartitionReading, at: StartAt): Promise<number | null> {
    return (await this.#positions.starts(topic, [partition], at, locateMsMax)).get(partition)?.offset ?? null;
  }

  /** The position is not in the log (any more): reading goes on from one of its ends. */
  async move(reading: PartitionReading, reason: PositionMoved["reason"], to: "earliest" | "latest"): Promise<void> {
    const { topic, partition, fetchOffset: before } = reading;
    if (reason === "recreated") reading.beginAnew();
    else reading.unlocate();
    while (reading.isOwned && !reading.isLocated && !reading.hasFailed) {
      try {
        const found = await this.#positions.starts(topic, [partition], to, locateMsMax);
        const now = found.get(partition)?.offset;
        // Sought elsewhere meanwhile.
        if (now === undefined || !reading.isOwned || reading.isLocated) continue;
        reading.moveTo(now);
        // A topic that was made again may well be read from the same offset.
        if (now === before && reason !== "recreated") this.#listener.onUnmoved(reading);
        else this.#listener.onMoved({ topic, partition, reason, before, now });
        this.#listener.onLocated([reading]);
      } catch (error) {
        reading.hasFailed = !isRetriableError(error);
        if (reading.hasFailed) this.#listener.onFailure(reading, error as KafkaError);
        else this.#listener.onTrouble(reading, error as KafkaError);
      }
    }
  }

  /**
   * Whether the end that was to be read to is still there; if not, reading ends where the log does. Only the leader knows, and
   * it says so only when it is sure of its end (KIP-207). Whether it has moved; never rejects: the next answer asks again.
   */
  async findEnd(reading: PartitionReading): Promise<boolean> {
    if (this.#endsAsked.has(reading)) return false;
    this.#endsAsked.add(reading);
    try {
      const { topic, partition } = reading;
      const end = (await this.#positions.look(topic, [partition], "latest")).found.get(partition)?.offset;
      if (end === undefined || end >= reading.endOffset) return false;
      reading.endOffset = Math.max(reading.fetchOffset, end);
      return true;
    } catch (error) {
      this.#wire.logger.debug("the end of a partition could not be asked for", { partition: reading.key, error });
      return false;
    } finally {
      this.#endsAsked.delete(reading);
    }
  }

  /**
   * Whether a new leader has the records up to our position (KIP-320); if not, reading goes on where its log parts from what
   * was read. A leader that does not know the epoch of what we have read has none of it.
   *
   * @returns "lost" where nobody knows whence to go on.
   * @throws KafkaError that may pass, or not.
   */
  async check(reading: PartitionReading, topic: TopicMetadata): Promise<"checked" | "lost"> {
    const { fetchOffset: before, fetchedEpoch, lease, partition } = reading;
    const end = await this.#positions.endOfEpoch(topic, partition, fetchedEpoch);
    if (!reading.isOwned || reading.fetchOffset !== before || reading.lease !== lease) return "checked";
    if (end === "unknown") return "lost";
    reading.checkedEpoch = topic.partitions[partition]?.leaderEpoch ?? -1;
    if (end === null || end.offset >= before) return "checked";
    const seen = lease.handedOutTo;
    // What was fetched and not seen by anybody is fetched again; what is not done is handed out again.
    if (end.offset <= lease.position) reading.moveTo(end.offset, end.leaderEpoch);
    else reading.moveTo(lease.position, lease.positionEpoch);
    if (end.offset < seen) {
      this.#listener.onMoved({
        topic: topic.name,
        partition,
        reason: "truncated",
        before: seen,
        now: reading.fetchOffset,
      });
    }
    return "checked";
  }
}

function startOf(from: NonNullable<ReadOptions["from"]>, topic: string): StartAt {
  const start = typeof from === "function" ? from(topic) : from;
  if (typeof start === "object" && "offset" in start) checkOffset(topic, start.offset);
  return start;
}

/** @throws KafkaError INVALID_CONFIG: below 0 a partition would have no position, and never be read. */
export function checkOffset(where: string, offset: number): void {
  if (Number.isSafeInteger(offset) && offset >= 0) return;
  throw new KafkaError("INVALID_CONFIG", `${where}: ${offset} is no offset; take "earliest", "latest" or one from 0`);
}
