import { Deque } from "@millrace/base/deque";
import type { RecordBatchView } from "kafka-protocol-ts/records/batch";
import { partitionKey } from "../topic-partition.ts";
import { Lease } from "./lease.ts";

/** A batch that was fetched, or a stretch of the log in which nothing stands that a reader sees. */
export interface Chunk {
  readonly batch: RecordBatchView | null;
  /** Records before it were read before; a broker gives whole batches. */
  readonly fromOffset: number;
  /** Where the next chunk begins. */
  readonly nextOffset: number;
  /** Of what stands there, whoever sees it: a leader that knows nothing of it lacks it (KIP-320). */
  readonly leaderEpoch: number;
  readonly sizeBytes: number;
}

/** What all readings of a consumer have fetched and not handed out. */
export interface FetchBuffer {
  bytes: number;
}

/** One partition that is read: where it stands, and what of it was fetched and is not handed out. */
export class PartitionReading {
  readonly topic: string;
  readonly partition: number;
  /** "orders-3" */
  readonly key: string;
  /** The topic that was read: one that was deleted and made again has another id. Null before the first fetch. */
  topicId: string | null = null;
  /** Where the next fetch begins; -1 while that is being found out. */
  fetchOffset = -1;
  /** The leader epoch of the record before `fetchOffset`; -1 where it is not known. */
  fetchedEpoch = -1;
  /** The leader epoch under which `fetchOffset` was last known to be right (KIP-320); -1: none yet. */
  checkedEpoch = -1;
  /** That is being found out: nothing is fetched meanwhile. */
  isChecking = false;
  /** Reading ends there by itself. */
  endOffset: number = Number.POSITIVE_INFINITY;
  highWatermark = -1;
  lastStableOffset = -1;
  logStartOffset = -1;
  isPaused = false;
  /** Its front has enough of it in hand: what is fetched waits. */
  isHeld = false;
  /** False for good once it was given up. */
  isOwned = true;
  /** No later attempt can do better: it is not tried again. */
  hasFailed = false;
  /** It waits in the feed. */
  isQueued = false;
  lease: Lease = new Lease(-1);
  /** -1: nothing that we know of. */
  committedOffset = -1;
  /** The follower that the leader recommends (KIP-392), until then; -1: none. */
  replicaId = -1;
  replicaUntilMs = 0;
  /** Which of all answers with records was its last: the higher, the later. */
  servedNumber = 0;
  /** No attempt before that, in the clock's monotonic milliseconds; and how many have failed in a row. */
  notBeforeMs = 0;
  failuresCount = 0;
  /** Since when nothing could be fetched because of failures; null: it goes well. */
  troubledSinceMs: number | null = null;
  readonly #chunks = new Deque<Chunk>();
  readonly #buffer: FetchBuffer;
  #bufferedBytes = 0;

  constructor(topic: string, partition: number, buffer: FetchBuffer) {
    this.#buffer = buffer;
    this.topic = topic;
    this.partition = partition;
    this.key = partitionKey(this);
  }

  get isLocated(): boolean {
    return this.fetchOffset >= 0;
  }

  /** Fetched, and not handed out. */
  get bufferedBytes(): number {
    return this.#bufferedBytes;
  }

  get hasChunk(): boolean {
    return !this.#chunks.isEmpty;
  }

  /** Nothing more is to come of it. */
  get isAtEnd(): boolean {
    return this.isLocated && this.fetchOffset >= this.endOffset && this.#chunks.isEmpty;
  }

  /** Reads on from there; what was fetched is dropped, what is in work belongs to an earlier lease. */
  moveTo(offset: number, leaderEpoch = -1): void {
    this.lease.revoke();
    this.lease = new Lease(offset, leaderEpoch);
    this.fetchOffset = offset;
    this.fetchedEpoch = leaderEpoch;
    this.dropBuffer();
  }

  /**
   * Another topic is read under this name from now on, and where is not known yet: what was read of the old one says nothing
   * of it, and must never be committed as a position in it.
   */
  beginAnew(): void {
    this.lease.revoke();
    this.lease = new Lease(-1);
    this.committedOffset = -1;
    this.unlocate();
  }

  /** Whence it is not known any more. */
  unlocate(): void {
    this.fetchOffset = -1;
    this.fetchedEpoch = -1;
    this.checkedEpoch = -1;
    this.dropBuffer();
  }

  push(chunk: Chunk): void {
    this.#chunks.push(chunk);
    this.#count(chunk.sizeBytes);
    this.fetchOffset = chunk.nextOffset;
    this.fetchedEpoch = chunk.leaderEpoch;
  }

  take(): Chunk | undefined {
    const chunk = this.#chunks.shift();
    if (chunk !== undefined) this.#count(-chunk.sizeBytes);
    return chunk;
  }

  /** The rest of a chunk that was taken, to be handed out later. */
  giveBack(chunk: Chunk): void {
    this.#chunks.unshift(chunk);
    this.#count(chunk.sizeBytes);
  }

  /** Drops what was fetched and not handed out: it is fetched again when it is wanted. */
  fetchAgain(): void {
    const first = this.#chunks.first();
    if (first === undefined) return;
    this.fetchOffset = first.fromOffset;
    this.fetchedEpoch = -1;
    this.dropBuffer();
  }

  dropBuffer(): void {
    this.#chunks.clear();
    this.#count(-this.#bufferedBytes);
  }

  #count(bytes: number): void {
    this.#bufferedBytes += bytes;
    this.#buffer.bytes += bytes;
  }

  /** It goes well (again). */
  succeed(): void {
    this.failuresCount = 0;
    this.notBeforeMs = 0;
    this.troubledSinceMs = null;
  }
}
