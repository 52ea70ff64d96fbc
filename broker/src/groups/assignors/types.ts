export interface AssignorMember {
  readonly memberId: string;
  readonly instanceId: string | null;
  readonly rackId: string | null;
  /** Topic ids it subscribes to. */
  readonly topicIds: ReadonlySet<string>;
  /** What it has in the present target assignment. */
  readonly current: Assignment;
}

export interface AssignorTopic {
  readonly topicId: string;
  readonly name: string;
  readonly partitionCount: number;
}

/** By topic id: partitions in rising order. */
export type Assignment = ReadonlyMap<string, readonly number[]>;

export interface Assignor {
  readonly name: string;
  /** Pure. Every subscribed partition goes to exactly one member. */
  assign(
    members: readonly AssignorMember[],
    topics: ReadonlyMap<string, AssignorTopic>,
  ): ReadonlyMap<string, Assignment>;
}
