import type { RequestContext } from "../apis/handler.ts";
import { ErrorCode, errorMessage } from "kafka-protocol-ts/errors";
import type { DescribeGroupsResponseDescribedGroupInput } from "kafka-protocol-ts/messages/15-describe-groups";
import type { JoinGroupRequest, JoinGroupResponseInput } from "kafka-protocol-ts/messages/11-join-group";
import type { LeaveGroupRequest, LeaveGroupResponseInput } from "kafka-protocol-ts/messages/13-leave-group";
import type { SyncGroupRequest, SyncGroupResponseInput } from "kafka-protocol-ts/messages/14-sync-group";
import type { DescribedGroup, JoinAnswer, LeaveAnswer, SyncAnswer } from "./answers.ts";
import { noBytes } from "./classic-group.ts";
import type { JoinCommand, LeaveCommand, SyncCommand } from "./commands.ts";
import { codeOfGroupFailure } from "./failures.ts";
import type { GroupFailure } from "./failures.ts";

/*
 * Requests of all versions into commands, and answers into responses: what a version lacks or means is known here only.
 * Bytes that the machine keeps are copied: what was read are views of the request's frame.
 */

export function codeOf(failure: GroupFailure | null): ErrorCode {
  return failure === null ? ErrorCode.NONE : codeOfGroupFailure[failure];
}

/** Any client id and instance id fits a string of the protocol, and with more behind it must still fit one. */
const MEMBER_ID_PREFIX_MAX = 8_192;

export function joinCommand(
  request: JoinGroupRequest,
  { version, clientId, connection }: RequestContext,
  memberUuid: string,
): Omit<JoinCommand, "ticket"> {
  const prefix = (request.groupInstanceId ?? clientId ?? "").slice(0, MEMBER_ID_PREFIX_MAX);
  return {
    groupId: request.groupId,
    memberId: request.memberId,
    instanceId: request.groupInstanceId,
    clientId: clientId ?? "",
    clientHost: javaAddress(connection.clientHost),
    protocolType: request.protocolType,
    protocols: request.protocols.map(({ name, metadata }) => ({ name, metadata: new Uint8Array(metadata) })),
    sessionTimeoutMs: request.sessionTimeoutMs,
    // v0 has no time of its own for joining.
    rebalanceTimeoutMs:
      version === 0 || request.rebalanceTimeoutMs < 0 ? request.sessionTimeoutMs : request.rebalanceTimeoutMs,
    newMemberId: `${prefix}-${memberUuid}`,
    isMemberIdRequired: version >= 4,
    canSkipAssignment: version >= 9,
    reason: request.reason,
  };
}

/** Tools print this beside a member; Kafka writes addresses as Java does, with an empty host name before the slash. */
export function javaAddress(host: string): string {
  return host.startsWith("/") ? host : `/${host}`;
}

export function joinResponse(answer: JoinAnswer, version: number): JoinGroupResponseInput {
  return {
    throttleTimeMs: 0,
    errorCode: codeOf(answer.failure),
    generationId: answer.generation,
    protocolType: answer.protocolType,
    // Null stands for "none" from v7 on only.
    protocolName: version < 7 ? (answer.protocolName ?? "") : answer.protocolName,
    leader: answer.leaderId,
    skipAssignment: answer.skipAssignment,
    memberId: answer.memberId,
    members: answer.members.map(({ memberId, instanceId, metadata }) => ({
      memberId,
      groupInstanceId: instanceId,
      metadata,
    })),
  };
}

export function joinError(errorCode: ErrorCode, memberId: string, version: number): JoinGroupResponseInput {
  const answer: JoinAnswer = {
    failure: null,
    memberId,
    generation: -1,
    protocolType: null,
    protocolName: null,
    leaderId: "",
    members: [],
    skipAssignment: false,
  };
  return { ...joinResponse(answer, version), errorCode };
}

export function syncCommand(request: SyncGroupRequest): Omit<SyncCommand, "ticket"> {
  return {
    groupId: request.groupId,
    memberId: request.memberId,
    instanceId: request.groupInstanceId,
    generation: request.generationId,
    protocolType: request.protocolType,
    protocolName: request.protocolName,
    assignments: new Map(request.assignments.map(({ memberId, assignment }) => [memberId, new Uint8Array(assignment)])),
  };
}

export function syncResponse(answer: SyncAnswer): SyncGroupResponseInput {
  return {
    throttleTimeMs: 0,
    errorCode: codeOf(answer.failure),
    protocolType: answer.protocolType,
    protocolName: answer.protocolName,
    assignment: answer.assignment,
  };
}

export function syncError(errorCode: ErrorCode): SyncGroupResponseInput {
  return { throttleTimeMs: 0, errorCode, assignment: noBytes };
}

export function leaveCommand(request: LeaveGroupRequest, version: number): Omit<LeaveCommand, "ticket"> {
  return {
    groupId: request.groupId,
    members:
      version < 3
        ? [{ memberId: request.memberId, instanceId: null, reason: null }]
        : request.members.map(({ memberId, groupInstanceId, reason }) => ({
            memberId,
            instanceId: groupInstanceId,
            reason,
          })),
  };
}

/** Before v3 one member leaves, and its own error is the whole answer. */
export function leaveResponse(answer: LeaveAnswer, version: number): LeaveGroupResponseInput {
  if (version < 3) return { throttleTimeMs: 0, errorCode: codeOf(answer.members[0]?.failure ?? null) };
  return {
    throttleTimeMs: 0,
    errorCode: ErrorCode.NONE,
    members: answer.members.map(({ memberId, instanceId, failure }) => ({
      memberId,
      groupInstanceId: instanceId,
      errorCode: codeOf(failure),
    })),
  };
}

export const NO_AUTHORIZED_OPERATIONS = -2147483648;
/** Read, delete, describe, describe configs, alter configs: all that can be done to a group. */
export const GROUP_OPERATIONS: number = (1 << 3) | (1 << 6) | (1 << 8) | (1 << 10) | (1 << 11);

/** A group that is not there is Dead; from v6 on it is also an error (KIP-1043). */
export function describeResponse(
  group: DescribedGroup,
  { version, withOperations }: { readonly version: number; readonly withOperations: boolean },
): DescribeGroupsResponseDescribedGroupInput {
  const isMissing = group.state === "Dead" && version >= 6;
  return {
    errorCode: isMissing ? ErrorCode.GROUP_ID_NOT_FOUND : ErrorCode.NONE,
    errorMessage: isMissing ? (group.message ?? errorMessage(ErrorCode.GROUP_ID_NOT_FOUND)) : null,
    groupId: group.groupId,
    groupState: group.state,
    protocolType: group.protocolType,
    protocolData: group.protocolName,
    members: group.members.map(({ memberId, instanceId, clientId, clientHost, metadata, assignment }) => ({
      memberId,
      groupInstanceId: instanceId,
      clientId,
      clientHost,
      memberMetadata: metadata,
      memberAssignment: assignment,
    })),
    authorizedOperations: withOperations && !isMissing ? GROUP_OPERATIONS : NO_AUTHORIZED_OPERATIONS,
  };
}

export function describeError(groupId: string, errorCode: ErrorCode): DescribeGroupsResponseDescribedGroupInput {
  return { errorCode, groupId, groupState: "", protocolType: "", protocolData: "", members: [] };
}
