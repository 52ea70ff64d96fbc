import type { Random } from "@millrace/base/world";
import { zeroUuid } from "kafka-protocol-ts/reader";
import { ErrorCode } from "kafka-protocol-ts/errors";
import type { FetchRequest } from "kafka-protocol-ts/messages/01-fetch";

/** One partition as a fetch request asks for it. */
export interface FetchPartition {
  /** Null while the topic id is unknown. */
  readonly topic: string | null;
  readonly topicId: string;
  readonly partition: number;
  readonly fetchOffset: number;
  readonly logStartOffset: number;
  readonly currentLeaderEpoch: number;
  readonly lastFetchedEpoch: number;
  readonly partitionMaxBytes: number;
  /** Of a follower of ours; -1 where nobody says it. */
  readonly flushedOffset: number;
}

/** What of a partition was last told to the session: only what differs from it is told again (KIP-227). */
interface CachedPartition extends FetchPartition {
  highWatermark: number;
  logStartOffsetTold: number;
}

interface Session {
  readonly id: number;
  readonly usesTopicIds: boolean;
  readonly createdMs: number;
  epoch: number;
  lastUsedMs: number;
  /** In the order in which they are read: one that gave data moves to the end, so that none starves. */
  readonly partitions: Map<string, CachedPartition>;
}

/** How a request is to be answered. `sessionId` 0: no session, every partition is told. */
export type FetchScope =
  | { readonly kind: "error"; readonly errorCode: ErrorCode }
  | { readonly kind: "full"; readonly sessionId: number; readonly partitions: readonly FetchPartition[] }
  | { readonly kind: "incremental"; readonly sessionId: number; readonly partitions: readonly FetchPartition[] };

/** What the answer says of one partition, as far as the session compares it. */
export interface PartitionTold {
  readonly hasRecords: boolean;
  readonly hasError: boolean;
  readonly highWatermark: number;
  readonly logStartOffset: number;
}

const finalEpoch = -1;
const initialEpoch = 0;
/** By id where the session speaks ids (the name may be unknown at first), else by name. */
const keyOf = ({ topicId, topic, partition }: Pick<FetchPartition, "topic" | "topicId" | "partition">): string =>
  topicId === zeroUuid ? `${topic ?? ""}/${partition}` : `${topicId}/${partition}`;

/**
 * Incremental fetch sessions (KIP-227): a client names its partitions once and afterwards only what changed, and is
 * told only what changed. The cache has a fixed number of slots; a full cache gives a slot away when its holder has
 * been silent for `evictionMs`, and else answers without a session.
 */
export class FetchSessions {
  readonly #slotsMax: number;
  readonly #evictionMs: number;
  readonly #random: Random;
  readonly #monotonicMs: () => number;
  /** Least recently used first. */
  readonly #sessions = new Map<number, Session>();

