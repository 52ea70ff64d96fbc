import type { Logger } from "@millrace/base/logger";
import type { Result } from "@millrace/base/result";
import { KiB } from "@millrace/base/units";
import type { Clock, Timer } from "@millrace/base/world";
import { ErrorCode, errorName } from "kafka-protocol-ts/errors";
import type { FetchResponse, FetchResponsePartitionData } from "kafka-protocol-ts/messages/01-fetch";
import type { Offset } from "@millrace/storage/types";
import type { CutFailure } from "../partitions/following.ts";
import { FetchSession } from "./fetch-session.ts";
import type { Followed } from "./followed.ts";
import { keyOf } from "./followed.ts";
import type { ReplicationQuota } from "./quota.ts";
import type { ReplicaLink } from "./replica-link.ts";

/** `replica.fetch.*`. */
export interface FetcherSettings {
  readonly partitionBytesMax: number;
  readonly responseBytesMax: number;
  readonly bytesMin: number;
  readonly waitMaxMs: number;
  readonly backoffMs: number;
}

export interface FetcherOptions {
  readonly leader: number;
  readonly nodeId: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly settings: FetcherSettings;
  /** Shared by all fetchers. */
  readonly quota: ReplicationQuota;
  brokerEpoch(): number;
  connect(): ReplicaLink;
  /** Replication can not go on: a bug. */
  fatal(error: unknown): void;
}

/** What a fetcher has seen, for metrics and tests. */
export interface FetcherCounts {
  fetches: number;
  /** Batches that came broken, and were asked for again. */
  badBatches: number;
  truncations: number;
  failures: number;
}

/** After an answer of so many bytes the next request goes out while the disk still syncs. */
const AHEAD_BYTES = 64 * KiB;
/** A leader hears this often of a follower whose disk is slow. */
const FLUSH_WAIT_MS = 500;
/** The first pause after a failure; each further one is twice as long, up to `replica.fetch.backoff.ms`. */
const FIRST_BACKOFF_MS = 50;

/**
 * Follows the partitions that one other broker leads: fetches what it has, appends it, and cuts off what it never had. One
 * request is under way at most, and tells how far each log is written and flushed. As long as something waits for the disk no
 * request is parked at the leader, so that it hears of the flush as soon as that has happened.
 */
export class ReplicaFetcher {
  readonly counts: FetcherCounts = { fetches: 0, badBatches: 0, truncations: 0, failures: 0 };
  readonly #options: FetcherOptions;
  readonly #logger: Logger;
  readonly #followed = new Map<string, Followed>();
  readonly #session: FetchSession;
  #link: ReplicaLink | null = null;
  #isClosed = false;
  #isRunning = false;
  #wake: (() => void) | null = null;
  #isWakeDue = false;
  /** Requests in a row that got no answer. */
  #failures = 0;

  constructor(options: FetcherOptions) {
    this.#options = options;
    this.#logger = options.logger;
    this.#session = new FetchSession(options);
  }

  get size(): number {
    return this.#followed.size;
  }

  has({ partition, following }: Followed): boolean {
    return this.#followed.get(keyOf(partition.log.topicId, partition.index))?.following === following;
  }

