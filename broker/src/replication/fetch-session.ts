import { ErrorCode } from "kafka-protocol-ts/errors";
import type { FetchRequestInput, FetchRequestPartitionInput, FetchResponse } from "kafka-protocol-ts/messages/01-fetch";
import type { FollowerPosition } from "../partitions/following.ts";
import type { Followed } from "./followed.ts";

export interface SessionSettings {
  readonly partitionBytesMax: number;
  readonly responseBytesMax: number;
  readonly bytesMin: number;
  readonly waitMaxMs: number;
}

/** A follower's side of an incremental fetch session (KIP-227): partitions are named once, and then only where something has changed. */
export class FetchSession {
  readonly #nodeId: number;
  readonly #settings: SessionSettings;
  readonly #brokerEpoch: () => number;
  /** 0: none. */
  #id = 0;
  #epoch = 0;
  /** In the leader's session. */
  readonly #named = new Set<Followed>();
  /** Still in it, and not to be. */
  readonly #forgotten = new Set<Followed>();

  constructor(options: { readonly nodeId: number; readonly settings: SessionSettings; brokerEpoch(): number }) {
    this.#nodeId = options.nodeId;
    this.#settings = options.settings;
    this.#brokerEpoch = () => options.brokerEpoch();
  }

  /** Asks for these, and for no others. With `isUnflushed` the leader answers at once, whatever it has. */
  request(due: readonly Followed[], isUnflushed: boolean): FetchRequestInput {
    const { responseBytesMax, bytesMin, waitMaxMs } = this.#settings;
    const isFull = this.#id === 0;
    if (isFull) this.#epoch = 0;
    const wanted = new Set(due);
    for (const followed of this.#named) if (!wanted.has(followed)) this.forget(followed);
    const changed: Followed[] = [];
    for (const followed of due) {
      const { position } = followed.following;
      const isTold = !isFull && this.#named.has(followed) && isSame(followed.told, position);
      followed.told = position;
      if (isTold) continue;
      changed.push(followed);
    }
    const forgotten = isFull ? [] : [...this.#forgotten].filter((followed) => !isNamedAnew(followed, due));
    this.#forgotten.clear();
    for (const followed of due) this.#named.add(followed);
    return {
      replicaState: { replicaId: this.#nodeId, replicaEpoch: this.#brokerEpoch() },
      maxWaitMs: isUnflushed ? 0 : waitMaxMs,
      minBytes: bytesMin,
      maxBytes: responseBytesMax,
      sessionId: this.#id,
      sessionEpoch: this.#epoch,
      topics: [...byTopic(changed)].map(([topicId, ofTopic]) => ({
        topicId,
        partitions: ofTopic.map((followed) => this.#partition(followed)),
      })),
      forgottenTopicsData: [...byTopic(forgotten)].map(([topicId, ofTopic]) => ({
        topicId,
        partitions: ofTopic.map(({ partition }) => partition.index),
      })),
    };
  }

  #partition({ partition, following }: Followed): FetchRequestPartitionInput {
    return {
      partition: partition.index,
      currentLeaderEpoch: following.leaderEpoch,
      ...following.position,
      highWatermark: partition.highWatermark,
      partitionMaxBytes: this.#settings.partitionBytesMax,
    };
  }

  /** False: there is nothing in it, and the next request begins a session. */
  answered({ errorCode, sessionId }: FetchResponse): boolean {
    if (errorCode !== ErrorCode.NONE) {
      this.restart();
      return false;
    }
    if (sessionId === 0) this.restart();
    else {
      this.#id = sessionId;
      this.#epoch = this.#epoch === 0x7fffffff ? 1 : this.#epoch + 1;
    }
    return true;
  }

  forget(followed: Followed): void {
    if (this.#named.delete(followed)) this.#forgotten.add(followed);
  }

  restart(): void {
    this.#id = 0;
    this.#named.clear();
    this.#forgotten.clear();
  }
}

/** The partition is there once more, in another epoch or after a pause: to name it is enough. */
function isNamedAnew({ key }: Followed, due: readonly Followed[]): boolean {
  return due.some((followed) => followed.key === key);
}

function isSame(a: FollowerPosition | null, b: FollowerPosition): boolean {
  return (
    a !== null &&
    a.fetchOffset === b.fetchOffset &&
    a.flushedOffset === b.flushedOffset &&
    a.lastFetchedEpoch === b.lastFetchedEpoch &&
    a.logStartOffset === b.logStartOffset
  );
}

function byTopic(all: readonly Followed[]): Map<string, Followed[]> {
  const found = new Map<string, Followed[]>();
  for (const followed of all) {
    const { topicId } = followed.partition.log;
    const ofTopic = found.get(topicId);
    if (ofTopic === undefined) found.set(topicId, [followed]);
    else ofTopic.push(followed);
  }
  return found;
}
