import { ErrorCode } from "kafka-protocol-ts/errors";
import { findCoordinator } from "kafka-protocol-ts/messages/10-find-coordinator";
import { joinGroup } from "kafka-protocol-ts/messages/11-join-group";
import type { JoinGroupResponse } from "kafka-protocol-ts/messages/11-join-group";
import { heartbeat } from "kafka-protocol-ts/messages/12-heartbeat";
import { leaveGroup } from "kafka-protocol-ts/messages/13-leave-group";
import { syncGroup } from "kafka-protocol-ts/messages/14-sync-group";
import { describeGroups } from "kafka-protocol-ts/messages/15-describe-groups";
import type { RawClient } from "./raw-client.ts";

export interface JoinOptions {
  readonly version?: number;
  readonly sessionTimeoutMs?: number;
  readonly rebalanceTimeoutMs?: number;
  readonly protocolType?: string;
  /** Names and what the member says of itself under each. */
  readonly protocols?: Readonly<Record<string, string>>;
  readonly instanceId?: string;
}

/** A member of a classic group that does each step when it is told to, and remembers what it was told. */
export class Member {
  readonly client: RawClient;
  readonly groupId: string;
  readonly options: JoinOptions;
  memberId = "";
  generation = -1;
  protocolName: string | null = null;

  constructor(client: RawClient, groupId: string, options: JoinOptions = {}) {
    this.client = client;
    this.groupId = groupId;
    this.options = options;
  }

  /** One JoinGroup, with what is known of the member so far. */
  async join(changes: JoinOptions = {}): Promise<JoinGroupResponse> {
    const options = { ...this.options, ...changes };
    const { version = 9, instanceId } = options;
    const answer = await this.client.request(joinGroup, version, {
      groupId: this.groupId,
      sessionTimeoutMs: options.sessionTimeoutMs ?? 30_000,
      ...(version >= 1 ? { rebalanceTimeoutMs: options.rebalanceTimeoutMs ?? 60_000 } : {}),
      memberId: this.memberId,
      ...(version >= 5 ? { groupInstanceId: instanceId ?? null } : {}),
      protocolType: options.protocolType ?? "consumer",
      protocols: Object.entries(options.protocols ?? { range: "" }).map(([name, metadata]) => ({
        name,
        metadata: Buffer.from(metadata),
      })),
    });
    this.memberId = answer.memberId;
    this.generation = answer.generationId;
    this.protocolName = answer.protocolName;
    return answer;
  }

  /** Both steps of a first join, or the one of a later one. */
  async enter(changes: JoinOptions = {}): Promise<JoinGroupResponse> {
    const first = await this.join(changes);
    return first.errorCode === ErrorCode.MEMBER_ID_REQUIRED ? this.join(changes) : first;
  }

  async sync(assignments: Readonly<Record<string, string>> = {}, version = 5) {
    return this.client.request(syncGroup, version, {
      groupId: this.groupId,
      generationId: this.generation,
      memberId: this.memberId,
      ...(version >= 3 ? { groupInstanceId: this.options.instanceId ?? null } : {}),
      ...(version >= 5
        ? { protocolType: this.options.protocolType ?? "consumer", protocolName: this.protocolName }
        : {}),
      assignments: Object.entries(assignments).map(([memberId, assignment]) => ({
        memberId,
        assignment: Buffer.from(assignment),
      })),
    });
  }

  async beat(version = 4): Promise<number> {
    const answer = await this.client.request(heartbeat, version, {
      groupId: this.groupId,
      generationId: this.generation,
      memberId: this.memberId,
      ...(version >= 3 ? { groupInstanceId: this.options.instanceId ?? null } : {}),
    });
    return answer.errorCode;
  }

  /** Beats until it is told of a rebalance; anything else but "all is well" is a failure. */
  async beatUntilRebalance(): Promise<void> {
    for (;;) {
      const code = await this.beat();
      if (code === ErrorCode.REBALANCE_IN_PROGRESS) return;
      if (code !== ErrorCode.NONE) throw new Error(`a heartbeat was answered with ${code}`);
    }
  }

  async leave(version = 5) {
    return this.client.request(leaveGroup, version, {
      groupId: this.groupId,
      ...(version >= 3 ? { members: [{ memberId: this.memberId }] } : { memberId: this.memberId }),
    });
  }
}

/** Settles when the group has a coordinator that has loaded it. */
export async function coordinatorOf(
  client: RawClient,
  groupId: string,
  pause: () => Promise<void> = async () => {},
): Promise<void> {
  for (; ; await pause()) {
    const { coordinators } = await client.request(findCoordinator, 4, { keyType: 0, coordinatorKeys: [groupId] });
    if (coordinators[0]?.errorCode !== ErrorCode.NONE) continue;
    const { groups } = await client.request(describeGroups, 5, { groups: [groupId] });
    if (groups[0]?.errorCode === ErrorCode.NONE) return;
  }
}
