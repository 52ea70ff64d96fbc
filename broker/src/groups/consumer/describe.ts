import { answered } from "../draft.ts";
import type { GroupSettings } from "../settings.ts";
import type { Group, GroupDecision } from "../types.ts";
import type { ConsumerDescribeAnswer, ConsumerDescribeCommand, DescribedConsumerMember } from "./commands.ts";
import type { ConsumerGroup } from "./group.ts";
import { notFound } from "./heartbeat.ts";
import { assignmentOf, ownedByMember } from "./member.ts";
import type { ConsumerMember } from "./member.ts";
import { preferredAssignor } from "./target.ts";

/** Decides a ConsumerGroupDescribe. */
export function decideConsumerDescribe(
  found: Group | null,
  { ticket, groupId }: ConsumerDescribeCommand,
  settings: GroupSettings,
): GroupDecision {
  const answer: ConsumerDescribeAnswer =
    found?.type === "consumer"
      ? { failure: null, group: describe(found, settings) }
      : { failure: "group-id-not-found", message: notFound(groupId, found).message };
  return answered(ticket, answer, "committed");
}

function describe(
  group: ConsumerGroup,
  settings: GroupSettings,
): Extract<ConsumerDescribeAnswer, { failure: null }>["group"] {
  const { groupId, state, groupEpoch, assignmentEpoch } = group;
  const { name: assignorName } = preferredAssignor({ settings, members: () => group.members() });
  const members = Array.from(group.members(), (member) => describeMember(group, member));
  return { groupId, state, groupEpoch, assignmentEpoch, assignorName, members };
}

function describeMember(group: ConsumerGroup, member: ConsumerMember): DescribedConsumerMember {
  const { memberId, instanceId, rackId, memberEpoch, clientId, clientHost, topicNames, topicRegex } = member;
  return {
    memberId,
    instanceId,
    rackId,
    memberEpoch,
    clientId,
    clientHost,
    topicNames,
    topicRegex,
    assignment: assignmentOf(ownedByMember(member)),
    target: group.target(memberId),
    isClassic: member.classic !== null,
  };
}
