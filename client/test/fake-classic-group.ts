import type { Clock, Timer } from "@millrace/base/world";
import { ErrorCode } from "kafka-protocol-ts/errors";
import type { JoinGroupRequest, JoinGroupResponseInput } from "kafka-protocol-ts/messages/11-join-group";
import type { HeartbeatRequest } from "kafka-protocol-ts/messages/12-heartbeat";
import type { SyncGroupRequest } from "kafka-protocol-ts/messages/14-sync-group";

interface Member {
  id: string;
  readonly instanceId: string | null;
  protocols: JoinGroupRequest["protocols"];
  sessionTimeoutMs: number;
  rebalanceTimeoutMs: number;
  assignment: Buffer;
  session: Timer | null;
  answerJoin: ((answer: JoinGroupResponseInput) => void) | null;
  answerSync: ((errorCode: number) => void) | null;
}

type SyncAnswer = { readonly errorCode: number; readonly assignment: Buffer };

/** A classic group as a coordinator keeps it, in memory. */
export class FakeClassicGroup {
  state: "Empty" | "PreparingRebalance" | "CompletingRebalance" | "Stable" = "Empty";
  generation = 0;
  leader: string | null = null;
  protocol: string | null = null;
  readonly members = new Map<string, Member>();
  /** How often members were told to join: a group that does not come to rest shows here. */
  rebalancesCount = 0;
  readonly #clock: Clock;
  readonly #givenIds = new Set<string>();
  #nextId = 1;
  #deadline: Timer | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async join(request: JoinGroupRequest): Promise<JoinGroupResponseInput> {
    const { groupInstanceId: instanceId, protocols } = request;
    const isNew = request.memberId === "";
    if (!this.#hasCommon(protocols)) return refused(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, request.memberId);
    if (isNew && instanceId === null) {
      const memberId = `member-${this.#nextId++}`;
      this.#givenIds.add(memberId);
      return refused(ErrorCode.MEMBER_ID_REQUIRED, memberId);
    }
    const known = instanceId === null ? this.members.get(request.memberId) : this.#instance(instanceId);
    if (known !== undefined && !isNew && known.id !== request.memberId)
      return refused(ErrorCode.FENCED_INSTANCE_ID, request.memberId);
    if (known === undefined && !isNew && !this.#givenIds.delete(request.memberId))
      return refused(ErrorCode.UNKNOWN_MEMBER_ID, request.memberId);
    const member = known ?? this.#add(isNew ? `${instanceId}-${this.#nextId++}` : request.memberId, instanceId);
    const isReplacement = known !== undefined && isNew;
    if (isReplacement) this.#rename(member);
    const isChanged = known === undefined || !isAlike(member.protocols, protocols);
    Object.assign(member, {
      protocols,
      sessionTimeoutMs: request.sessionTimeoutMs,
      rebalanceTimeoutMs: request.rebalanceTimeoutMs,
    });
    const { promise, resolve } = Promise.withResolvers<JoinGroupResponseInput>();
    member.answerJoin?.(refused(ErrorCode.FENCED_INSTANCE_ID, member.id));
    member.answerJoin = resolve;
    const isLeader = this.leader === member.id;
    // Of a static member that comes back only the protocols count (KIP-345).
    const isSettled = this.state === "Stable" && (isReplacement || (!isChanged && !isLeader));
    const isRepeated = this.state === "CompletingRebalance" && !isChanged && !isReplacement;
    if (isSettled || isRepeated) this.#answer(member, isReplacement && isLeader);
    else this.#prepare();
    return promise;
  }

  async sync(request: SyncGroupRequest): Promise<SyncAnswer> {
    const { memberId, generationId, groupInstanceId } = request;
    const errorCode = this.#check(memberId, generationId, groupInstanceId);
    const member = this.members.get(memberId);
    const answer = (code: number): SyncAnswer => ({
      errorCode: code,
      assignment: member?.assignment ?? Buffer.alloc(0),
    });
    if (errorCode !== ErrorCode.NONE || member === undefined) return answer(errorCode);
    this.#renew(member);
    if (this.state === "PreparingRebalance") return answer(ErrorCode.REBALANCE_IN_PROGRESS);
    if (this.state === "CompletingRebalance") {
      if (memberId !== this.leader) {
        const { promise, resolve } = Promise.withResolvers<number>();
        member.answerSync = resolve;
        return answer(await promise);
      }
      for (const each of this.members.values()) {
        const given = request.assignments.find((assignment) => assignment.memberId === each.id);
        each.assignment = Buffer.from(given?.assignment ?? Buffer.alloc(0));
      }
      this.state = "Stable";
      this.#deadline?.cancel();
      this.#answerSyncs(ErrorCode.NONE);
    }
    return answer(ErrorCode.NONE);
  }

  heartbeat({ memberId, generationId, groupInstanceId }: HeartbeatRequest): number {
    const errorCode = this.#check(memberId, generationId, groupInstanceId);
    const member = this.members.get(memberId);
    if (member !== undefined && errorCode === ErrorCode.NONE) this.#renew(member);
    return errorCode === ErrorCode.NONE && this.state === "PreparingRebalance"
      ? ErrorCode.REBALANCE_IN_PROGRESS
      : errorCode;
  }

  leave(memberId: string): number {
    const member = this.members.get(memberId);
    if (member === undefined) return ErrorCode.UNKNOWN_MEMBER_ID;
    this.expel(member.id);
    return ErrorCode.NONE;
  }

  /** As after a session that is over. */
  expel(memberId: string): void {
    const member = this.members.get(memberId);
    if (member === undefined) return;
    this.#remove(member);
    if (this.state === "PreparingRebalance") this.#completeIfAllJoined();
    else this.#prepare();
  }

  /** All members are to join again. */
  rebalance(): void {
    if (this.members.size > 0) this.#prepare();
  }

  #check(memberId: string, generationId: number, instanceId: string | null): number {
    if (instanceId !== null) {
      const owner = this.#instance(instanceId);
      if (owner !== undefined && owner.id !== memberId) return ErrorCode.FENCED_INSTANCE_ID;
    }
    if (!this.members.has(memberId)) return ErrorCode.UNKNOWN_MEMBER_ID;
    return generationId === this.generation ? ErrorCode.NONE : ErrorCode.ILLEGAL_GENERATION;
  }

