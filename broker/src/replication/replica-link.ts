import type { FetchRequestInput, FetchResponse } from "kafka-protocol-ts/messages/01-fetch";

/**
 * A follower's way to one leader. A request is of a version from 15 on, with topic ids and the replica's state; at most one is under way.
 * The records of a response are kept: their memory is not used for anything else.
 */
export interface ReplicaLink {
  /** Rejects where the leader cannot be reached, or the link was closed. */
  fetch(request: FetchRequestInput): Promise<FetchResponse>;
  close(): void;
}
