import type { Timer } from "@millrace/base/world";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { fetch } from "kafka-protocol-ts/messages/01-fetch";
import type { FetchResponse } from "kafka-protocol-ts/messages/01-fetch";
import { zeroUuid } from "kafka-protocol-ts/reader";
import { batchesIn } from "kafka-protocol-ts/records/batch";
import { brokerError, corrupt, KafkaError } from "../../errors.ts";
import type { TopicMetadata } from "../../network/metadata.ts";
import type { Purpose, Wire } from "../../network/wire.ts";
import type { FetchBuffer, PartitionReading } from "../partition-reading.ts";
import { AbortedTransactions } from "./aborted-transactions.ts";
import { FetchSession } from "./fetch-session.ts";
import type { WantedPartition } from "./fetch-session.ts";

export interface FetchOptions {
  readonly isolation: "read_uncommitted" | "read_committed";
  /** An answer waits until so much is there, or `maxWaitMs` are over. */
  readonly minBytes: number;
  readonly maxWaitMs: number;
  /** Of one answer. One batch is given all the same, however large. */
  readonly maxBytes: number;
  readonly partitionMaxBytes: number;
  /** So much may be fetched and not handed out. */
  readonly bufferBytesMax: number;
  /** Where we are, for brokers that send to the nearest replica (KIP-392). */
  readonly rack: string;
}

/** What the fetcher tells its consumer. */
export interface FetchListener {
  /** What is read now; asked again and again. */
  readings(): Iterable<PartitionReading>;
  /** Something was fetched, or a reading has come to its end. */
  onFetched(reading: PartitionReading): void;
  /**
   * Another leader than the one that gave what was fetched last: it may not have had all of that. Reading goes on when
   * `checkedEpoch` is the topic's, and `isChecking` false.
   */
  onNewLeader(reading: PartitionReading, topic: TopicMetadata): void;
  /** The broker does not have `fetchOffset` (any more). */
  onOutOfRange(reading: PartitionReading): void;
  /** The topic of that name is another one than before: it was deleted and made again. Its position is not looked up yet. */
  onRecreated(reading: PartitionReading): void;
  /** This broker has nothing more, and the end that was to be read to is further: it may be late, or that end is lost. */
  onShortOfEnd(reading: PartitionReading): void;
  /** Trouble that may pass; it is tried again by itself. */
  onTrouble(reading: PartitionReading, error: KafkaError): void;
  /** No later attempt can do better. */
  onFailure(reading: PartitionReading, error: KafkaError): void;
}

type PartitionAnswer = FetchResponse["responses"][number]["partitions"][number];
interface Wanted {
  readonly reading: PartitionReading;
  readonly fetchOffset: number;
  readonly topic: TopicMetadata;
}

const answerGraceMs = 30_000;
/** Fetch names topics by their ids above it (KIP-516). */
const byNameVersionMax = 12;
const backoffMsMin = 100;
const backoffMsMax = 1_000;
/** An answer is waited for so long at first where what has enough at present may want more before it comes. */
const patienceMsMin = 10;
/** As long as the Java client believes a leader's recommendation: its metadata's age. */
const replicaMsMax = 300_000;

/** Answers that say: ask who leads now. */
const leaderErrors: ReadonlySet<number> = new Set([
  ErrorCode.NOT_LEADER_OR_FOLLOWER,
  ErrorCode.FENCED_LEADER_EPOCH,
  ErrorCode.UNKNOWN_LEADER_EPOCH,
  ErrorCode.LEADER_NOT_AVAILABLE,
  ErrorCode.REPLICA_NOT_AVAILABLE,
  ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
  ErrorCode.UNKNOWN_TOPIC_ID,
  ErrorCode.INCONSISTENT_TOPIC_ID,
  ErrorCode.KAFKA_STORAGE_ERROR,
  ErrorCode.OFFSET_NOT_AVAILABLE,
]);

/**
 * Fetches ahead what is read: one request at a time from each broker, in a session, and as much as fits the buffer. A
 * partition with much in the buffer waits, so that one that is slow or busy takes no room from others.
 */
