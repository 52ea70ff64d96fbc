/** What an assignor knows of one member of a consumer group (KIP-848). */
export interface AssignorMember {
  readonly memberId: string;
  readonly instanceId: string | null;
  readonly rackId: string | null;
  /**
   * Topic ids it subscribes to. One that `topics` does not have counts for nothing. Members that subscribe alike should
   * share one Set: sets are compared by identity first.
   */
  readonly topicIds: ReadonlySet<string>;
  /** What it has in the present target assignment. */
  readonly current: Assignment;
}

export interface AssignorTopic {
  readonly topicId: string;
  readonly name: string;
  readonly partitionCount: number;
}

/** By topic id: partitions in rising order. A topic of which a member has nothing is not in it. */
export type Assignment = ReadonlyMap<string, readonly number[]>;

/** Computes a group's target assignment on the broker (KIP-848). */
export interface Assignor {
  readonly name: string;
  /**
   * Pure. Every subscribed partition goes to exactly one member, and every member is in the result. The result depends on
   * the set of members, not on their order. A member whose assignment stays as it is gets the same object back.
   */
  assign(
    members: readonly AssignorMember[],
    topics: ReadonlyMap<string, AssignorTopic>,
  ): ReadonlyMap<string, Assignment>;
}
