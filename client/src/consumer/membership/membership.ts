import type { KafkaError } from "../../errors.ts";
import type { TopicPartition } from "../../topic-partition.ts";

/** What a member wants to read. */
export interface Subscription {
  readonly topics: readonly string[];
  /** Topics whose names match it, too: RE2 syntax where the broker resolves it (KIP-848), else a JavaScript RegExp. */
  readonly pattern: RegExp | null;
}

/**
 * What a commit must carry, so that the coordinator knows that it comes from the present owner (KIP-447). The epoch is the
 * generation of a classic group.
 */
export interface GroupIdentity {
  readonly groupId: string;
  readonly memberId: string;
  readonly epoch: number;
  readonly instanceId: string | null;
}

/** Where a member stands in a generation of a classic group. */
export interface GroupPlace {
  readonly identity: GroupIdentity;
  readonly leaderId: string;
  /** The name of the assignor that the group has agreed on. */
  readonly assignor: string;
  readonly partitions: readonly TopicPartition[];
}

/**
 * What a membership asks of its consumer; heartbeats go on meanwhile. It awaits `revoke` before it does anything else, but
 * not `assign`: others may be assigned meanwhile, and a `revoke` of the same partitions ends it. `lost` waits for nothing: it
 * may come while a `revoke` or an `assign` of the same partitions is under way, and ends them.
 */
export interface Owner {
  /** What is owned now, in no order. */
  owned(): readonly TopicPartition[];
  /**
   * To be given up in order: nothing more of them is handed out, work in flight is awaited (up to the consumer's own limit)
   * and committed. After it they are not owned. Never rejects.
   */
  revoke(partitions: readonly TopicPartition[]): Promise<void>;
  /** Somebody else may own them already: work in flight is aborted, nothing is committed. Never rejects. */
  lost(partitions: readonly TopicPartition[]): Promise<void>;
  /** Owned from now on, beside what was owned before: read from the committed offsets. Never rejects: it tries again by itself. */
  assign(partitions: readonly TopicPartition[]): Promise<void>;
  /** A classic member has been given its part of a generation, which may be nothing; before `assign`. */
  joined?(place: GroupPlace): void;
  /** A classic member will join again, for this reason. */
  rejoins?(reason: string): void;
  /** The membership has ended for good (fenced, not authorized, no common protocol ...). */
  failed(error: KafkaError): void;
}

/** Membership of a group, whatever its protocol. Made for one subscription; ended by `leave`. */
export interface Membership {
  readonly groupId: string;
  /** Null while it is no member: then nothing can be committed. */
  readonly identity: GroupIdentity | null;
  /**
   * Joins in the background and stays a member through every failure that may pass. Failures for good go to
   * `Owner.failed`.
   */
  start(): void;
  /** Another subscription, which takes effect by a rebalance. */
  subscribe(subscription: Subscription): void;
  /**
   * To be called before anything is handed out: after a standstill that took a session, others have what this member had, and
   * `Owner.lost` comes at once.
   */
  look(): void;
  /**
   * A commit was refused as one of no member, or of an earlier epoch: the membership finds out where it stands, and
   * rejoins if it must.
   */
  onCommitRefused(identity: GroupIdentity, error: KafkaError): void;
  /** Revokes what is owned and leaves; a static member only goes silent. Settles in bounded time, whatever the broker does. */
  leave(): Promise<void>;
}