  constructor(options: {
    readonly slotsMax: number;
    readonly evictionMs: number;
    readonly random: Random;
    readonly monotonicMs: () => number;
  }) {
    this.#slotsMax = options.slotsMax;
    this.#evictionMs = options.evictionMs;
    this.#random = options.random;
    this.#monotonicMs = options.monotonicMs;
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** Applies the request to its session and says which partitions it is about. `topicName` gives null for unknown ids. */
  begin(request: FetchRequest, version: number, topicName: (topicId: string) => string | null): FetchScope {
    const usesTopicIds = version >= 13;
    const named = partitionsOf(request, usesTopicIds, topicName);
    const { sessionId, sessionEpoch } = request;
    if (sessionEpoch === finalEpoch || sessionEpoch === initialEpoch) {
      this.#sessions.delete(sessionId);
      if (sessionEpoch === finalEpoch || version < 7) return { kind: "full", sessionId: 0, partitions: named };
      return { kind: "full", sessionId: this.#open(named, usesTopicIds), partitions: named };
    }
    const session = this.#sessions.get(sessionId);
    if (session === undefined) return { kind: "error", errorCode: ErrorCode.FETCH_SESSION_ID_NOT_FOUND };
    if (session.epoch !== sessionEpoch) return { kind: "error", errorCode: ErrorCode.INVALID_FETCH_SESSION_EPOCH };
    if (session.usesTopicIds !== usesTopicIds) {
      return { kind: "error", errorCode: ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR };
    }
    session.epoch = session.epoch === 0x7fffffff ? 1 : session.epoch + 1;
    this.#touch(session);
    for (const partition of named) this.#update(session, partition);
    for (const { topic, topicId, partitions } of request.forgottenTopicsData) {
      for (const partition of partitions) session.partitions.delete(keyOf({ topic, topicId, partition }));
    }
    return { kind: "incremental", sessionId, partitions: currentlyNamed(session, topicName) };
  }

  /** Whether an answer to an incremental request must mention the partition, remembering what it says. */
  mustTell(sessionId: number, partition: FetchPartition, told: PartitionTold): boolean {
    const session = this.#sessions.get(sessionId);
    const key = keyOf(partition);
    const cached = session?.partitions.get(key);
    if (session === undefined || cached === undefined) return true;
    const isNews =
      told.hasRecords ||
      told.hasError ||
      cached.highWatermark !== told.highWatermark ||
      cached.logStartOffsetTold !== told.logStartOffset;
    // After an error the client knows nothing of the partition: the next answer tells everything.
    cached.highWatermark = told.hasError ? -1 : told.highWatermark;
    cached.logStartOffsetTold = told.hasError ? -1 : told.logStartOffset;
    if (told.hasRecords) {
      session.partitions.delete(key);
      session.partitions.set(key, cached);
    }
    return isNews;
  }

  #open(named: readonly FetchPartition[], usesTopicIds: boolean): number {
    if (named.length === 0) return 0;
    const nowMs = this.#monotonicMs();
    if (this.#sessions.size >= this.#slotsMax) {
      const oldest = this.#sessions.values().next().value;
      if (oldest === undefined || nowMs - oldest.lastUsedMs < this.#evictionMs) return 0;
      this.#sessions.delete(oldest.id);
    }
    let id = 0;
    while (id === 0 || this.#sessions.has(id)) id = this.#random.bytes(4).readUInt32BE(0) & 0x7fffffff;
    const session: Session = {
      id,
      usesTopicIds,
      createdMs: nowMs,
      epoch: 1,
      lastUsedMs: nowMs,
      partitions: new Map(),
    };
    for (const partition of named) this.#update(session, partition);
    this.#sessions.set(id, session);
    return id;
  }

  #update(session: Session, partition: FetchPartition): void {
    const key = keyOf(partition);
    // A follower that names a partition once more may have dropped what it was told: it is told everything again.
    const cached = partition.flushedOffset >= 0 ? undefined : session.partitions.get(key);
    const fresh: CachedPartition = {
      ...partition,
      highWatermark: cached?.highWatermark ?? -1,
      logStartOffsetTold: cached?.logStartOffsetTold ?? -1,
    };
    session.partitions.set(key, fresh);
  }

  #touch(session: Session): void {
    session.lastUsedMs = this.#monotonicMs();
    this.#sessions.delete(session.id);
    this.#sessions.set(session.id, session);
  }
}

function partitionsOf(
  request: FetchRequest,
  usesTopicIds: boolean,
  topicName: (topicId: string) => string | null,
): FetchPartition[] {
  const named: FetchPartition[] = [];
  for (const { topic, topicId, partitions } of request.topics) {
    const name = usesTopicIds ? topicName(topicId) : topic;
    for (const {
      partition,
      fetchOffset,
      logStartOffset,
      currentLeaderEpoch,
      lastFetchedEpoch,
      partitionMaxBytes,
      flushedOffset,
    } of partitions) {
      named.push({
        topic: name,
        topicId,
        partition,
        fetchOffset,
        logStartOffset,
        currentLeaderEpoch,
        lastFetchedEpoch,
        partitionMaxBytes,
        flushedOffset,
      });
    }
  }
  return named;
}

/** A topic id that was unknown when it was first named may be known by now. */
function currentlyNamed(session: Session, topicName: (topicId: string) => string | null): readonly FetchPartition[] {
  const partitions: FetchPartition[] = [];
  for (const partition of session.partitions.values()) {
    const isUnresolved = partition.topic === null && session.usesTopicIds;
    partitions.push(isUnresolved ? { ...partition, topic: topicName(partition.topicId) } : partition);
  }
  return partitions;
}
