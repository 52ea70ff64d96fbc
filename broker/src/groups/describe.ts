import type { DescribedGroup, ListedGroup } from "./answers.ts";
import { metadataOf, noBytes } from "./classic-group.ts";
import type { ClassicGroup } from "./classic-group.ts";
import type { DescribeCommand, ListCommand } from "./commands.ts";
import { answered } from "./draft.ts";
import type { GroupDecision } from "./types.ts";

/** Decides a ListGroups. A state or a type that does not exist matches nothing. */
export function decideList(groups: ReadonlyMap<string, ClassicGroup>, command: ListCommand): GroupDecision {
  const states = new Set(command.states.map((state) => state.trim().toLowerCase()));
  const types = new Set(command.types.map((type) => type.trim().toLowerCase()));
  const listed: ListedGroup[] = [];
  for (const { groupId, protocolType, state, type } of groups.values()) {
    const isAsked = (states.size === 0 || states.has(state.toLowerCase())) && (types.size === 0 || types.has(type));
    if (isAsked) listed.push({ groupId, protocolType: protocolType ?? "", state, type });
  }
  return answered(command.ticket, listed, "committed");
}

/** Decides a DescribeGroups. Members' metadata is told of a stable group only: before, no protocol is chosen. */
export function decideDescribe(groups: ReadonlyMap<string, ClassicGroup>, command: DescribeCommand): GroupDecision {
  const described = command.groupIds.map((groupId) => describe(groupId, groups.get(groupId) ?? null));
  return answered(command.ticket, described, "committed");
}

function describe(groupId: string, group: ClassicGroup | null): DescribedGroup {
  if (group === null) return { groupId, state: "Dead", protocolType: "", protocolName: "", members: [] };
  const isStable = group.state === "Stable";
  return {
    groupId,
    state: group.state,
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
