import { must } from "@millrace/base/assert";
import type { Assignment, Assignor, AssignorMember, AssignorTopic } from "../assignors/types.ts";
import type { GroupSettings } from "../settings.ts";
import type { ConsumerDraft } from "./draft.ts";
import type { ConsumerGroupView } from "./group.ts";
import { sameAssignment, sameNames } from "./member.ts";
import type { ConsumerMember } from "./member.ts";

const nothing: Assignment = new Map();

/**
 * Gives the group a target assignment of its epoch, if it has none yet. Between two of them lies
 * consumer.assignment.interval.ms, so that members that come one after another are served together.
 */
export function updateTarget(draft: ConsumerDraft): void {
  if (draft.groupEpoch <= draft.assignmentEpoch || !isTargetDue(draft, draft.settings, draft.nowMs)) return;
  const assignor = preferredAssignor(draft);
  const members = [...draft.members()];
  const topics = new Map<string, AssignorTopic>();
  const idsOf = memoizedTopicIds(draft, topics);
  const assignment = assignor.assign(
    members.map((member): AssignorMember => ({
      memberId: member.memberId,
      instanceId: member.instanceId,
      rackId: member.rackId,
      topicIds: idsOf(member),
      current: draft.target(member.memberId),
    })),
    topics,
  );
  let changedCount = 0;
  for (const { memberId } of members) {
    const target = assignment.get(memberId) ?? nothing;
    if (sameAssignment(target, draft.target(memberId))) continue;
    changedCount += 1;
    draft.writeTarget(memberId, target);
  }
  draft.writeTargetEpoch(draft.groupEpoch);
  draft.tell({
    kind: "target-assigned",
    groupId: draft.groupId,
    epoch: draft.groupEpoch,
    assignor: assignor.name,
    memberCount: members.length,
    changedCount,
  });
}

/** Whether a group whose epoch has no target may have one made. A clock that was set back keeps nobody waiting. */
export function isTargetDue(
  { assignmentTimestampMs, groupId }: Pick<ConsumerGroupView, "assignmentTimestampMs" | "groupId">,
  { consumer }: GroupSettings,
  nowMs: number,
): boolean {
  const sinceMs = nowMs - assignmentTimestampMs;
  return sinceMs < 0 || sinceMs >= consumer.ofGroup(groupId).assignmentIntervalMs;
}

/** The most votes win, the first that was voted for among equals; without votes the broker's first. */
export function preferredAssignor(group: Pick<ConsumerDraft, "members" | "settings">): Assignor {
  const { assignors } = group.settings.consumer;
  const votes = new Map<string, number>();
  for (const { serverAssignor } of group.members()) {
    if (serverAssignor !== null) votes.set(serverAssignor, (votes.get(serverAssignor) ?? 0) + 1);
  }
  let preferred: Assignor | null = null;
  let most = 0;
  for (const [name, count] of votes) {
    const assignor = assignors.find((one) => one.name === name);
    // The setting may have lost one that members still ask for.
    if (assignor === undefined || count <= most) continue;
    preferred = assignor;
    most = count;
  }
  return preferred ?? must(assignors[0], "an assignor");
}

/**
 * Members mostly read the same topics: they share one set of ids, and who reads what the member before it reads is not
 * looked up. Every topic of a set is put into `topics`.
 */
function memoizedTopicIds(
  draft: ConsumerDraft,
  topics: Map<string, AssignorTopic>,
): (member: ConsumerMember) => ReadonlySet<string> {
  const known = new Map<string, ReadonlySet<string>>();
  let before: ConsumerMember | null = null;
  let ids: ReadonlySet<string> = new Set();
  return (member) => {
    const isAlike = before?.topicRegex === member.topicRegex && sameNames(before.topicNames, member.topicNames);
    before = member;
    if (isAlike) return ids;
    const key = JSON.stringify([member.topicNames, member.topicRegex]);
    const found = known.get(key);
    ids = found ?? draft.topicIdsOf(member);
    if (found !== undefined) return ids;
    known.set(key, ids);
    for (const topicId of ids) {
      const topic = draft.topics.byId(topicId);
      if (topic !== null) topics.set(topicId, { topicId, name: topic.name, partitionCount: topic.partitionCount });
    }
    return ids;
  };
}
