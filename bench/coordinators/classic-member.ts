import { setTimeout as sleep } from "node:timers/promises";
import { ErrorCode, errorName, isRetriable } from "kafka-protocol-ts/errors";
import { consumerProtocolAssignment, consumerProtocolSubscription } from "kafka-protocol-ts/internal/consumer-protocol";
import { joinGroup } from "kafka-protocol-ts/messages/11-join-group";
import type { JoinGroupResponse } from "kafka-protocol-ts/messages/11-join-group";
import { heartbeat } from "kafka-protocol-ts/messages/12-heartbeat";
import { leaveGroup } from "kafka-protocol-ts/messages/13-leave-group";
import { syncGroup } from "kafka-protocol-ts/messages/14-sync-group";
import { ByteReader } from "kafka-protocol-ts/reader";
import { ByteWriter } from "kafka-protocol-ts/writer";
import { failRun, type Link } from "./link.ts";
import type { Meter } from "./meter.ts";
import type { GroupMember } from "./settling.ts";

export const heartbeatVersion = 4;
const joinVersion = 9;
const syncVersion = 5;
const leaveVersion = 5;
const protocolVersion = 1;
const retryBackoffMs = 100;

export interface ClassicGroupPlan {
  readonly groupId: string;
  readonly topic: string;
  readonly partitions: number;
  readonly sessionTimeoutMs: number;
  readonly heartbeatMs: number;
}

/**
 * A member of a classic group that does what a consumer does: joins, syncs, is heard of, and joins again when it is told. Its
 * leader assigns by range. While it joins nothing else can be asked over its link.
 */
export class ClassicMember implements GroupMember {
  readonly #link: Link;
  readonly #plan: ClassicGroupPlan;
  readonly #meter: Meter;
  readonly #onChange: () => void;
  memberId = "";
  generation = -1;
  isStable = false;
  owned: readonly number[] = [];
  #isLeaving = false;
  #ended: Promise<void> = Promise.resolve();

  constructor(link: Link, plan: ClassicGroupPlan, meter: Meter, onChange: () => void) {
    this.#link = link;
    this.#plan = plan;
    this.#meter = meter;
    this.#onChange = onChange;
  }

  get epoch(): number {
    return this.generation;
  }

  start(): void {
    this.#ended = this.#live();
  }

  /** It is heard of no more. */
  async stop(): Promise<void> {
    this.#isLeaving = true;
    await this.#ended;
  }

  /** It must have been stopped. */
  async leave(): Promise<void> {
    const members = [{ memberId: this.memberId }];
    const left = await this.#link.call(leaveGroup, leaveVersion, { groupId: this.#plan.groupId, members });
    const code = left.errorCode === ErrorCode.NONE ? (left.members[0]?.errorCode ?? 0) : left.errorCode;
    if (code !== ErrorCode.NONE) failRun(`LeaveGroup was answered with ${errorName(code)}`);
    this.isStable = false;
    this.owned = [];
  }

  async #live(): Promise<void> {
    while (!this.#isLeaving) {
      if (!this.isStable) await this.#join();
      else {
        await sleep(this.#plan.heartbeatMs);
        if (!this.#isLeaving) await this.#heartbeat();
      }
    }
  }

  async #join(): Promise<void> {
    const { groupId, sessionTimeoutMs, topic } = this.#plan;
    const metadata = prefixed((writer) =>
      consumerProtocolSubscription.write(writer, { topics: [topic] }, protocolVersion),
    );
    const joined = await this.#link.call(joinGroup, joinVersion, {
      groupId,
      sessionTimeoutMs,
      rebalanceTimeoutMs: 60_000,
      memberId: this.memberId,
      protocolType: "consumer",
      protocols: [{ name: "range", metadata }],
    });
    if (joined.errorCode === ErrorCode.MEMBER_ID_REQUIRED) {
      this.memberId = joined.memberId;
      return;
    }
    if (joined.errorCode !== ErrorCode.NONE) return await this.#again(joined.errorCode, "JoinGroup");
    this.memberId = joined.memberId;
    this.generation = joined.generationId;
    const synced = await this.#link.call(syncGroup, syncVersion, {
      groupId,
      generationId: this.generation,
      memberId: this.memberId,
      protocolType: "consumer",
      protocolName: "range",
      assignments: joined.leader === this.memberId ? this.#assign(joined) : [],
    });
    if (synced.errorCode !== ErrorCode.NONE) return await this.#again(synced.errorCode, "SyncGroup");
    const reader = new ByteReader(synced.assignment, 0);
    const version = reader.int16();
    const { assignedPartitions } = consumerProtocolAssignment.read(reader, version);
    this.owned = assignedPartitions.flatMap(({ partitions }) => partitions);
    this.isStable = true;
    this.#onChange();
  }

  async #heartbeat(): Promise<void> {
    const { errorCode } = await this.#link.call(heartbeat, heartbeatVersion, {
      groupId: this.#plan.groupId,
      generationId: this.generation,
      memberId: this.memberId,
    });
    if (errorCode !== ErrorCode.NONE) await this.#again(errorCode, "Heartbeat");
  }

  /** Whatever the member held it gives up, and joins again. */
  async #again(code: number, what: string): Promise<void> {
    this.#meter.retry(what, code);
    this.isStable = false;
    this.owned = [];
    if (code === ErrorCode.REBALANCE_IN_PROGRESS || code === ErrorCode.ILLEGAL_GENERATION) return;
    if (!isRetriable(code)) failRun(`${what} was answered with ${errorName(code)}`);
    await sleep(retryBackoffMs);
  }

  /** By range: each member in the order of the ids gets as many partitions in a row as the others, or one more. */
  #assign({ members }: JoinGroupResponse): { readonly memberId: string; readonly assignment: Buffer }[] {
    const { topic, partitions } = this.#plan;
    const each = Math.floor(partitions / members.length);
    const more = partitions % members.length;
    const ids = members.map(({ memberId }) => memberId).sort();
    return ids.map((memberId, index) => {
      const first = index * each + Math.min(index, more);
      const own = Array.from({ length: each + (index < more ? 1 : 0) }, (_, offset) => first + offset);
      const assigned = { assignedPartitions: [{ topic, partitions: own }] };
      return {
        memberId,
        assignment: prefixed((writer) => consumerProtocolAssignment.write(writer, assigned, protocolVersion)),
      };
    });
  }
}

/** These bytes begin with their version. */
function prefixed(write: (writer: ByteWriter) => void): Buffer {
  const writer = new ByteWriter();
  writer.int16(protocolVersion);
  write(writer);
  return Buffer.from(writer.toBuffer());
}
