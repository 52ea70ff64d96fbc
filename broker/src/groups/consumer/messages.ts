import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import { errorMessage } from "kafka-protocol-ts/errors";
import type { ErrorCode } from "kafka-protocol-ts/errors";
import type {
  ConsumerGroupHeartbeatRequest,
  ConsumerGroupHeartbeatResponseInput,
} from "kafka-protocol-ts/messages/68-consumer-group-heartbeat";
import type { ConsumerGroupDescribeResponseDescribedGroupInput } from "kafka-protocol-ts/messages/69-consumer-group-describe";
import type { RequestContext } from "../../apis/handler.ts";
import type { Assignment } from "../assignors/types.ts";
import type { GroupFailure } from "../failures.ts";
import { codeOf, GROUP_OPERATIONS, javaAddress, NO_AUTHORIZED_OPERATIONS } from "../messages.ts";
import type { GroupSettings } from "../settings.ts";
import type { TopicLookup } from "../topic-lookup.ts";
import { heartbeatRefused } from "./commands.ts";
import type { ConsumerHeartbeatAnswer, ConsumerHeartbeatCommand, DescribedConsumerGroup } from "./commands.ts";
import { STATIC_LEAVE_EPOCH } from "./member.ts";

/* ConsumerGroupHeartbeat and ConsumerGroupDescribe: requests into commands, and answers into responses. */

// --- ConsumerGroupHeartbeat --------------------------------------------------------------------------------------------

/** A failure is the whole answer: what is wrong with the request by itself. */
export function consumerHeartbeatCommand(
  request: ConsumerGroupHeartbeatRequest,
  { version, clientId, connection }: RequestContext,
  { memberUuid, settings }: { readonly memberUuid: string; readonly settings: GroupSettings },
): Result<Omit<ConsumerHeartbeatCommand, "ticket">, ConsumerHeartbeatAnswer> {
  const flaw = flawOf(request, version);
  if (flaw !== null) return refuse("invalid-request", flaw);
  const { serverAssignor } = request;
  const offered = settings.consumer.assignors.map(({ name }) => name);
  if (serverAssignor !== null && !offered.includes(serverAssignor))
    return refuse("unsupported-assignor", `there is no assignor ${serverAssignor}: choose from ${offered.join(", ")}`);
  return ok({
    groupId: request.groupId,
    // v0 lets the coordinator make the member id.
    memberId: request.memberId === "" ? memberUuid : request.memberId,
    memberEpoch: request.memberEpoch,
    instanceId: request.instanceId,
    rackId: request.rackId,
    clientId: clientId ?? "",
    clientHost: javaAddress(connection.clientHost),
    rebalanceTimeoutMs: request.rebalanceTimeoutMs === -1 ? null : request.rebalanceTimeoutMs,
    topicNames: request.subscribedTopicNames === null ? null : [...new Set(request.subscribedTopicNames)].sort(),
    topicRegex: request.subscribedTopicRegex,
    serverAssignor,
    owned: request.topicPartitions === null ? null : ownedOf(request.topicPartitions),
  });
}

function refuse(failure: GroupFailure, message: string): Result<never, ConsumerHeartbeatAnswer> {
  return failed(heartbeatRefused(failure, message));
}

/** What no member may say; null: all is well. */
function flawOf(request: ConsumerGroupHeartbeatRequest, version: number): string | null {
  const { groupId, memberId, memberEpoch, instanceId, rackId, rebalanceTimeoutMs, topicPartitions } = request;
  if (groupId === "") return "the group id is empty";
  if (memberId === "" && (version >= 1 || memberEpoch !== 0)) return "the member id is empty";
  if (instanceId === "") return "the instance id is empty";
  if (rackId === "") return "the rack id is empty";
  if (rebalanceTimeoutMs < -1) return `a rebalance timeout of ${rebalanceTimeoutMs} ms`;
  if (memberEpoch === 0) {
    if (rebalanceTimeoutMs === -1) return "who joins must say its rebalance timeout";
    if (topicPartitions === null || topicPartitions.length > 0) return "who joins must say that it has no partitions";
    if (request.subscribedTopicNames === null && request.subscribedTopicRegex === null)
      return "who joins must subscribe to topic names or to a regular expression";
  }
  if (memberEpoch === STATIC_LEAVE_EPOCH && instanceId === null) return "only a static member leaves for a moment";
  return memberEpoch < STATIC_LEAVE_EPOCH ? `there is no member epoch ${memberEpoch}` : null;
}

