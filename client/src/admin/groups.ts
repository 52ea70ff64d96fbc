import { leaveGroup } from "kafka-protocol-ts/messages/13-leave-group";
import { listGroups } from "kafka-protocol-ts/messages/16-list-groups";
import { deleteGroups } from "kafka-protocol-ts/messages/42-delete-groups";
import type { BrokerConnection } from "../network/broker-connection.ts";
import type { TopicPartition } from "../topic-partition.ts";
import { onEachBroker } from "./brokers.ts";
import type { Batch, CallOptions, Calls, Reply } from "./calls.ts";
import { check, reply, unsupported } from "./calls.ts";
import { describedGroups } from "./describe-groups.ts";
import type { GroupDescription, GroupType } from "./group-descriptions.ts";
import { alteredOffsets, deletedOffsets, fetchedOffsets } from "./group-offsets.ts";
import type { CommittedOffset, GroupOffsetsOptions, OffsetToCommit } from "./group-offsets.ts";
import { resetOffsets } from "./offset-reset.ts";
import type { OffsetReset, ResetOffsetsOptions } from "./offset-reset.ts";
import { isMany } from "./outcome.ts";
import type { Outcome } from "./outcome.ts";
import { coordinatorOf } from "./routes.ts";

/** A group in a list. */
export interface ListedGroup {
  /** The name of the group. */
  readonly groupId: string;
  /** "classic" where the broker is too old to know another. */
  readonly type: GroupType | "unknown";
  /** Null where the broker is older than 2.6. */
  readonly state: string | null;
  /** "consumer", "connect" ...; empty where there never was a member. */
  readonly protocolType: string;
}

/** Which groups to list. */
export interface ListGroupsOptions extends CallOptions {
  /** Only groups in one of these states: "Stable", "Empty" ... */
  readonly states?: readonly string[];
  /** Only groups of these kinds. */
  readonly types?: readonly GroupType[];
}

/** What to tell of groups. */
export interface DescribeGroupsOptions extends CallOptions {
  /** Only groups of these kinds; any other is GROUP_ID_NOT_FOUND. Default: all. */
  readonly types?: readonly GroupType[];
  /** Also what whoever asks may do with the group. Default false. */
  readonly includeAuthorizedOperations?: boolean;
}

/** A member by the id that the broker or the member made, or by its `group.instance.id`. */
export type MemberReference = { readonly memberId: string } | { readonly instanceId: string };

/** How to remove members. */
export interface RemoveMembersOptions extends CallOptions {
  /** For the log of the broker. */
  readonly reason?: string;
}

const allTypes: readonly GroupType[] = ["classic", "consumer", "share", "streams"];
const groupName = (groupId: string): string => `group ${groupId}`;

/**
 * Groups of every kind, and the offsets of those that commit some; `shareGroups` has what share groups have instead.
 *
 * @example
 *     for await (const { groupId, state } of admin.groups.list()) console.log(groupId, state);
 *     await admin.groups.resetOffsets("billing", { to: "earliest" });
 */
