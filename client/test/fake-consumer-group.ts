import type { Clock, Timer } from "@millrace/base/world";
import { ErrorCode } from "kafka-protocol-ts/errors";
import type {
  ConsumerGroupHeartbeatRequest,
  ConsumerGroupHeartbeatResponseInput,
} from "kafka-protocol-ts/messages/68-consumer-group-heartbeat";

interface Member {
  readonly id: string;
  readonly instanceId: string | null;
  epoch: number;
  previousEpoch: number;
  topics: readonly string[];
  regex: string;
  rebalanceTimeoutMs: number;
  assigned: Set<string>;
  /** Told to give up, and not known to have. */
  revoking: Set<string>;
  session: Timer | null;
  rebalance: Timer | null;
  isPaused: boolean;
}

export interface FakeTopics {
  readonly names: readonly string[];
  id(name: string): string;
  partitionCount(name: string): number;
}

/** A group of the consumer protocol (KIP-848) as a coordinator keeps it, in memory. Partitions are "TOPICID PARTITION". */
export class FakeConsumerGroup {
  epoch = 0;
  readonly members = new Map<string, Member>();
  sessionTimeoutMs = 45_000;
  heartbeatIntervalMs = 5_000;
  readonly #clock: Clock;
  readonly #topics: FakeTopics;
  #target = new Map<string, Set<string>>();

  constructor(clock: Clock, topics: FakeTopics) {
    this.#clock = clock;
    this.#topics = topics;
  }

  get isAtRest(): boolean {
    return [...this.members.values()].every(
      ({ id, epoch, assigned, revoking }) =>
        epoch === this.epoch && revoking.size === 0 && assigned.size === (this.#target.get(id)?.size ?? 0),
    );
  }

  heartbeat(request: ConsumerGroupHeartbeatRequest): ConsumerGroupHeartbeatResponseInput {
    const { memberId, memberEpoch } = request;
    if (memberEpoch === -1 || memberEpoch === -2) return this.#leave(memberId, memberEpoch);
    const known = this.members.get(memberId);
    if (memberEpoch > 0) {
      if (known === undefined) return this.#refused(ErrorCode.UNKNOWN_MEMBER_ID);
      if (memberEpoch !== known.epoch && memberEpoch !== known.previousEpoch)
        return this.#refused(ErrorCode.FENCED_MEMBER_EPOCH);
    } else if (request.topicPartitions?.length !== 0 || request.subscribedTopicNames === null)
      return this.#refused(ErrorCode.INVALID_REQUEST);
    if (known === undefined) {
      const other = [...this.members.values()].find((each) => each.instanceId === request.instanceId);
      if (request.instanceId !== null && other !== undefined) {
        if (!other.isPaused) return this.#refused(ErrorCode.UNRELEASED_INSTANCE_ID);
        this.#remove(other);
      }
    }
    const member = known ?? this.#add(request);
    // A member that begins anew has nothing.
    if (memberEpoch === 0) {
      member.assigned.clear();
      member.revoking.clear();
    }
    this.#renew(member);
    this.#describe(member, request, known === undefined);
    if (request.topicPartitions !== null) this.#hasOnly(member, request.topicPartitions);
    const before = textOf(member.assigned);
    const hadEpoch = member.epoch;
    this.#advance(member);
    const isFull = request.topicPartitions !== null && request.subscribedTopicNames !== null;
    const isTold = isFull || memberEpoch === 0 || before !== textOf(member.assigned) || memberEpoch !== hadEpoch;
    return {
      throttleTimeMs: 0,
      errorCode: ErrorCode.NONE,
      memberId,
      memberEpoch: member.epoch,
      heartbeatIntervalMs: this.heartbeatIntervalMs,
      assignment: isTold ? { topicPartitions: byTopic(member.assigned) } : null,
    };
  }

  expel(memberId: string): void {
    const member = this.members.get(memberId);
    if (member !== undefined) this.#remove(member);
  }

  /** Topics have come, gone or grown. */
  topicsChanged(): void {
    this.#retarget();
  }

  #leave(memberId: string, memberEpoch: number): ConsumerGroupHeartbeatResponseInput {
    const member = this.members.get(memberId);
    if (member === undefined) return this.#refused(ErrorCode.UNKNOWN_MEMBER_ID);
    if (memberEpoch === -2) member.isPaused = true;
    else this.#remove(member);
    return { ...this.#refused(ErrorCode.NONE), memberEpoch };
  }

  #refused(errorCode: number): ConsumerGroupHeartbeatResponseInput {
    return { errorCode, memberEpoch: 0, heartbeatIntervalMs: 0, throttleTimeMs: 0 };
  }