function ownedOf(
  topicPartitions: readonly { readonly topicId: string; readonly partitions: readonly number[] }[],
): Assignment {
  const owned = new Map<string, readonly number[]>();
  for (const { topicId, partitions } of topicPartitions)
    owned.set(topicId, [...(owned.get(topicId) ?? []), ...partitions]);
  return owned;
}

export function consumerHeartbeatResponse(answer: ConsumerHeartbeatAnswer): ConsumerGroupHeartbeatResponseInput {
  const { assignment } = answer;
  return {
    throttleTimeMs: 0,
    errorCode: codeOf(answer.failure),
    errorMessage: answer.message,
    memberId: answer.failure === null ? answer.memberId : null,
    memberEpoch: answer.memberEpoch,
    heartbeatIntervalMs: answer.heartbeatIntervalMs,
    assignment: assignment === null ? null : { topicPartitions: topicPartitionsOf(assignment) },
  };
}

export function consumerHeartbeatError(errorCode: ErrorCode): ConsumerGroupHeartbeatResponseInput {
  return {
    throttleTimeMs: 0,
    errorCode,
    errorMessage: errorMessage(errorCode),
    memberEpoch: 0,
    heartbeatIntervalMs: 0,
  };
}

function topicPartitionsOf(assignment: Assignment): { topicId: string; partitions: readonly number[] }[] {
  return Array.from(assignment, ([topicId, partitions]) => ({ topicId, partitions }));
}

// --- ConsumerGroupDescribe ---------------------------------------------------------------------------------------------

export function consumerDescribeResponse(
  group: DescribedConsumerGroup,
  { topics, withOperations }: { readonly topics: TopicLookup; readonly withOperations: boolean },
): ConsumerGroupDescribeResponseDescribedGroupInput {
  return {
    errorCode: codeOf(null),
    errorMessage: null,
    groupId: group.groupId,
    groupState: group.state,
    groupEpoch: group.groupEpoch,
    assignmentEpoch: group.assignmentEpoch,
    assignorName: group.assignorName,
    members: group.members.map((member) => ({
      memberId: member.memberId,
      instanceId: member.instanceId,
      rackId: member.rackId,
      memberEpoch: member.memberEpoch,
      clientId: member.clientId,
      clientHost: member.clientHost,
      subscribedTopicNames: member.topicNames,
      subscribedTopicRegex: member.topicRegex,
      assignment: { topicPartitions: namedPartitions(member.assignment, topics) },
      targetAssignment: { topicPartitions: namedPartitions(member.target, topics) },
      memberType: member.isClassic ? 0 : 1,
    })),
    authorizedOperations: withOperations ? GROUP_OPERATIONS : NO_AUTHORIZED_OPERATIONS,
  };
}

export function consumerDescribeError(
  groupId: string,
  errorCode: ErrorCode,
  message: string = errorMessage(errorCode),
): ConsumerGroupDescribeResponseDescribedGroupInput {
  return {
    errorCode,
    errorMessage: message,
    groupId,
    groupState: "",
    groupEpoch: 0,
    assignmentEpoch: 0,
    assignorName: "",
    members: [],
  };
}

/** A topic that is gone has no name, and is left out. */
function namedPartitions(
  assignment: Assignment,
  topics: TopicLookup,
): { topicId: string; topicName: string; partitions: readonly number[] }[] {
  return Array.from(assignment).flatMap(([topicId, partitions]) => {
    const topic = topics.byId(topicId);
    return topic === null ? [] : [{ topicId, topicName: topic.name, partitions }];
  });
}
