import type { Ticket } from "../coordinator/machine.ts";
import type { TransactionalProducer } from "../coordinator/shard-log.ts";
import type {
  CommitAnswer,
  DeleteGroupsAnswer,
  DeleteOffsetsAnswer,
  DescribedGroup,
  FetchAnswer,
  HeartbeatAnswer,
  JoinAnswer,
  LeaveAnswer,
  ListedGroup,
  SyncAnswer,
} from "./answers.ts";
import type { MemberProtocol } from "./classic-group.ts";

/*
 * Requests as the machine takes them: what the wire and the version mean is already decided, and whatever is random
 * (a new member id) already drawn. Bytes in them are the machine's to keep.
 */

export interface JoinCommand {
  readonly ticket: Ticket<JoinAnswer>;
  readonly groupId: string;
  /** Empty: a new member. */
  readonly memberId: string;
  readonly instanceId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  readonly protocolType: string;
  readonly protocols: readonly MemberProtocol[];
  readonly sessionTimeoutMs: number;
  readonly rebalanceTimeoutMs: number;
  /** The member id it gets if it is new; of no meaning if it is not. */
  readonly newMemberId: string;
  /** KIP-394: a new member has to come a second time, with the member id that it was given. */
  readonly isMemberIdRequired: boolean;
  /** KIP-814: the client knows how to skip the assignment. */
  readonly canSkipAssignment: boolean;
  /** What the client says (KIP-800). */
  readonly reason: string | null;
}

export interface SyncCommand {
  readonly ticket: Ticket<SyncAnswer>;
  readonly groupId: string;
  readonly memberId: string;
  readonly instanceId: string | null;
  readonly generation: number;
  /** Null: the version does not say. */
  readonly protocolType: string | null;
  readonly protocolName: string | null;
  /** By member id; from the leader. */
  readonly assignments: ReadonlyMap<string, Uint8Array>;
}

export interface HeartbeatCommand {
  readonly ticket: Ticket<HeartbeatAnswer>;
  readonly groupId: string;
  readonly memberId: string;
  readonly instanceId: string | null;
  readonly generation: number;
}

export interface LeaveCommand {
  readonly ticket: Ticket<LeaveAnswer>;
  readonly groupId: string;
  readonly members: readonly LeavingMember[];
}

export interface LeavingMember {
  /** Empty: the static member is meant by its instance id, by an administrator. */
  readonly memberId: string;
  readonly instanceId: string | null;
  readonly reason: string | null;
}

export interface CommitCommand {
  readonly ticket: Ticket<CommitAnswer>;
  readonly groupId: string;
  readonly memberId: string;
  readonly instanceId: string | null;
  /** −1: from outside of the group. */
  readonly generation: number;
  /** TxnOffsetCommit: the offsets count when its transaction is committed. */
  readonly producer: TransactionalProducer | null;
  /** From v9 on clients know that a group may not be there; before, its generation is what is wrong. */
  readonly knowsGroupIdNotFound: boolean;
  /** Null: the broker's retention. */
  readonly expireAfterMs: number | null;
  readonly offsets: readonly OffsetToCommit[];
}

export interface OffsetToCommit {
  readonly topic: string;
  readonly topicId: string | null;
  readonly partition: number;
  readonly offset: number;
  readonly leaderEpoch: number;
  readonly metadata: string;
}

export interface FetchCommand {
  readonly ticket: Ticket<FetchAnswer>;
  readonly groupId: string;
  /** From v9 on a member of a consumer group says who it is; null and −1: it does not. */
  readonly memberId: string | null;
  readonly memberEpoch: number;
  /** Null: all that the group has. */
  readonly topics: readonly TopicToFetch[] | null;
  /** KIP-447: an offset that an open transaction may move is not told. */
  readonly isStableRequired: boolean;
}

export interface TopicToFetch {
  readonly topic: string;
  /** An offset of an earlier topic of this name is none; null: not known. */
  readonly topicId: string | null;
  readonly partitions: readonly number[];
}

export interface DeleteOffsetsCommand {
  readonly ticket: Ticket<DeleteOffsetsAnswer>;
  readonly groupId: string;
  readonly partitions: readonly { readonly topic: string; readonly partition: number }[];
}

export interface DeleteGroupsCommand {
  readonly ticket: Ticket<DeleteGroupsAnswer>;
  readonly groupIds: readonly string[];
}

export interface ListCommand {
  readonly ticket: Ticket<readonly ListedGroup[]>;
  /** Empty: any. Upper and lower case are the same. */
  readonly states: readonly string[];
  readonly types: readonly string[];
}

export interface DescribeCommand {
  readonly ticket: Ticket<readonly DescribedGroup[]>;
  readonly groupIds: readonly string[];
}