  add(followed: Followed): void {
    this.remove(followed.key);
    this.#followed.set(followed.key, followed);
    followed.partition.onFollowerProgress = () => this.#wakeSoon();
    this.#wakeSoon();
    if (!this.#isRunning) this.#run().catch((error: unknown) => this.#options.fatal(error));
  }

  remove(key: string): void {
    const followed = this.#followed.get(key);
    if (followed === undefined) return;
    this.#followed.delete(key);
    followed.partition.onFollowerProgress = ignore;
    this.#session.forget(followed);
    this.#wakeSoon();
  }

  close(): void {
    for (const key of [...this.#followed.keys()]) this.remove(key);
    this.#isClosed = true;
    this.#link?.close();
    this.#link = null;
    this.#wakeSoon();
  }

  // --- The loop -------------------------------------------------------------------------------------------------------

  async #run(): Promise<void> {
    this.#isRunning = true;
    while (!this.#isClosed) {
      const nowMs = this.#options.clock.monotonicMs();
      const due = [...this.#followed.values()].filter((each) => each.isDue(nowMs) && !this.#isHeldBack(each));
      if (due.length === 0) {
        await this.#pause(this.#nextRetryMs(nowMs));
        continue;
      }
      const isUnflushed = due.some((followed) => followed.isUnflushed);
      const response = await this.#fetch(due, isUnflushed);
      if (this.#isClosed) break;
      if (response === null) await this.#backOff();
      else await this.#settle(this.#take(response));
    }
    this.#isRunning = false;
  }

  /** KIP-73: while too much was fetched, of throttled partitions only those that keep up are. */
  #isHeldBack({ partition, isCaughtUp }: Followed): boolean {
    return !isCaughtUp && this.#options.quota.waitMs > 0 && partition.isThrottledAs("follower");
  }

  async #fetch(due: readonly Followed[], isUnflushed: boolean): Promise<FetchResponse | null> {
    const request = this.#session.request(due, isUnflushed);
    this.counts.fetches += 1;
    try {
      this.#link ??= this.#options.connect();
      const response = await this.#link.fetch(request);
      if (!this.#session.answered(response)) return null;
      this.#failures = 0;
      return response;
    } catch (error) {
      this.counts.failures += 1;
      this.#session.restart();
      this.#link?.close();
      this.#link = null;
      if (!this.#isClosed)
        this.#logger.warn("the leader could not be fetched from", { leader: this.#options.leader, error });
      return null;
    }
  }

  /** When the next request goes out. */
  async #settle(takenBytes: number): Promise<void> {
    let isUnflushed = false;
    let isNews = false;
    let queuedBytes = 0;
    for (const followed of this.#followed.values()) {
      isUnflushed ||= followed.isUnflushed;
      isNews ||= followed.isNews;
      queuedBytes += followed.partition.log.queuedBytes;
    }
    this.#isWakeDue = false;
    if (!isUnflushed || isNews) return;
    const isAhead = takenBytes >= AHEAD_BYTES && queuedBytes <= this.#options.settings.responseBytesMax;
    if (!isAhead) await this.#pause(FLUSH_WAIT_MS);
  }

  /** Ends sooner when something has changed. */
  #pause(ms: number): Promise<void> {
    if (this.#isWakeDue) {
      this.#isWakeDue = false;
      return Promise.resolve();
    }
    const { clock } = this.#options;
    return new Promise((resolve) => {
      let timer: Timer | null = null;
      const wake = (): void => {
        timer?.cancel();
        this.#wake = null;
        resolve();
      };
      if (ms !== Number.POSITIVE_INFINITY) timer = clock.schedule(ms, wake);
      this.#wake = wake;
    });
  }

  /** Not ended sooner by anything but the end: the leader is not to be asked in a circle. */
  async #backOff(): Promise<void> {
    const { clock, settings } = this.#options;
    const endMs = clock.monotonicMs() + backoffMs(this.#failures++, settings);
    while (!this.#isClosed && clock.monotonicMs() < endMs) await this.#pause(endMs - clock.monotonicMs());
  }

  /** Many logs of one turn are one event. */
  #wakeSoon(): void {
    if (this.#wake === null) {
      this.#isWakeDue = true;
      return;
    }
    if (this.#isWakeDue) return;
    this.#isWakeDue = true;
    this.#options.clock.afterTurn(() => {
      this.#isWakeDue = false;
      this.#wake?.();
    });
  }

  #nextRetryMs(nowMs: number): number {
    let nextMs = this.#options.quota.waitMs || Number.POSITIVE_INFINITY;
    for (const { pause, retryAtMs } of this.#followed.values())
      if (pause === "backing-off") nextMs = Math.min(nextMs, Math.max(1, retryAtMs - nowMs));
    return nextMs;
  }

  // --- Answers --------------------------------------------------------------------------------------------------------

  /** Gives the bytes of records that came. */
  #take({ responses }: FetchResponse): number {
    let sizeBytes = 0;
    for (const { topicId, partitions } of responses) {
      for (const answer of partitions) {
        const followed = this.#followed.get(keyOf(topicId, answer.partitionIndex));
        if (followed === undefined || !followed.isCurrent || followed.pause !== "none") continue;
        // It was asked for an epoch, or at an end, that are over.
        if (followed.told === null || followed.told.fetchOffset !== followed.partition.log.logEndOffset) continue;
        sizeBytes += answer.records?.length ?? 0;
        this.#takeOne(followed, answer);
      }
    }
    return sizeBytes;
  }