export class GroupsAdmin {
  readonly #calls: Calls;

  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /**
   * The groups of all brokers, broker after broker.
   *
   *     for await (const { groupId, state } of admin.groups.list({ types: ["consumer"] })) console.log(groupId, state);
   *
   * @throws KafkaError UNSUPPORTED_VERSION for states where a broker is older than 2.6.
   */
  async *list(options: ListGroupsOptions = {}): AsyncGenerator<ListedGroup, void> {
    const { states = [], types = [] } = options;
    // While a coordinator moves, two brokers may list its groups.
    const seen = new Set<string>();
    const answers = onEachBroker(this.#calls, "groups.list", options, async (connection) => {
      const version = connection.versionOf(listGroups);
      if (states.length > 0 && version < 4) throw unsupported(connection, "ListGroups", "filter by state");
      const answer = await connection.request(listGroups, {
        ...(version >= 4 ? { statesFilter: states } : {}),
        ...(version >= 5 ? { typesFilter: types } : {}),
      });
      check(answer, "groups.list", connection);
      return answer.groups.map((group): ListedGroup => {
        const { groupId, protocolType, groupState, groupType } = group;
        const type = version >= 5 ? allTypes.find((each) => each === groupType.toLowerCase()) : "classic";
        return { groupId, type: type ?? "unknown", state: version >= 4 ? groupState : null, protocolType };
      });
    });
    for await (const groups of answers) {
      for (const group of groups) {
        const isWanted = types.length === 0 || types.some((type) => type === group.type);
        if (seen.has(group.groupId) || !isWanted) continue;
        seen.add(group.groupId);
        yield group;
      }
    }
  }

  /**
   * Groups with their members and assignments, of whichever kind they are.
   *
   *     const group = await admin.groups.describe("billing");
   *     if (group.type === "consumer") console.log(group.epoch, group.members.length);
   *
   * @throws KafkaError of a single group: GROUP_ID_NOT_FOUND, GROUP_AUTHORIZATION_FAILED.
   */
  describe(groupId: string, options?: DescribeGroupsOptions): Promise<GroupDescription>;
  describe(
    groupIds: readonly string[],
    options?: DescribeGroupsOptions,
  ): Promise<readonly Outcome<string, GroupDescription>[]>;
  async describe(
    groupIds: string | readonly string[],
    options: DescribeGroupsOptions = {},
  ): Promise<GroupDescription | readonly Outcome<string, GroupDescription>[]> {
    const { types = allTypes, includeAuthorizedOperations = false } = options;
    const batch: Batch<string, GroupDescription> = {
      call: "groups.describe",
      items: isMany(groupIds) ? groupIds : [groupIds],
      name: groupName,
      route: coordinatorOf(this.#calls.wire, "group", (groupId) => groupId),
      send: (connection, items) => describedGroups({ connection, groupIds: items, includeAuthorizedOperations }, types),
    };
    return isMany(groupIds) ? this.#calls.each(batch, options) : this.#calls.one(batch, options);
  }

  /**
   * Deletes groups with their offsets.
   *
   * @throws KafkaError of a single group: NON_EMPTY_GROUP while it has members, GROUP_ID_NOT_FOUND.
   */
  delete(groupId: string, options?: CallOptions): Promise<void>;
  delete(groupIds: readonly string[], options?: CallOptions): Promise<readonly Outcome<string>[]>;
  async delete(
    groupIds: string | readonly string[],
    options: CallOptions = {},
  ): Promise<void | readonly Outcome<string>[]> {
    const batch: Batch<string, void> = {
      call: "groups.delete",
      items: isMany(groupIds) ? groupIds : [groupIds],
      name: groupName,
      route: coordinatorOf(this.#calls.wire, "group", (groupId) => groupId),
      send: async (connection, items) => {
        const { results } = await connection.request(deleteGroups, { groupsNames: items });
        const said = new Map(results.map((result) => [result.groupId, result]));
        return items.map((groupId) => reply(said.get(groupId), () => {}));
      },
    };
    return isMany(groupIds) ? this.#calls.each(batch, options) : this.#calls.one(batch, options);
  }

  /**
   * Throws members out of a group of the classic protocol, or static members (by instance id) out of either: one that is
   * alive comes back. "all" takes the members that the group has now.
   *
   * Outcomes fail with UNKNOWN_MEMBER_ID.
   *
   *     await admin.groups.removeMembers("billing", [{ instanceId: "billing-7" }], { reason: "its host is gone" });
   */
  async removeMembers(
    groupId: string,
    members: readonly MemberReference[] | "all",
    options: RemoveMembersOptions = {},
  ): Promise<readonly Outcome<MemberReference>[]> {
    const items = members === "all" ? await this.#membersOf(groupId, options) : members;
    const reason = options.reason ?? null;
    return this.#calls.each(
      {
        call: "groups.removeMembers",
        items,
        name: (member) =>
          "memberId" in member
            ? `member ${member.memberId} of group ${groupId}`
            : `member with instance id ${member.instanceId} of group ${groupId}`,
        route: coordinatorOf(this.#calls.wire, "group", () => groupId),
        send: (connection, open) => leave(connection, { groupId, members: open, reason }),
      },
      options,
    );
  }

  // --- Offsets ----------------------------------------------------------------------------------------------------------

  /**
   * The offsets that groups have committed: of all partitions, or of those that are named (for one group only).
   *
   *     for (const { item, ok, ...rest } of await admin.groups.offsets("billing")) console.log(item, rest);
   *
   * @throws KafkaError of a single group: GROUP_AUTHORIZATION_FAILED. A group that nobody knows has no offsets.
   */
  offsets(
    groupId: string,
    options?: GroupOffsetsOptions & { readonly partitions?: readonly TopicPartition[] },
  ): Promise<readonly Outcome<TopicPartition, CommittedOffset>[]>;
  offsets(
    groupIds: readonly string[],
    options?: GroupOffsetsOptions,
  ): Promise<readonly Outcome<string, readonly Outcome<TopicPartition, CommittedOffset>[]>[]>;
  async offsets(
    groupIds: string | readonly string[],
    options: GroupOffsetsOptions & { readonly partitions?: readonly TopicPartition[] } = {},
  ): Promise<
    | readonly Outcome<TopicPartition, CommittedOffset>[]
    | readonly Outcome<string, readonly Outcome<TopicPartition, CommittedOffset>[]>[]
  > {
    const batch = fetchedOffsets(this.#calls, isMany(groupIds) ? groupIds : [groupIds], options);
    return isMany(groupIds) ? this.#calls.each(batch, options) : this.#calls.one(batch, options);
  }

  /**
   * Commits offsets in the place of a group that has no members; one that does not exist comes into being.
   *
   * Outcomes fail with UNKNOWN_MEMBER_ID while the group has members, and with UNKNOWN_TOPIC_OR_PARTITION.
   */
  async alterOffsets(
    groupId: string,
    offsets: readonly OffsetToCommit[],
    options: CallOptions = {},
  ): Promise<readonly Outcome<OffsetToCommit>[]> {
    return alteredOffsets(this.#calls, { call: "groups.alterOffsets", groupId, offsets }, options);
  }

  /**
   * Deletes committed offsets of partitions.
   *
   * Outcomes fail with GROUP_SUBSCRIBED_TO_TOPIC while a member reads the topic.
   */
  async deleteOffsets(
    groupId: string,
    partitions: readonly TopicPartition[],
    options: CallOptions = {},
  ): Promise<readonly Outcome<TopicPartition>[]> {
    return deletedOffsets(this.#calls, { groupId, partitions }, options);
  }

  /**
   * Moves the committed offsets of a group that has no members: to an end of each partition, an offset, a time, or by some
   * records. What lies outside of the log moves to its nearer end. With `dryRun` it only tells what it would do.
   *
   *     await admin.groups.resetOffsets("billing", { to: { ageMs: 3_600_000 }, topics: ["orders"], dryRun: true });
   */
  async resetOffsets(
    groupId: string,
    options: ResetOffsetsOptions,
  ): Promise<readonly Outcome<TopicPartition, OffsetReset>[]> {
    return resetOffsets(this.#calls, groupId, options);
  }

  async #membersOf(groupId: string, options: CallOptions): Promise<readonly MemberReference[]> {
    const group = await this.describe(groupId, options);
    return group.members.map((member) =>
      "instanceId" in member && member.instanceId !== null
        ? { instanceId: member.instanceId }
        : { memberId: member.memberId },
    );
  }
}

/** Before v3 a request names one member, and by its id only. */
async function leave(
  connection: BrokerConnection,
  parts: {
    readonly groupId: string;
    readonly members: readonly MemberReference[];
    readonly reason: string | null;
  },
): Promise<readonly Reply<void>[]> {
  const { groupId, members, reason } = parts;
  const version = connection.versionOf(leaveGroup);
  if (version < 3) {
    return Promise.all(
      members.map(async (member) => {
        if (!("memberId" in member)) throw unsupported(connection, "LeaveGroup", "name a member by its instance id");
        return reply(await connection.request(leaveGroup, { groupId, memberId: member.memberId }), () => {});
      }),
    );
  }
  const answer = await connection.request(leaveGroup, {
    groupId,
    members: members.map((member) => ({
      memberId: "memberId" in member ? member.memberId : "",
      groupInstanceId: "memberId" in member ? null : member.instanceId,
      reason,
    })),
  });
  check(answer, `group ${groupId}`, connection);
  return members.map((member) => {
    const found = answer.members.find((each) =>
      "memberId" in member ? each.memberId === member.memberId : each.groupInstanceId === member.instanceId,
    );
    return reply(found, () => {});
  });
}
