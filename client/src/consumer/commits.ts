import type { Timer } from "@millrace/base/world";
import { zeroUuid } from "kafka-protocol-ts/reader";
import { KafkaError } from "../errors.ts";
import type { Wire } from "../network/wire.ts";
import { partitionKey } from "../topic-partition.ts";
import type { TopicPartition } from "../topic-partition.ts";
import type { CommittedOffsets } from "./committed-offsets.ts";
import type { NextOffset } from "./consumed-offsets.ts";
import type { GroupIdentity, Membership } from "./membership/membership.ts";
import type { PartitionReading } from "./partition-reading.ts";

type Readings = ReadonlyMap<string, PartitionReading>;

interface CommitsOptions {
  readonly wire: Wire;
  readonly offsets: CommittedOffsets;
  readonly membership: Membership;
  /** What is owned, and what is about to be given up. */
  readonly readings: Readings;
  /** Null: only when it is asked for. */
  readonly intervalMs: number | null;
}

const commitMsMax = 30_000;
/** One in the background is followed by another: it must not keep those that somebody waits for. */
const backgroundMsMax = 5_000;
/** Nobody waits long for a consumer that ends: what is not committed is read again. */
const lastMsMax = 10_000;
/** A topic that is being made may be unknown for a moment; one that was deleted stays so, and keeps others waiting. */
const unknownTopicAttemptsMax = 3;

/** The commits of a consumption: one after the other, so that none overtakes a later one, and of what is owned then. */
export class Commits {
  readonly #wire: Wire;
  readonly #offsets: CommittedOffsets;
  readonly #membership: Membership;
  readonly #readings: Readings;
  readonly #intervalMs: number | null;
  #timer: Timer | null = null;
  #last: Promise<void> = Promise.resolve();
  #isInBackground = false;
  #isWantedAgain = false;
  #isEnding = false;

  constructor({ wire, offsets, membership, readings, intervalMs }: CommitsOptions) {
    this.#wire = wire;
    this.#offsets = offsets;
    this.#membership = membership;
    this.#readings = readings;
    this.#intervalMs = intervalMs;
  }