export class Fetcher {
  readonly #wire: Wire;
  readonly #options: FetchOptions;
  readonly #listener: FetchListener;
  readonly #buffer: FetchBuffer;
  readonly #purpose: Purpose;
  readonly #sessions = new Map<number, FetchSession>();
  readonly #running = new Set<number>();
  readonly #refreshing = new Set<string>();
  /** By broker: how long an answer is waited for while a partition of it has enough. */
  readonly #patiencesMs = new Map<number, number>();
  #wakeAtMs = Number.POSITIVE_INFINITY;
  #wakeTimer: Timer | null = null;
  #servedNumber = 0;
  #wasFull = false;
  #isStopped = false;

  constructor(
    wire: Wire,
    options: FetchOptions,
    { listener, buffer }: { readonly listener: FetchListener; readonly buffer: FetchBuffer },
  ) {
    this.#wire = wire;
    this.#options = options;
    this.#listener = listener;
    this.#buffer = buffer;
    this.#purpose = wire.newPurpose("fetch");
  }

  /** Something may be wanted that was not before: to be called whenever readings have changed. */
  wake(): void {
    for (const reading of this.#listener.readings()) this.wakeFor(reading);
  }

  /** As `wake`, where only this one has changed, or the buffer by what was taken of it. */
  wakeFor(reading: PartitionReading): void {
    if (this.#isStopped) return;
    if (this.#isFull) {
      this.#wasFull = true;
      return;
    }
    if (this.#wasFull) {
      // Others were turned away, too.
      this.#wasFull = false;
      this.wake();
      return;
    }
    if (!this.#isWanted(reading)) return;
    if (reading.notBeforeMs > 0 && reading.notBeforeMs > this.#wire.world.clock.monotonicMs()) {
      this.#wakeLater(reading.notBeforeMs);
      return;
    }
    const nodeId = this.#nodeOf(reading);
    if (nodeId === null) this.#lookUp(reading);
    else if (this.#running.has(nodeId)) this.#patiencesMs.delete(nodeId);
    else {
      this.#running.add(nodeId);
      void this.#run(nodeId);
    }
  }

  /** Nothing more is fetched. Answers that are on their way are dropped. */
  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#wakeTimer?.cancel();
    this.#wire.closePurpose(this.#purpose);
  }

  // --- What is wanted, and from whom ------------------------------------------------------------------------------------

  #isWanted(reading: PartitionReading): boolean {
    return isReadable(reading) && !this.#hasEnough(reading);
  }

  #hasEnough({ bufferedBytes }: PartitionReading): boolean {
    return bufferedBytes >= this.#options.partitionMaxBytes;
  }

  #nodeOf(reading: PartitionReading): number | null {
    const topic = this.#wire.metadata.topic(reading.topic);
    const found = topic?.partitions[reading.partition];
    if (found === undefined) return null;
    this.#wire.refreshIfOld(reading.topic);
    const { replicaId, replicaUntilMs } = reading;
    const isReplicaKnown = replicaId >= 0 && this.#wire.metadata.brokers.has(replicaId);
    if (isReplicaKnown && replicaUntilMs > this.#wire.world.clock.monotonicMs()) return replicaId;
    return found.leaderId < 0 ? null : found.leaderId;
  }

  /** Asks who leads, once for all partitions of the topic. */
  #lookUp(reading: PartitionReading): void {
    const name = reading.topic;
    if (this.#refreshing.has(name)) return;
    this.#refreshing.add(name);
    void this.#wire
      .refresh(name)
      .then(
        (topic) => {
          for (const each of this.#readingsOf(name)) {
            const found = topic.partitions[each.partition];
            const isLed = found !== undefined && found.leaderId >= 0;
            if (!isLed) this.retryLater(each, brokerError(ErrorCode.LEADER_NOT_AVAILABLE, each.key));
          }
        },
        (error: unknown) => {
          for (const each of this.#readingsOf(name)) this.retryLater(each, error);
        },
      )
      .finally(() => {
        this.#refreshing.delete(name);
        this.wake();
      });
  }

  *#readingsOf(topic: string): Generator<PartitionReading> {
    for (const reading of this.#listener.readings()) if (reading.topic === topic && reading.isOwned) yield reading;
  }

  /** Not at once again: with growing pauses. */
  retryLater(reading: PartitionReading, error: unknown): void {
    const { clock, random } = this.#wire.world;
    if (this.#isStopped) return;
    if (!(error instanceof KafkaError) || !error.retriable) {
      this.#fail(reading, error);
      return;
    }
    const nowMs = clock.monotonicMs();
    const backoffMs = Math.min(backoffMsMax, backoffMsMin * 2 ** reading.failuresCount++);
    reading.notBeforeMs = nowMs + backoffMs * (0.8 + 0.4 * random.fraction());
    reading.troubledSinceMs ??= nowMs;
    // Who asks its broker for others need not be who asks for it by then.
    this.#wakeLater(reading.notBeforeMs);
    this.#listener.onTrouble(reading, error);
  }

  #fail(reading: PartitionReading, error: unknown): void {
    reading.hasFailed = true;
    const failure = error instanceof KafkaError ? error : corrupt(`${reading.key}: ${String(error)}`, error);
    this.#listener.onFailure(reading, failure);
  }

  #wakeLater(atMs: number): void {
    const { clock } = this.#wire.world;
    if (this.#wakeAtMs <= atMs) return;
    this.#wakeAtMs = atMs;
    this.#wakeTimer?.cancel();
    this.#wakeTimer = clock.schedule(
      atMs - clock.monotonicMs(),
      () => {
        this.#wakeAtMs = Number.POSITIVE_INFINITY;
        this.wake();
      },
      { isAwaited: true },
    );
  }

  // --- One broker -------------------------------------------------------------------------------------------------------

  /** Until nothing more is wanted from this broker. */
  async #run(nodeId: number): Promise<void> {
    for (;;) {
      const wanted = this.#isStopped ? [] : this.#wantedFrom(nodeId);
      if (wanted.length === 0) break;
      try {
        await this.#fetchFrom(nodeId, wanted);
      } catch (error) {
        this.#sessions.get(nodeId)?.reset();
        if (this.#isStopped) break;
        for (const { reading } of wanted) {
          if (!reading.isOwned) continue;
          reading.replicaId = -1;
          this.retryLater(reading, error);
        }
        for (const name of new Set(wanted.map(({ topic }) => topic.name))) this.#wire.metadata.forget(name);
      }
    }
    this.#running.delete(nodeId);
    this.wake();
  }

  #wantedFrom(nodeId: number): readonly Wanted[] {
    const nowMs = this.#wire.world.clock.monotonicMs();
    const wanted: Wanted[] = [];
    if (this.#isFull) {
      this.#wasFull = true;
      return [];
    }
    for (const reading of this.#listener.readings()) {
      if (!this.#isWanted(reading) || reading.notBeforeMs > nowMs) continue;
      const servedBy = this.#nodeOf(reading);
      if (servedBy !== nodeId) {
        // It may have been served from here until now; these turns go on for the others, and nobody else may look at it.
        if (servedBy === null || !this.#running.has(servedBy)) this.wakeFor(reading);
        continue;
      }
      const topic = this.#wire.metadata.topic(reading.topic);
      if (topic !== null && this.#isSameTopic(reading, topic) && this.#isCertain(reading, topic)) {
        wanted.push({ reading, fetchOffset: reading.fetchOffset, topic });
      }
    }
    // A broker fills its answer in the order of the request: who was served last is asked for last.
    return wanted.sort((a, b) => a.reading.servedNumber - b.reading.servedNumber);
  }

  /** Whoever has learned it: a position in a topic says nothing of another one of its name. */
  #isSameTopic(reading: PartitionReading, { topicId }: TopicMetadata): boolean {
    // From a broker that knows no ids yet: that is no other topic, nor is the one that gets its id later.
    if (topicId === zeroUuid) return true;
    const before = reading.topicId;
    reading.topicId = topicId;
    if (before === null || before === topicId) return true;
    this.#listener.onRecreated(reading);
    return false;
  }

  /** Whether this leader is known to have had what was read (KIP-320); if not, that is asked for. */
  #isCertain(reading: PartitionReading, topic: TopicMetadata): boolean {
    const leaderEpoch = topic.partitions[reading.partition]?.leaderEpoch ?? -1;
    if (leaderEpoch < 0 || leaderEpoch === reading.checkedEpoch) return true;
    if (leaderEpoch < reading.fetchedEpoch) {
      this.#shunFormerLeader(reading, leaderEpoch);
      return false;
    }
    if (reading.fetchedEpoch >= 0 && reading.fetchedEpoch !== leaderEpoch) {
      reading.isChecking = true;
      this.#listener.onNewLeader(reading, topic);
      return false;
    }
    reading.checkedEpoch = leaderEpoch;
    return true;
  }

