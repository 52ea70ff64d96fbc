import type { DescribedGroup, ListedGroup } from "./answers.ts";
import { CONSUMER_PROTOCOL_TYPE, metadataOf, noBytes } from "./classic-group.ts";
import type { DescribeCommand, ListCommand } from "./commands.ts";
import { answered } from "./draft.ts";
import type { Group, GroupDecision } from "./types.ts";

/** Decides a ListGroups. A state or a type that does not exist matches nothing. */
export function decideList(groups: ReadonlyMap<string, Group>, command: ListCommand): GroupDecision {
  const states = new Set(command.states.map((state) => state.trim().toLowerCase()));
  const types = new Set(command.types.map((type) => type.trim().toLowerCase()));
  const listed: ListedGroup[] = [];
  for (const group of groups.values()) {
    const { groupId, state, type } = group;
    const protocolType = group.type === "classic" ? group.protocolType : CONSUMER_PROTOCOL_TYPE;
    const isAsked = (states.size === 0 || states.has(state.toLowerCase())) && (types.size === 0 || types.has(type));
    if (isAsked) listed.push({ groupId, protocolType: protocolType ?? "", state, type });
  }
  return answered(command.ticket, listed, "committed");
}

/** Decides a DescribeGroups. Members' metadata is told of a stable group only: before, no protocol is chosen. */
export function decideDescribe(groups: ReadonlyMap<string, Group>, command: DescribeCommand): GroupDecision {
  const described = command.groupIds.map((groupId) => describe(groupId, groups.get(groupId) ?? null));
  return answered(command.ticket, described, "committed");
}

/** What is not a classic group is not there, for this API. */
function describe(groupId: string, group: Group | null): DescribedGroup {
  if (group?.type !== "classic") {
    const message = group === null ? null : `group ${groupId} is not a classic group`;
    return { groupId, state: "Dead", message, protocolType: "", protocolName: "", members: [] };
  }
  const isStable = group.state === "Stable";
  return {
    groupId,
    state: group.state,
    message: null,
    protocolType: group.protocolType ?? "",
    protocolName: isStable ? (group.protocolName ?? "") : "",
    members: Array.from(group.members.values(), (member) => ({
      memberId: member.memberId,
      instanceId: member.instanceId,
      clientId: member.clientId,
      clientHost: member.clientHost,
      metadata: isStable ? metadataOf(member, group.protocolName) : noBytes,
      assignment: member.assignment,
    })),
  };
}