  /** Every interval from now on. */
  start(): void {
    if (this.#intervalMs === null || this.#isEnding) return;
    this.#timer = this.#wire.world.clock.schedule(this.#intervalMs, () => {
      this.inBackground();
      this.start();
    });
  }

  /** Only what is given up is committed from now on. */
  end(): void {
    this.#isEnding = true;
    this.#timer?.cancel();
  }

  /** @throws KafkaError NOT_A_MEMBER while the group comes together. */
  identity(): GroupIdentity {
    const { identity, groupId } = this.#membership;
    if (identity !== null) return identity;
    throw new KafkaError("NOT_A_MEMBER", `this consumer is no member of ${groupId} at present`, { retriable: true });
  }

  /**
   * Commits what is done, or these offsets; settles when the coordinator has them.
   *
   * @throws KafkaError NOT_ASSIGNED where one of these is not this consumer's, or was lost before they were committed.
   */
  async commit(offsets?: readonly NextOffset[]): Promise<void> {
    const readings = new Map(this.#readings);
    const missing = offsets?.find((offset) => !readings.has(partitionKey(offset)));
    if (missing !== undefined) throw notAssigned(missing);
    if (offsets === undefined) return this.#queue(async () => this.#commitAll());
    const required = new Set(offsets.map(partitionKey));
    return this.#queue(async () => this.#commit(offsets, { readings, required }));
  }

  /**
   * Commits what is done, of this one among it.
   *
   * @throws KafkaError NOT_ASSIGNED where it was given up before.
   */
  async commitOf(reading: PartitionReading): Promise<void> {
    return this.#queue(async () => {
      if (!this.#isSame(reading)) throw notAssigned(reading);
      await this.#commitAll();
    });
  }

  async #commitAll(): Promise<void> {
    const readings = new Map(this.#readings);
    const wanted = committable(readings.values());
    await this.#commit(wanted, { readings, required: new Set(wanted.map(partitionKey)) });
  }

  /** What is done of those that are given up. */
  async commitLast(readings: readonly PartitionReading[]): Promise<void> {
    const byKey = new Map(readings.map((reading) => [reading.key, reading]));
    const timeoutMs = this.#isEnding ? lastMsMax : commitMsMax;
    return this.#queue(async () => {
      await this.#commit(committable(readings), { readings: byKey, timeoutMs, isAwaited: false });
    });
  }

  /** Settles when all that was asked for has been tried. */
  async underWay(): Promise<void> {
    await this.#last;
  }

  /** What is done, soon; one at a time, however often it is asked for. */
  inBackground(): void {
    if (this.#isEnding) return;
    if (this.#isInBackground) {
      this.#isWantedAgain = true;
      return;
    }
    this.#isInBackground = true;
    void this.#queue(async () => {
      const readings = new Map(this.#readings);
      this.#isWantedAgain = false;
      await this.#commit(committable(readings.values()), { readings, timeoutMs: backgroundMsMax, isAwaited: false });
    })
      .catch((error: unknown) => {
        if (!this.#isEnding) this.#wire.logger.warn("offsets could not be committed", { error });
        // The next interval tries again.
        this.#isWantedAgain = false;
      })
      .finally(() => {
        this.#isInBackground = false;
        if (this.#isWantedAgain) this.inBackground();
      });
  }

  async #queue(work: () => Promise<void>): Promise<void> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => undefined);
    return done;
  }

  /** Again and again what is not committed yet, and is still the same reading's. */
  async #commit(
    wanted: readonly NextOffset[],
    {
      readings,
      timeoutMs = commitMsMax,
      required = new Set(),
      isAwaited = true,
    }: {
      readonly readings: Readings;
      readonly timeoutMs?: number;
      /** It fails where one of these is another's. */
      readonly required?: ReadonlySet<string>;
      /** By somebody who wants to know that all of it is there. */
      readonly isAwaited?: boolean;
    },
  ): Promise<void> {
    if (wanted.length === 0) return;
    let open = wanted;
    let attemptsCount = 0;
    let refusal: KafkaError | null = null;
    // An attempt that is given up goes on, and must not leave behind a later commit, or one of the next owner.
    let isGivenUp = false;
    const isWanted = (offset: NextOffset, topicId: string): boolean =>
      !isGivenUp && this.#isSame(readings.get(partitionKey(offset)), topicId);
    const what = `commit of group ${this.#membership.groupId}`;
    const committing = this.#wire.retrying({ what, timeoutMs }, async () => {
      attemptsCount++;
      // Of what was given up meanwhile, the next owner decides; and it may be we again, from another position.
      const gone = open.filter((offset) => !this.#isSame(readings.get(partitionKey(offset))));
      const missed = gone.find((offset) => required.has(partitionKey(offset)));
      if (missed !== undefined) throw notAssigned(missed, refusal);
      open = open.filter((offset) => !gone.includes(offset));
      if (open.length === 0) return;
      const identity = this.identity();
      const topicIds = new Map(Array.from(readings.values(), (reading) => [reading, reading.topicId]));
      const failures = await this.#offsets.commit(open, identity, isWanted);
      for (const next of open) {
        const reading = readings.get(partitionKey(next));
        if (reading === undefined || failures.has(reading.key)) continue;
        // Of a topic that was made again meanwhile nothing is committed yet.
        const topicId = topicIds.get(reading) ?? reading.topicId;
        if (topicId === reading.topicId) reading.committedOffset = next.offset;
      }
      open = open.filter((offset) => failures.has(partitionKey(offset)));
      const worst = worstOf(failures.values());
      if (worst === null) return;
      const isHopeless = !isAwaited && unknownTopics.has(worst.code) && attemptsCount >= unknownTopicAttemptsMax;
      if (isHopeless) throw new KafkaError(worst.code, worst.message);
      if (!refusals.has(worst.code)) throw worst;
      // The membership finds out: it goes on under another identity, and with it the commit; or it has lost what it had.
      this.#membership.onCommitRefused(identity, worst);
      refusal = new KafkaError(worst.code, worst.message, { retriable: passingRefusals.has(worst.code) });
      throw refusal;
    });
    await committing.finally(() => (isGivenUp = true));
  }

  /**
   * Still ours, and of the topic that was read: one that was made again under its name begins anew.
   *
   * @param ofTopicId is the topic that the commit is for; null: what its name is known to be at present.
   */
  #isSame(reading: PartitionReading | undefined, ofTopicId: string | null = null): boolean {
    if (reading === undefined || this.#readings.get(reading.key) !== reading) return false;
    const topicId = ofTopicId ?? this.#wire.metadata.topic(reading.topic)?.topicId ?? null;
    if (topicId === null || topicId === zeroUuid || reading.topicId === null) return true;
    return topicId === reading.topicId;
  }
}

/** What is done and not committed yet. */
export function committable(readings: Iterable<PartitionReading>): readonly NextOffset[] {
  const offsets: NextOffset[] = [];
  for (const { topic, partition, lease, committedOffset } of readings) {
    const { position: offset, positionEpoch: leaderEpoch } = lease;
    if (offset >= 0 && offset !== committedOffset) offsets.push({ topic, partition, offset, leaderEpoch });
  }
  return offsets;
}

/** One that no retry mends, if there is one. */
function worstOf(errors: Iterable<KafkaError>): KafkaError | null {
  let worst: KafkaError | null = null;
  for (const error of errors) if (worst === null || (worst.retriable && !error.retriable)) worst = error;
  return worst;
}

function notAssigned(partition: TopicPartition, cause: KafkaError | null = null): KafkaError {
  const sentence = "is not this consumer's (any more): its offset is its owner's to commit";
  return new KafkaError("NOT_ASSIGNED", `${partitionKey(partition)} ${sentence}`, cause === null ? {} : { cause });
}

const unknownTopics: ReadonlySet<string> = new Set(["UNKNOWN_TOPIC_OR_PARTITION", "UNKNOWN_TOPIC_ID"]);

/** Those that say nothing of who the member is: it may be one, under another epoch. */
const passingRefusals: ReadonlySet<string> = new Set([
  "ILLEGAL_GENERATION",
  "UNKNOWN_MEMBER_ID",
  "STALE_MEMBER_EPOCH",
  "FENCED_MEMBER_EPOCH",
]);

/** An answer to somebody who is no member, or not any more as it believes. */
export const refusals: ReadonlySet<string> = new Set([
  "ILLEGAL_GENERATION",
  "UNKNOWN_MEMBER_ID",
  "FENCED_INSTANCE_ID",
  "STALE_MEMBER_EPOCH",
  "FENCED_MEMBER_EPOCH",
  "GROUP_ID_NOT_FOUND",
]);