  #takeOne(followed: Followed, answer: FetchResponsePartitionData): void {
    if (answer.errorCode !== ErrorCode.NONE) return this.#takeError(followed, answer);
    const { following } = followed;
    const { divergingEpoch, records } = answer;
    if (divergingEpoch.endOffset >= 0 || divergingEpoch.epoch >= 0)
      return this.#cut(followed, () => following.truncate(divergingEpoch.epoch, divergingEpoch.endOffset));
    if (records !== null && records.length > 0) {
      if (followed.partition.isThrottledAs("follower")) this.#options.quota.record(records.length);
      const appended = following.append(records, this.#options.clock.now());
      if (!appended.ok) {
        if (appended.failure === "bad-batch") this.counts.badBatches += 1;
        this.#backOffOne(followed, appended.failure, appended.message);
        if (appended.failure !== "bad-batch") return;
      }
    }
    if (followed.pause === "none") followed.failures = 0;
    following.learn(answer.highWatermark, answer.logStartOffset);
    followed.isCaughtUp = followed.partition.log.logEndOffset >= answer.highWatermark;
  }

  #takeError(followed: Followed, { errorCode, logStartOffset }: FetchResponsePartitionData): void {
    if (errorCode !== ErrorCode.OFFSET_OUT_OF_RANGE || logStartOffset < 0)
      return this.#backOffOne(followed, errorName(errorCode), undefined, errorsOfMetadata.has(errorCode));
    const { following, partition } = followed;
    if (partition.log.logEndOffset < logStartOffset)
      return this.#cut(followed, () => following.startAnewAt(logStartOffset as Offset));
    // Its log ends before this one, and no epoch says where they part: what is committed is the least that both have.
    this.#cut(followed, () => following.truncate(-1, -1));
  }

  /** It is left out meanwhile, and the others go on. */
  #cut(followed: Followed, cut: () => Promise<Result<void, CutFailure>>): void {
    followed.pause = "working";
    this.#session.forget(followed);
    this.counts.truncations += 1;
    cut().then(
      (done) => {
        followed.pause = "none";
        if (!done.ok && done.failure === "below-high-watermark") followed.pause = "halted";
        else if (!done.ok) this.#backOffOne(followed, done.failure, done.message);
        this.#wakeSoon();
      },
      (error: unknown) => this.#options.fatal(error),
    );
  }

  /** Until then this partition is left out, and the others go on. */
  #backOffOne(followed: Followed, why: string, message?: string, isOfMetadata = false): void {
    const { clock, settings, leader } = this.#options;
    followed.pause = "backing-off";
    followed.retryAtMs = clock.monotonicMs() + backoffMs(followed.failures++, settings);
    this.#session.forget(followed);
    if (!followed.isCurrent) return;
    const { topic, index, leaderEpoch } = followed.partition;
    const fields = { topic, partition: index, leader, leaderEpoch, why, message };
    const text = "a partition could not be followed, and is tried again";
    // Of a leadership that has just changed hands, with thousands of others perhaps.
    if (isOfMetadata) this.#logger.debug(text, fields);
    else this.#logger.warn(text, fields);
  }
}

/** The leader, or this broker, has heard of a change that the other has not. */
const errorsOfMetadata: ReadonlySet<number> = new Set([
  ErrorCode.NOT_LEADER_OR_FOLLOWER,
  ErrorCode.FENCED_LEADER_EPOCH,
  ErrorCode.UNKNOWN_LEADER_EPOCH,
  ErrorCode.UNKNOWN_TOPIC_ID,
  ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
]);

function backoffMs(failures: number, { backoffMs: backoffMaxMs }: FetcherSettings): number {
  return Math.min(backoffMaxMs, FIRST_BACKOFF_MS * 2 ** Math.min(failures, 16));
}

function ignore(): void {}
