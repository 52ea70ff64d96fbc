import type { GroupFailure } from "./failures.ts";

/** What the machine answers, before it is put into a message of some version. `failure` null is success. */
export interface JoinAnswer {
  readonly failure: GroupFailure | null;
  readonly memberId: string;
  readonly generation: number;
  readonly protocolType: string | null;
  readonly protocolName: string | null;
  readonly leaderId: string;
  /** To the leader only: whom to assign to. */
  readonly members: readonly JoinedMember[];
  /** KIP-814: a static leader that comes back keeps the assignment as it is. */
  readonly skipAssignment: boolean;
}

export interface JoinedMember {
  readonly memberId: string;
  readonly instanceId: string | null;
  readonly metadata: Uint8Array;
}

export interface SyncAnswer {
  readonly failure: GroupFailure | null;
  readonly protocolType: string | null;
  readonly protocolName: string | null;
  readonly assignment: Uint8Array;
}

export interface HeartbeatAnswer {
  readonly failure: GroupFailure | null;
}

export interface LeaveAnswer {
  readonly members: readonly LeftMember[];
}

export interface LeftMember {
  readonly memberId: string;
  readonly instanceId: string | null;
  readonly failure: GroupFailure | null;
}

export interface CommitAnswer {
  /** Refuses all of it. */
  readonly failure: GroupFailure | null;
  /** In the order of the request, otherwise. */
  readonly partitions: readonly (GroupFailure | null)[];
}

export interface FetchAnswer {
  /** Refuses all of it. */
  readonly failure: GroupFailure | null;
  readonly topics: readonly FetchedTopic[];
}

export interface FetchedTopic {
  readonly topic: string;
  readonly partitions: readonly FetchedPartition[];
}

export interface FetchedPartition {
  readonly partition: number;
  readonly failure: GroupFailure | null;
  /** −1: none was committed. */
  readonly offset: number;
  readonly leaderEpoch: number;
  readonly metadata: string;
}

export interface DeleteOffsetsAnswer {
  readonly failure: GroupFailure | null;
  readonly partitions: readonly (GroupFailure | null)[];
}

export interface DeleteGroupsAnswer {
  readonly groups: readonly { readonly groupId: string; readonly failure: GroupFailure | null }[];
}

export interface ListedGroup {
  readonly groupId: string;
  readonly protocolType: string;
  readonly state: string;
  readonly type: string;
}

export interface DescribedGroup {
  readonly groupId: string;
  /** Dead: there is no such classic group. */
  readonly state: string;
  /** Why it is Dead, where there is more to say; otherwise null. */
  readonly message: string | null;
  readonly protocolType: string;
  readonly protocolName: string;
  readonly members: readonly DescribedMember[];
}

export interface DescribedMember {
  readonly memberId: string;
  readonly instanceId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  readonly metadata: Uint8Array;
  readonly assignment: Uint8Array;
}

export function joinRefused(failure: GroupFailure, memberId: string): JoinAnswer {
  return {
    failure,
    memberId,
    generation: -1,
    protocolType: null,
    protocolName: null,
    leaderId: "",
    members: [],
    skipAssignment: false,
  };
}

const noAssignment = new Uint8Array(0);

export function syncRefused(failure: GroupFailure): SyncAnswer {
  return { failure, protocolType: null, protocolName: null, assignment: noAssignment };
}