  /**
   * What was read is of a later leader than a broker names: it lags behind, or is that leader itself, and was paused. What is missing in
   * the log of such a one is not lost, so it is asked for nothing, and others are asked who leads.
   */
  #shunFormerLeader(reading: PartitionReading, leaderEpoch: number): void {
    const sentence = `${reading.key}: records of leader epoch ${reading.fetchedEpoch} were read, and the leader that is known is of ${leaderEpoch}`;
    this.retryLater(reading, brokerError(ErrorCode.LEADER_NOT_AVAILABLE, sentence));
    void this.#wire.refresh(reading.topic).catch(() => undefined);
  }

  /** What is on its way is not counted: it is at most one answer more of each broker. */
  get #isFull(): boolean {
    return this.#buffer.bytes >= this.#options.bufferBytesMax;
  }

  async #fetchFrom(nodeId: number, wanted: readonly Wanted[]): Promise<void> {
    const { minBytes, maxBytes, isolation, partitionMaxBytes, rack } = this.#options;
    const maxWaitMs = this.#patienceMs(nodeId);
    const connection = await this.#wire.broker(nodeId, this.#purpose);
    // It may have been opened behind the end.
    if (this.#isStopped) this.#wire.closePurpose(this.#purpose);
    const session = this.#sessionOf(nodeId);
    // Some may have none, while the brokers' own protocol is of a time before they had any (`inter.broker.protocol.version`).
    const hasIds =
      connection.versionOf(fetch) > byNameVersionMax && wanted.every(({ topic }) => topic.topicId !== zeroUuid);
    const request = session.next(
      wanted.map(({ reading, fetchOffset, topic }): WantedPartition => ({
        topic: hasIds ? "" : topic.name,
        topicId: hasIds ? topic.topicId : "",
        partition: reading.partition,
        currentLeaderEpoch: topic.partitions[reading.partition]?.leaderEpoch ?? -1,
        fetchOffset,
        partitionMaxBytes,
      })),
    );
    const answer = await connection.request(
      fetch,
      {
        maxWaitMs,
        minBytes,
        maxBytes,
        isolationLevel: isolation === "read_committed" ? 1 : 0,
        sessionId: request.sessionId,
        sessionEpoch: request.sessionEpoch,
        topics: byTopic(request.changed, hasIds).map(({ name, of }) => ({
          ...name,
          partitions: of.map(({ partition, currentLeaderEpoch, fetchOffset }) => ({
            partition,
            currentLeaderEpoch,
            fetchOffset,
            partitionMaxBytes,
          })),
        })),
        forgottenTopicsData: byTopic(request.forgotten, hasIds).map(({ name, of }) => ({
          ...name,
          partitions: of.map(({ partition }) => partition),
        })),
        rackId: rack,
      },
      { timeoutMs: maxWaitMs + answerGraceMs, ...(hasIds ? {} : { versionMax: byNameVersionMax }) },
    );
    if (answer.errorCode !== ErrorCode.NONE) {
      if (session.refused(answer.errorCode)) return;
      throw brokerError(answer.errorCode, `reading from ${connection.name}`);
    }
    session.answered(answer.sessionId);
    this.#take(answer, { nodeId, wanted, hasIds });
  }

  /**
   * What is wanted of a broker while its answer is waited for has to wait, too. So where a partition has enough, and may
   * want more soon, answers about the others come early, and less early the longer nobody takes anything of it.
   */
  #patienceMs(nodeId: number): number {
    const { maxWaitMs } = this.#options;
    for (const reading of this.#listener.readings()) {
      if (!isReadable(reading) || !this.#hasEnough(reading) || this.#nodeOf(reading) !== nodeId) continue;
      const patienceMs = Math.min(maxWaitMs, this.#patiencesMs.get(nodeId) ?? patienceMsMin);
      this.#patiencesMs.set(nodeId, 2 * patienceMs);
      return patienceMs;
    }
    this.#patiencesMs.delete(nodeId);
    return maxWaitMs;
  }

  #sessionOf(nodeId: number): FetchSession {
    let session = this.#sessions.get(nodeId);
    if (session === undefined) this.#sessions.set(nodeId, (session = new FetchSession()));
    return session;
  }

  // --- Answers ----------------------------------------------------------------------------------------------------------

  #take(
    answer: FetchResponse,
    {
      nodeId,
      wanted,
      hasIds,
    }: { readonly nodeId: number; readonly wanted: readonly Wanted[]; readonly hasIds: boolean },
  ): void {
    const byKey = new Map<string, Wanted>();
    for (const each of wanted) {
      const { topic, reading } = each;
      byKey.set(`${hasIds ? topic.topicId : topic.name} ${reading.partition}`, each);
    }
    for (const { topic, topicId, partitions } of answer.responses) {
      for (const partition of partitions) {
        const found = byKey.get(`${hasIds ? topicId : topic} ${partition.partitionIndex}`);
        // Given up meanwhile, or sought elsewhere.
        if (found === undefined || !found.reading.isOwned || found.reading.fetchOffset !== found.fetchOffset) continue;
        if (partition.errorCode === ErrorCode.NONE) this.#takeWhole(found.reading, partition);
        else this.#takeError(found, partition, { nodeId, endpoints: answer.nodeEndpoints });
      }
    }
  }

  #takeWhole(reading: PartitionReading, answer: PartitionAnswer): void {
    try {
      this.#takeRecords(reading, answer);
    } catch (error) {
      this.#fail(reading, error);
    }
    if (reading.hasChunk || reading.isAtEnd) this.#listener.onFetched(reading);
  }

  #takeError(
    { reading, topic }: Wanted,
    { errorCode, currentLeader }: PartitionAnswer,
    { nodeId, endpoints }: { readonly nodeId: number; readonly endpoints: FetchResponse["nodeEndpoints"] },
  ): void {
    const { metadata, world } = this.#wire;
    const error = brokerError(errorCode, `${reading.key} at offset ${reading.fetchOffset}`);
    const isOfFollower = nodeId !== (topic.partitions[reading.partition]?.leaderId ?? -1);
    reading.replicaId = -1;
    if (errorCode === ErrorCode.OFFSET_OUT_OF_RANGE) {
      // A follower may not be so far yet, or further than is known: only the leader knows (KIP-392).
      if (isOfFollower) this.retryLater(reading, new KafkaError(error.code, error.message, { retriable: true }));
      else this.#listener.onOutOfRange(reading);
      return;
    }
    // What is said of a topic that is gone says nothing of the next one of its name.
    const isOfTopic = metadata.topic(reading.topic)?.topicId === topic.topicId;
    if (isOfTopic && metadata.learnLeader(reading.topic, reading.partition, currentLeader, endpoints)) {
      reading.troubledSinceMs ??= world.clock.monotonicMs();
      return;
    }
    // The broker has found the damage on its disk: it is there at the next attempt, too.
    const isDamage = errorCode === ErrorCode.CORRUPT_MESSAGE;
    this.retryLater(reading, isDamage ? new KafkaError(error.code, error.message) : error);
    // Who leads now, or whether it is another topic, is seen by the next attempt.
    if (leaderErrors.has(errorCode)) void this.#wire.refresh(reading.topic).catch(() => undefined);
  }

  #takeRecords(reading: PartitionReading, answer: PartitionAnswer): void {
    const { highWatermark, lastStableOffset, logStartOffset, preferredReadReplica } = answer;
    reading.highWatermark = highWatermark;
    reading.lastStableOffset = lastStableOffset;
    reading.logStartOffset = logStartOffset;
    if (preferredReadReplica >= 0) {
      reading.replicaId = preferredReadReplica;
      reading.replicaUntilMs = this.#wire.world.clock.monotonicMs() + replicaMsMax;
      // It has come back since the brokers were asked for; the leader would only name it again.
      if (!this.#wire.metadata.brokers.has(preferredReadReplica)) {
        const sentence = `${reading.key}: broker ${preferredReadReplica}, from which it is to be read, is not known`;
        this.retryLater(reading, brokerError(ErrorCode.REPLICA_NOT_AVAILABLE, sentence));
        void this.#wire.refresh(reading.topic).catch(() => undefined);
        return;
      }
    }
    reading.succeed();
    const bytes = answer.records;
    if (bytes === null || bytes.length === 0) {
      const isShort = Number.isFinite(reading.endOffset) && highWatermark >= 0 && highWatermark < reading.endOffset;
      if (isShort && highWatermark <= reading.fetchOffset) this.#listener.onShortOfEnd(reading);
      return;
    }
    reading.servedNumber = ++this.#servedNumber;
    const aborted = new AbortedTransactions(answer.abortedTransactions ?? []);
    const batches = batchesIn(bytes);
    const begin = reading.fetchOffset;
    for (const batch of batches) {
      const where = `${reading.key} at offset ${batch.baseOffset}`;
      if (!batch.isCrcValid()) throw corrupt(`${where}: the batch fails its CRC`);
      const isHidden = aborted.hides(batch);
      const nextOffset = batch.lastOffset + 1;
      const fromOffset = reading.fetchOffset;
      if (nextOffset <= fromOffset) continue;
      const { partitionLeaderEpoch: leaderEpoch, sizeBytes } = batch;
      reading.push({ batch: isHidden ? null : batch, fromOffset, nextOffset, leaderEpoch, sizeBytes });
      if (nextOffset >= reading.endOffset) break;
    }
    const { fault } = batches;
    // A broker may cut the last batch off; one that does not even give the first would be asked for it forever.
    const hasMoved = reading.fetchOffset > begin;
    const isHarmless = fault === null || (fault === "truncated" && hasMoved);
    if (isHarmless && !hasMoved) {
      const sentence = `${reading.key} at offset ${begin}: the broker gave only what comes before it`;
      this.retryLater(reading, new KafkaError("CORRUPT_MESSAGE", sentence, { retriable: true }));
    }
    if (!isHarmless) throw corrupt(`${reading.key} at offset ${reading.fetchOffset}: no readable batch (${fault})`);
  }
}

/** Its next records may be asked for. */
function isReadable(reading: PartitionReading): boolean {
  if (!reading.isOwned || reading.isPaused || reading.hasFailed) return false;
  return reading.isLocated && !reading.isChecking && reading.fetchOffset < reading.endOffset;
}

function byTopic(
  partitions: readonly WantedPartition[],
  hasIds: boolean,
): readonly {
  readonly name: { readonly topicId: string } | { readonly topic: string };
  readonly of: readonly WantedPartition[];
}[] {
  const groups = Map.groupBy(partitions, ({ topic, topicId }) => (hasIds ? topicId : topic));
  return [...groups].map(([key, of]) => ({ name: hasIds ? { topicId: key } : { topic: key }, of }));
}
