import { ErrorCode } from "kafka-protocol-ts/errors";

/** What a fetch wants of one partition. Topic ids where the broker speaks of topics by them. */
export interface WantedPartition {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  readonly currentLeaderEpoch: number;
  readonly fetchOffset: number;
  readonly partitionMaxBytes: number;
}

export interface SessionRequest {
  readonly sessionId: number;
  readonly sessionEpoch: number;
  /** What the broker does not know yet. */
  readonly changed: readonly WantedPartition[];
  readonly forgotten: readonly WantedPartition[];
}

const firstEpoch = 0;
const epochMax = 0x7fff_ffff;

/**
 * The client's half of a fetch session (KIP-227): the broker remembers what is wanted, and hears of changes only. One for
 * each broker; a request must be answered before the next one is made.
 */
export class FetchSession {
  #sessionId = 0;
  #epoch = firstEpoch;
  #known = new Map<string, WantedPartition>();

  /** The next request for exactly these partitions. */
  next(wanted: readonly WantedPartition[]): SessionRequest {
    // A session speaks of topics by ids or by names from its first request to its last (KIP-516).
    const [known] = this.#known.values();
    const [first] = wanted;
    if (known !== undefined && first !== undefined && (known.topicId === "") !== (first.topicId === "")) this.reset();
    const next = new Map(wanted.map((each) => [keyOf(each), each]));
    const isFirst = this.#epoch === firstEpoch;
    const changed: WantedPartition[] = [];
    const forgotten: WantedPartition[] = [];
    if (isFirst) changed.push(...wanted);
    else {
      for (const [key, each] of next) if (!isSame(this.#known.get(key), each)) changed.push(each);
      for (const [key, each] of this.#known) if (!next.has(key)) forgotten.push(each);
    }
    this.#known = next;
    return { sessionId: this.#sessionId, sessionEpoch: this.#epoch, changed, forgotten };
  }

  /** After an answer without an error at its top. A broker that keeps no sessions gives the id 0. */
  answered(sessionId: number): void {
    if (sessionId === 0) this.reset();
    else {
      this.#sessionId = sessionId;
      this.#epoch = this.#epoch === epochMax ? 1 : this.#epoch + 1;
    }
  }

  /**
   * After an answer with an error at its top, true where the next request begins a session anew and is worth trying at
   * once. One that began a session cannot have been refused for an old one.
   */
  refused(errorCode: number): boolean {
    const wasFirst = this.#epoch === firstEpoch;
    this.reset();
    if (wasFirst) return false;
    return errorCode === ErrorCode.FETCH_SESSION_ID_NOT_FOUND || errorCode === ErrorCode.INVALID_FETCH_SESSION_EPOCH;
  }

  /** Nobody knows what the broker remembers: after a lost answer, or on another connection. */
  reset(): void {
    this.#sessionId = 0;
    this.#epoch = firstEpoch;
    this.#known.clear();
  }
}

function keyOf({ topicId, topic, partition }: WantedPartition): string {
  return `${topicId} ${topic} ${partition}`;
}

function isSame(a: WantedPartition | undefined, b: WantedPartition): boolean {
  return (
    a?.fetchOffset === b.fetchOffset &&
    a.currentLeaderEpoch === b.currentLeaderEpoch &&
    a.partitionMaxBytes === b.partitionMaxBytes
  );
}
