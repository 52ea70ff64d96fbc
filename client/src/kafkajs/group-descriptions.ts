import { describeGroups } from "kafka-protocol-ts/messages/15-describe-groups";
import { corrupt } from "../errors.ts";
import type { Wire } from "../network/wire.ts";
import type { ConsumerGroupState, GroupDescription } from "./admin-types.ts";
import { asking, check } from "./asking.ts";
import type { RetrySettings } from "./retry.ts";

/** From the next version on a group that does not exist is an error; up to here it is "Dead". */
const deadVersionMax = 5;

/** Each group as its coordinator describes it, with the bytes that its members gave each other. */
export async function describedGroups(
  wire: Wire,
  groupIds: readonly string[],
  retry: RetrySettings,
): Promise<GroupDescription[]> {
  return Promise.all(
    groupIds.map(async (groupId) =>
      asking(wire, retry, async () => {
        try {
          const connection = await wire.coordinator("group", groupId);
          const message = { groups: [groupId] };
          const { groups } = await connection.request(describeGroups, message, { versionMax: deadVersionMax });
          const [group] = groups;
          if (group === undefined) throw corrupt(`the answer to DescribeGroups does not mention ${groupId}`);
          check(group, `group ${groupId}`, connection);
          return descriptionOf(group);
        } catch (error) {
          wire.forgetCoordinator("group", groupId);
          throw error;
        }
      }),
    ),
  );
}

function descriptionOf(group: {
  readonly errorCode: number;
  readonly groupId: string;
  readonly groupState: string;
  readonly protocolType: string;
  readonly protocolData: string;
  readonly members: readonly {
    readonly memberId: string;
    readonly clientId: string;
    readonly clientHost: string;
    readonly memberMetadata: Buffer;
    readonly memberAssignment: Buffer;
  }[];
}): GroupDescription {
  const { groupId, groupState, protocolType, protocolData: protocol } = group;
  const members = group.members.map(({ memberId, clientId, clientHost, memberMetadata, memberAssignment }) => ({
    memberId,
    clientId,
    clientHost,
    memberMetadata,
    memberAssignment,
  }));
  return { groupId, state: groupState as ConsumerGroupState, protocolType, protocol, members };
}