  #instance(instanceId: string): Member | undefined {
    return [...this.members.values()].find((member) => member.instanceId === instanceId);
  }

  #add(id: string, instanceId: string | null): Member {
    const member: Member = {
      id,
      instanceId,
      protocols: [],
      sessionTimeoutMs: 0,
      rebalanceTimeoutMs: 0,
      assignment: Buffer.alloc(0),
      session: null,
      answerJoin: null,
      answerSync: null,
    };
    this.members.set(id, member);
    return member;
  }

  #rename(member: Member): void {
    const wasLeader = this.leader === member.id;
    this.members.delete(member.id);
    member.id = `${member.instanceId}-${this.#nextId++}`;
    this.members.set(member.id, member);
    if (wasLeader) this.leader = member.id;
  }

  #remove(member: Member): void {
    member.session?.cancel();
    this.members.delete(member.id);
    if (this.leader === member.id) this.leader = null;
    member.answerJoin?.(refused(ErrorCode.UNKNOWN_MEMBER_ID, member.id));
    member.answerSync?.(ErrorCode.UNKNOWN_MEMBER_ID);
  }

  #renew(member: Member): void {
    member.session?.cancel();
    member.session = this.#clock.schedule(member.sessionTimeoutMs, () => {
      if (member.answerJoin !== null || member.answerSync !== null) this.#renew(member);
      else this.expel(member.id);
    });
  }

  #prepare(): void {
    this.#answerSyncs(ErrorCode.REBALANCE_IN_PROGRESS);
    if (this.state !== "PreparingRebalance") {
      this.rebalancesCount++;
      this.state = "PreparingRebalance";
      this.#deadline?.cancel();
      const timeoutMs = Math.max(0, ...[...this.members.values()].map((member) => member.rebalanceTimeoutMs));
      this.#deadline = this.#clock.schedule(timeoutMs, () => {
        for (const member of this.members.values()) if (member.answerJoin === null) this.#remove(member);
        this.#completeIfAllJoined();
      });
    }
    this.#completeIfAllJoined();
  }

  #completeIfAllJoined(): void {
    const members = [...this.members.values()];
    if (members.some(({ answerJoin }) => answerJoin === null)) return;
    this.#deadline?.cancel();
    this.generation++;
    const [first] = members;
    if (first === undefined) {
      this.state = "Empty";
      this.leader = null;
      return;
    }
    this.leader ??= first.id;
    this.protocol =
      first.protocols.find(({ name }) => members.every((each) => each.protocols.some((one) => one.name === name)))
        ?.name ?? null;
    this.state = "CompletingRebalance";
    for (const member of members) this.#answer(member, false);
    // A leader that does not come back must not hold the others for ever.
    this.#deadline = this.#clock.schedule(first.rebalanceTimeoutMs, () => this.#prepare());
  }

  #answer(member: Member, skipAssignment: boolean): void {
    const answer = member.answerJoin;
    member.answerJoin = null;
    this.#renew(member);
    const isLeader = this.leader === member.id;
    answer?.({
      errorCode: ErrorCode.NONE,
      generationId: this.generation,
      protocolType: "consumer",
      protocolName: this.protocol,
      leader: this.leader ?? "",
      skipAssignment,
      memberId: member.id,
      members: isLeader
        ? Array.from(this.members.values(), ({ id, instanceId, protocols }) => ({
            memberId: id,
            groupInstanceId: instanceId,
            metadata: Buffer.from(protocols.find(({ name }) => name === this.protocol)?.metadata ?? Buffer.alloc(0)),
          }))
        : [],
    });
  }

  #answerSyncs(errorCode: number): void {
    for (const member of this.members.values()) {
      member.answerSync?.(errorCode);
      member.answerSync = null;
    }
  }

  #hasCommon(protocols: JoinGroupRequest["protocols"]): boolean {
    const members = [...this.members.values()];
    return protocols.some(({ name }) => members.every((each) => each.protocols.some((one) => one.name === name)));
  }
}

function isAlike(one: JoinGroupRequest["protocols"], other: JoinGroupRequest["protocols"]): boolean {
  const text = (protocols: JoinGroupRequest["protocols"]): string =>
    protocols.map(({ name, metadata }) => `${name} ${metadata.toString("hex")}`).join();
  return text(one) === text(other);
}

function refused(errorCode: number, memberId: string): JoinGroupResponseInput {
  return { errorCode, generationId: -1, protocolName: null, leader: "", memberId, members: [] };
}