  #add({ memberId, instanceId }: ConsumerGroupHeartbeatRequest): Member {
    const member: Member = {
      id: memberId,
      instanceId,
      epoch: 0,
      previousEpoch: 0,
      topics: [],
      regex: "",
      rebalanceTimeoutMs: 0,
      assigned: new Set(),
      revoking: new Set(),
      session: null,
      rebalance: null,
      isPaused: false,
    };
    this.members.set(memberId, member);
    return member;
  }

  #remove(member: Member): void {
    member.session?.cancel();
    member.rebalance?.cancel();
    this.members.delete(member.id);
    this.#retarget();
  }

  #renew(member: Member): void {
    member.session?.cancel();
    member.session = this.#clock.schedule(this.sessionTimeoutMs, () => this.expel(member.id));
  }

  #describe(member: Member, request: ConsumerGroupHeartbeatRequest, isNew: boolean): void {
    const topics = request.subscribedTopicNames ?? member.topics;
    const regex = request.subscribedTopicRegex ?? member.regex;
    if (request.rebalanceTimeoutMs >= 0) member.rebalanceTimeoutMs = request.rebalanceTimeoutMs;
    const isChanged = topics.join() !== member.topics.join() || regex !== member.regex;
    member.topics = topics;
    member.regex = regex;
    if (isNew || isChanged) this.#retarget();
  }

  #hasOnly(
    member: Member,
    topicPartitions: readonly { readonly topicId: string; readonly partitions: readonly number[] }[],
  ): void {
    const has = new Set(
      topicPartitions.flatMap(({ topicId, partitions }) => partitions.map((each) => `${topicId} ${each}`)),
    );
    for (const key of member.revoking) if (!has.has(key)) member.revoking.delete(key);
    if (member.revoking.size === 0) member.rebalance?.cancel();
  }

  /** To its target: first what it must give up, then what is free. */
  #advance(member: Member): void {
    if (member.revoking.size > 0) return;
    const target = this.#target.get(member.id) ?? new Set();
    const gone = [...member.assigned].filter((key) => !target.has(key));
    if (gone.length > 0) {
      for (const key of gone) {
        member.assigned.delete(key);
        member.revoking.add(key);
      }
      member.rebalance?.cancel();
      member.rebalance = this.#clock.schedule(member.rebalanceTimeoutMs, () => this.expel(member.id));
      return;
    }
    for (const key of target) if (this.#ownerOf(key) === null) member.assigned.add(key);
    if (member.epoch !== this.epoch) {
      member.previousEpoch = member.epoch;
      member.epoch = this.epoch;
    }
  }

  #ownerOf(key: string): Member | null {
    for (const member of this.members.values()) {
      if (member.assigned.has(key) || member.revoking.has(key)) return member;
    }
    return null;
  }

  /** Round robin by ids: so that much moves. */
  #retarget(): void {
    this.epoch++;
    const sorted = [...this.members.values()].sort((left, right) => (left.id < right.id ? -1 : 1));
    this.#target = new Map(sorted.map(({ id }) => [id, new Set()]));
    let turn = 0;
    for (const name of this.#topics.names) {
      const readers = sorted.filter(
        ({ topics, regex }) => topics.includes(name) || (regex !== "" && new RegExp(`^(?:${regex})$`).test(name)),
      );
      if (readers.length === 0) continue;
      for (let partition = 0; partition < this.#topics.partitionCount(name); partition++) {
        const reader = readers[turn++ % readers.length];
        if (reader !== undefined) this.#target.get(reader.id)?.add(`${this.#topics.id(name)} ${partition}`);
      }
    }
  }
}

function textOf(keys: ReadonlySet<string>): string {
  return [...keys].sort().join();
}

function byTopic(keys: ReadonlySet<string>): { readonly topicId: string; readonly partitions: readonly number[] }[] {
  const groups = Map.groupBy(keys, (key) => key.split(" ")[0] ?? "");
  return Array.from(groups, ([topicId, found]) => ({
    topicId,
    partitions: found.map((key) => Number(key.split(" ")[1])).sort((a, b) => a - b),
  }));
}
