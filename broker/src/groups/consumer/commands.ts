import type { Ticket } from "../../coordinator/machine.ts";
import type { Assignment } from "../assignors/types.ts";
import type { GroupFailure } from "../failures.ts";
import type { ConsumerGroupState } from "./group.ts";

/** A ConsumerGroupHeartbeat as the machine takes it. Null: as before. */
export interface ConsumerHeartbeatCommand {
  readonly ticket: Ticket<ConsumerHeartbeatAnswer>;
  readonly groupId: string;
  readonly memberId: string;
  /** 0 joins, −1 leaves, −2 leaves for a moment. */
  readonly memberEpoch: number;
  readonly instanceId: string | null;
  readonly rackId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  readonly rebalanceTimeoutMs: number | null;
  /** Sorted, each once. */
  readonly topicNames: readonly string[] | null;
  readonly topicRegex: string | null;
  readonly serverAssignor: string | null;
  /** What the member has. */
  readonly owned: Assignment | null;
}

export interface ConsumerHeartbeatAnswer {
  readonly failure: GroupFailure | null;
  /** What is wrong, for people. */
  readonly message: string | null;
  readonly memberId: string;
  readonly memberEpoch: number;
  readonly heartbeatIntervalMs: number;
  /** Null: as before. */
  readonly assignment: Assignment | null;
}

export interface ConsumerDescribeCommand {
  readonly ticket: Ticket<ConsumerDescribeAnswer>;
  readonly groupId: string;
}

export type ConsumerDescribeAnswer =
  | { readonly failure: "group-id-not-found"; readonly message: string }
  | { readonly failure: null; readonly group: DescribedConsumerGroup };

export interface DescribedConsumerGroup {
  readonly groupId: string;
  readonly state: ConsumerGroupState;
  readonly groupEpoch: number;
  readonly assignmentEpoch: number;
  readonly assignorName: string;
  readonly members: readonly DescribedConsumerMember[];
}

export interface DescribedConsumerMember {
  readonly memberId: string;
  readonly instanceId: string | null;
  readonly rackId: string | null;
  readonly memberEpoch: number;
  readonly clientId: string;
  readonly clientHost: string;
  readonly topicNames: readonly string[];
  readonly topicRegex: string | null;
  /** With what it has not given up yet. */
  readonly assignment: Assignment;
  readonly target: Assignment;
  readonly isClassic: boolean;
}

export function heartbeatRefused(failure: GroupFailure, message: string): ConsumerHeartbeatAnswer {
  return { failure, message, memberId: "", memberEpoch: 0, heartbeatIntervalMs: 0, assignment: null };
}
