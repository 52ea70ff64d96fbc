import type { CommitAnswer, HeartbeatAnswer, JoinAnswer, LeaveAnswer, SyncAnswer } from "../answers.ts";
import type { MemberProtocol } from "../classic-group.ts";
import type { GroupFailure } from "../failures.ts";
import type { GroupHost } from "./group-host.ts";

export interface JoinOptions {
  readonly protocolType?: string;
  readonly protocols?: readonly MemberProtocol[];
  readonly sessionTimeoutMs?: number;
  readonly rebalanceTimeoutMs?: number;
  readonly isMemberIdRequired?: boolean;
  readonly canSkipAssignment?: boolean;
}

/** A client as a test needs it: it remembers what it was told, and its next request says so. */
export class TestClient {
  readonly name: string;
  readonly groupId: string;
  readonly instanceId: string | null;
  memberId = "";
  generation = -1;
  leaderId = "";
  /** To whom it has to assign, if it leads. */
  members: readonly string[] = [];
  assignment: string | null = null;
  assignmentBytes: Uint8Array | null = null;
  failure: GroupFailure | "lost" | null = null;
  isWaiting = false;
  readonly #host: GroupHost;
  #idsDrawn = 0;

  constructor(
    host: GroupHost,
    identity: { readonly name: string; readonly groupId: string; readonly instanceId?: string | null },
  ) {
    this.#host = host;
    this.name = identity.name;
    this.groupId = identity.groupId;
    this.instanceId = identity.instanceId ?? null;
  }

  get isLeader(): boolean {
    return this.memberId !== "" && this.memberId === this.leaderId;
  }

  /** The process starts anew: it remembers nothing. */
  restart(): void {
    this.memberId = "";
    this.generation = -1;
    this.leaderId = "";
    this.members = [];
    this.assignment = null;
    this.failure = null;
    this.isWaiting = false;
  }

  join(options: JoinOptions = {}, told: (answer: JoinAnswer) => void = () => {}): void {
    this.isWaiting = true;
    this.#idsDrawn += 1;
    const { protocols = [{ name: "range", metadata: subscription(["t"]) }] } = options;
    this.#host.ask<JoinAnswer>(
      (shard, ticket) =>
        shard.decideJoin(
          {
            ticket,
            groupId: this.groupId,
            memberId: this.memberId,
            instanceId: this.instanceId,
            clientId: this.name,
            clientHost: "/127.0.0.1",
            protocolType: options.protocolType ?? "consumer",
            protocols,
            sessionTimeoutMs: options.sessionTimeoutMs ?? 10_000,
            rebalanceTimeoutMs: options.rebalanceTimeoutMs ?? 60_000,
            newMemberId: `${this.instanceId ?? this.name}-${this.#idsDrawn}`,
            isMemberIdRequired: options.isMemberIdRequired ?? true,
            canSkipAssignment: options.canSkipAssignment ?? true,
            reason: null,
          },
          this.#host.nowMs,
        ),
      (answer) => {
        this.isWaiting = false;
        this.failure = answer === null ? "lost" : answer.failure;
        if (answer === null) return;
        if (answer.failure === "member-id-required") this.memberId = answer.memberId;
        else if (answer.failure === null) this.#joined(answer);
        else this.#forgetIfUnknown(answer.failure);
        told(answer);
      },
    );
  }

  sync(assignments: ReadonlyMap<string, string | Uint8Array>, told: (answer: SyncAnswer) => void = () => {}): void {
    this.isWaiting = true;
    const bytes = new Map(
      Array.from(
        assignments,
        ([memberId, given]) => [memberId, typeof given === "string" ? Buffer.from(given) : given] as const,
      ),
    );
    this.#host.ask<SyncAnswer>(
      (shard, ticket) =>
        shard.decideSync(
          {
            ticket,
            groupId: this.groupId,
            memberId: this.memberId,
            instanceId: this.instanceId,
            generation: this.generation,
            protocolType: null,
            protocolName: null,
            assignments: bytes,
          },
          this.#host.nowMs,
        ),
      (answer) => {
        this.isWaiting = false;
        this.failure = answer === null ? "lost" : answer.failure;
        if (answer === null) return;
        if (answer.failure === null) {
          this.assignmentBytes = answer.assignment;
          this.assignment = Buffer.from(answer.assignment).toString();
        } else this.#forgetIfUnknown(answer.failure);
        told(answer);
      },
    );
  }

  heartbeat(): GroupFailure | null {
    const { groupId, memberId, instanceId, generation } = this;
    let failure: GroupFailure | null = null;
    this.#host.ask<HeartbeatAnswer>(
      (shard, ticket) => shard.decideHeartbeat({ ticket, groupId, memberId, instanceId, generation }, this.#host.nowMs),
      (answer) => (failure = answer?.failure ?? null),
    );
    this.failure = failure;
    this.#forgetIfUnknown(failure);
    return failure;
  }

  leave(): GroupFailure | null {
    const { groupId, memberId, instanceId } = this;
    let failure: GroupFailure | null = null;
    this.#host.ask<LeaveAnswer>(
      (shard, ticket) =>
        shard.decideLeave({ ticket, groupId, members: [{ memberId, instanceId, reason: null }] }, this.#host.nowMs),
      (answer) => (failure = answer?.members[0]?.failure ?? null),
    );
    this.failure = failure;
    if (failure === null) this.restart();
    return failure;
  }

  commit(
    offsets: readonly { readonly topic: string; readonly partition: number; readonly offset: number }[],
    producerId: number | null = null,
  ): GroupFailure | null {
    const { groupId, memberId, instanceId, generation } = this;
    let failure: GroupFailure | null = null;
    this.#host.ask<CommitAnswer>(
      (shard, ticket) =>
        shard.decideCommit(
          {
            ticket,
            groupId,
            memberId,
            instanceId,
            generation,
            producer: producerId === null ? null : { producerId, producerEpoch: 0, guard: null },
            knowsGroupIdNotFound: true,
            expireAfterMs: null,
            offsets: offsets.map((one) => ({ ...one, topicId: null, leaderEpoch: -1, metadata: "" })),
          },
          this.#host.nowMs,
        ),
      (answer) => (failure = answer?.failure ?? null),
    );
    this.failure = failure;
    return failure;
  }

  #joined(answer: JoinAnswer): void {
    this.memberId = answer.memberId;
    this.generation = answer.generation;
    this.leaderId = answer.leaderId;
    this.members = answer.skipAssignment ? [] : answer.members.map(({ memberId }) => memberId);
    this.assignment = null;
  }

  #forgetIfUnknown(failure: GroupFailure | null): void {
    if (failure === "unknown-member-id") this.restart();
    if (failure === "illegal-generation") this.generation = -1;
  }
}

/** A subscription of the embedded consumer protocol: version 0, or 1 with what its member has. */
export function subscription(
  topics: readonly string[],
  owned: readonly { readonly topic: string; readonly partitions: readonly number[] }[] | null = null,
): Uint8Array {
  const parts: Buffer[] = [Buffer.from([0, owned === null ? 0 : 1]), int32(topics.length), ...topics.map(string)];
  parts.push(int32(-1));
  if (owned === null) return Buffer.concat(parts);
  parts.push(int32(owned.length));
  for (const { topic, partitions } of owned) {
    parts.push(string(topic), int32(partitions.length), ...partitions.map(int32));
  }
  return Buffer.concat(parts);
}

function string(text: string): Buffer {
  return Buffer.concat([Buffer.from([text.length >> 8, text.length & 0xff]), Buffer.from(text)]);
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}
