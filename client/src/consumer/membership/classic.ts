import { ErrorCode } from "kafka-protocol-ts/errors";
import { joinGroup } from "kafka-protocol-ts/messages/11-join-group";
import type { JoinGroupResponse } from "kafka-protocol-ts/messages/11-join-group";
import { heartbeat } from "kafka-protocol-ts/messages/12-heartbeat";
import { leaveGroup } from "kafka-protocol-ts/messages/13-leave-group";
import { syncGroup } from "kafka-protocol-ts/messages/14-sync-group";
import { brokerError, KafkaError } from "../../errors.ts";
import type { Wire } from "../../network/wire.ts";
import type { TopicPartition } from "../../topic-partition.ts";
import { partitionKey } from "../../topic-partition.ts";
import type { Assignor, AsyncAssignor } from "../assignors/assignor.ts";
import { protocolType, readAssignment, subscriptionBytes } from "../assignors/embedded-protocol.ts";
import { assignmentsFor, GroupTopics } from "./leading.ts";
import { GroupLink } from "./link.ts";
import type { GroupIdentity, Membership, Owner, Subscription } from "./membership.ts";
import type { MembershipSettings } from "./options.ts";
import { Pulse } from "./pulse.ts";
import { TopicsWatch } from "./topics-watch.ts";
import { asKafkaError, classicVerdict } from "./verdicts.ts";
import type { ClassicRequest } from "./verdicts.ts";

/** KIP-800: brokers refuse longer ones. */
const reasonLengthMax = 255;

/** One generation of the group that this member is in. A member is never in two: who holds an old one does nothing more. */
interface Tenure {
  readonly identity: GroupIdentity;
  readonly assignor: Assignor | AsyncAssignor;
  readonly isLeader: boolean;
  readonly leaderId: string;
}

/** An answer of the coordinator that says no, and to what. */
class Refusal extends Error {
  override readonly name = "Refusal";
  readonly request: ClassicRequest;
  readonly error: KafkaError;
  constructor(request: ClassicRequest, error: KafkaError) {
    super(error.message);
    this.request = request;
    this.error = error;
  }
}

/**
 * A member of a classic group: JoinGroup and SyncGroup one after the other in `#live`, heartbeats beside them from `Pulse`.
 * Whatever ends the tenure sets it to null and rings; whoever has awaited something looks whether it is still the same.
 */
export class ClassicMembership implements Membership {
  readonly groupId: string;
  readonly #link: GroupLink;
  readonly #settings: MembershipSettings;
  readonly #pulse: Pulse;
  readonly #watch: TopicsWatch;
  /** The assignor that the group has agreed on last; null before the first time. */
  #agreed: Assignor | AsyncAssignor | null = null;
  #subscription: Subscription;
  #memberId = "";
  #tenure: Tenure | null = null;
  /** The generation whose assignment the owner has. */
  #ownedGeneration = -1;
  #lastAssignment: readonly TopicPartition[] = [];
  /** Why it joins again. */
  #rejoin: string | null = null;
  /** It has its assignment, and nothing is to be done. */
  #isStable = false;
  /** A JoinGroup or SyncGroup is under way: heartbeats would stand behind it. */
  #isAsking = false;
  #failuresCount = 0;
  #life: Promise<void> | null = null;
  #leaving: Promise<void> | null = null;

  constructor(wire: Wire, settings: MembershipSettings, subscription: Subscription, owner: Owner) {
    this.groupId = settings.groupId;
    this.#settings = settings;
    this.#link = new GroupLink(wire, settings, owner);
    this.#watch = new TopicsWatch(wire);
    this.#subscription = subscription;
    const host = {
      beat: async () => this.#beat(),
      mayBeat: () => this.#tenure !== null && !this.#isAsking,
      isAwaited: () => this.#isAsking,
      onSilence: (reason: string) => this.#lose(reason),
    };
    const { heartbeatIntervalMs: intervalMs, sessionTimeoutMs } = settings;
    this.#pulse = new Pulse(wire.world.clock, host, { intervalMs, sessionTimeoutMs });
    this.#link.onWireClosed(() => this.#pulse.stop());
  }

  get identity(): GroupIdentity | null {
    return this.#tenure?.identity ?? null;
  }

  start(): void {
    if (this.#life !== null || this.#link.isEnding) return;
    this.#pulse.start();
    this.#life = this.#live();
  }

  subscribe(subscription: Subscription): void {
    this.#subscription = subscription;
    this.#joinAgain("the subscription has changed");
  }

  look(): void {
    this.#pulse.look();
  }

  onCommitRefused(identity: GroupIdentity, error: KafkaError): void {
    // Of an earlier generation: what followed from it has been done.
    if (this.#tenure?.identity !== identity) return;
    // While it joins, the answer to that decides: the commit may have come in behind it.
    const verdict = classicVerdict("OffsetCommit", error);
    if ((verdict === "rejoin" || verdict === "behind") && !this.#isStable) return;
    this.#settle("OffsetCommit", error);
  }

  async leave(): Promise<void> {
    this.#leaving ??= this.#leave();
    await this.#leaving;
  }

  // --- Its life ---------------------------------------------------------------------------------------------------------

  async #live(): Promise<void> {
    const link = this.#link;
    while (!link.isEnding) {
      await link.holdings.lossesSettled;
      try {
        await this.#round();
      } catch (thrown) {
        if (link.isEnding) break;
        const refusal = thrown instanceof Refusal ? thrown : new Refusal("JoinGroup", asKafkaError(thrown));
        this.#failuresCount++;
        const isImmediate = this.#settle(refusal.request, refusal.error);
        if (!isImmediate || this.#failuresCount > 2) await link.pause(this.#failuresCount);
      }
    }
    this.#watch.stop();
  }

  /** From what it has given up to what it is given, and until there is a reason to begin again. */
  async #round(): Promise<void> {
    const link = this.#link;
    const subscription = this.#subscription;
    const topics = await this.#topicsOf(subscription);
    await this.#giveUpBefore(topics);
    if (this.#rejoin !== null) link.rejoins(this.#rejoin);
    await link.holdings.lossesSettled;
    if (link.isEnding) return;
    // Until the new generation has begun, not only until the answer is there: a heartbeat's may come in the same piece.
    const begun = await this.#ask(async () => {
      const joined = await this.#join(topics);
      return joined === null || link.isEnding ? null : { joined, tenure: this.#begin(joined) };
    });
    if (begun === null) return;
    const { joined, tenure } = begun;
    await this.#loseToEager(tenure);
    const groupTopics = await this.#lead(tenure, joined);
    const isHere = (): boolean => this.#tenure === tenure && !link.isEnding;
    if (!isHere()) return;
    const assigned = await this.#sync(tenure, groupTopics?.assignments ?? []);
    if (assigned === null || !isHere()) return;
    this.#failuresCount = 0;
    const hasGivenUp = await this.#take(tenure, { assigned, topics });
    if (!isHere()) return;
    if (hasGivenUp) this.#joinAgain("gave up what moves to others");
    if (this.#subscription !== subscription) this.#joinAgain("the subscription has changed");
    this.#watchTopics({ subscription, topics, groupTopics });
    this.#isStable = true;
    await link.bell.until(() => this.#rejoin !== null || !isHere());
    this.#isStable = false;
    this.#watch.stop();
  }

  async #topicsOf({ topics, pattern }: Subscription): Promise<readonly string[]> {
    const matching = pattern === null ? [] : await this.#watch.matching(pattern);
    return [...new Set([...topics, ...matching])].sort();
  }

  /**
   * Members of a group that shares out eagerly come with nothing; those of a cooperative one with what they may still read
   * (KIP-429).
   */
  async #giveUpBefore(topics: readonly string[]): Promise<void> {
    const { holdings } = this.#link;
    const subscribed = new Set(topics);
    const isEager = this.#agreed?.protocol === "eager";
    await holdings.revoke(holdings.all.filter(({ topic }) => isEager || !subscribed.has(topic)));
  }

  /**
   * Somebody has joined who knows no cooperative assignor: this leader does not ask who has what, and gives it to anybody.
   * It is late for an orderly end, since nothing is committed before the new generation is complete.
   */
  async #loseToEager({ assignor, identity }: Tenure): Promise<void> {
    const { holdings, logger } = this.#link;
    if (assignor.protocol === "cooperative" || holdings.all.length === 0) return;
    logger.warn("the group shares out eagerly from now on: what this member has is anybody's", {
      assignor: assignor.name,
      generation: identity.epoch,
    });
    holdings.lose();
    await holdings.lossesSettled;
  }

  // --- JoinGroup --------------------------------------------------------------------------------------------------------

  async #join(topics: readonly string[]): Promise<JoinGroupResponse | null> {
    const link = this.#link;
    const settings = this.#settings;
    const stallsCount = this.#pulse.stallsCount;
    const reason = this.#rejoin?.slice(0, reasonLengthMax) ?? null;
    const owned = link.holdings.all;
    const last = { partitions: this.#lastAssignment, generation: this.#ownedGeneration };
    const protocols = this.#assignors.map(({ name, userData }) => ({
      name,
      metadata: subscriptionBytes({
        topics,
        owned,
        userData: userData?.(last) ?? null,
        generation: this.#ownedGeneration,
        rack: settings.rack,
      }),
    }));
    const answer = await link.request(
      joinGroup,
      {
        groupId: this.groupId,
        sessionTimeoutMs: settings.sessionTimeoutMs,
        rebalanceTimeoutMs: settings.rebalanceTimeoutMs,
        memberId: this.#memberId,
        groupInstanceId: settings.instanceId,
        protocolType,
        protocols,
        reason,
      },
      link.rebalanceTimeoutMs,
    );
    // Two steps: nobody counts a member that may never have heard of its id.
    if (answer.errorCode === ErrorCode.MEMBER_ID_REQUIRED) this.#memberId = answer.memberId;
    if (answer.errorCode !== ErrorCode.NONE)
      throw new Refusal("JoinGroup", this.#errorOf("JoinGroup", answer.errorCode));
    this.#memberId = answer.memberId;
    this.#pulse.look();
    if (stallsCount === this.#pulse.stallsCount) return answer;
    this.#lose("this process stood still while it joined");
    return null;
  }

  /**
   * The preferred ones first. In a group that has agreed on an eager one that comes first: who prefers the other would have
   * the group change to and fro with each member that comes, and lose something each time.
   */
  get #assignors(): readonly (Assignor | AsyncAssignor)[] {
    const { assignors } = this.#settings;
    const agreed = this.#agreed;
    if (agreed?.protocol !== "eager") return assignors;
    return [agreed, ...assignors.filter((each) => each !== agreed)];
  }

  /** A member of a new generation, with what it had in the one before. */
  #begin({ generationId, memberId, leader, protocolName }: JoinGroupResponse): Tenure {
    const settings = this.#settings;
    const assignor = settings.assignors.find(({ name }) => name === protocolName);
    if (assignor === undefined) {
      const sentence = `group ${this.groupId} uses the assignor ${protocolName}, which this member did not offer`;
      throw new Refusal("JoinGroup", new KafkaError("INCONSISTENT_GROUP_PROTOCOL", sentence));
    }
    const { groupId } = this;
    const identity = { groupId, memberId, epoch: generationId, instanceId: settings.instanceId };
    const tenure = { identity, assignor, isLeader: leader === memberId, leaderId: leader };
    this.#tenure = tenure;
    this.#agreed = assignor;
    this.#rejoin = null;
    this.#pulse.heard();
    return tenure;
  }

  // --- SyncGroup --------------------------------------------------------------------------------------------------------

  /** The leader's part; null of everybody else. Its heartbeats go on meanwhile. */
  async #lead(tenure: Tenure, joined: JoinGroupResponse): Promise<GroupTopics | null> {
    if (!tenure.isLeader) return null;
    const link = this.#link;
    const topics = new GroupTopics(joined.members, link.logger);
    for (let failuresCount = 0; this.#tenure === tenure && !link.isEnding; failuresCount++) {
      try {
        await topics.describe(this.#watch);
        // A static leader that came back: the assignment that there is stays (KIP-814).
        if (!joined.skipAssignment) topics.assignments = await assignmentsFor(tenure.assignor, topics, link.logger);
        return topics;
      } catch (thrown) {
        const error = asKafkaError(thrown);
        if (!error.retriable) throw new Refusal("SyncGroup", error);
        link.logger.warn("the leader of a group cannot look at its topics yet", { error });
        await link.pause(failuresCount);
      }
    }
    return null;
  }

  async #sync(tenure: Tenure, assignments: GroupTopics["assignments"]): Promise<readonly TopicPartition[] | null> {
    const link = this.#link;
    const { memberId, epoch, instanceId, groupId } = tenure.identity;
    const stallsCount = this.#pulse.stallsCount;
    const answer = await this.#ask(async () =>
      link.request(
        syncGroup,
        {
          groupId,
          generationId: epoch,
          memberId,
          groupInstanceId: instanceId,
          protocolType,
          protocolName: tenure.assignor.name,
          assignments,
        },
        link.rebalanceTimeoutMs,
      ),
    ).catch((error: unknown) => {
      throw new Refusal("SyncGroup", asKafkaError(error));
    });
    if (answer.errorCode !== ErrorCode.NONE)
      throw new Refusal("SyncGroup", this.#errorOf("SyncGroup", answer.errorCode));
    this.#pulse.look();
    if (stallsCount !== this.#pulse.stallsCount) {
      this.#lose("this process stood still while it waited for its assignment");
      return null;
    }
    this.#pulse.heard();
    return readAssignment(answer.assignment);
  }

  /** Whether it gave anything up, so that others wait for a rebalance in which it is free. */
  async #take(
    tenure: Tenure,
    { assigned, topics }: { readonly assigned: readonly TopicPartition[]; readonly topics: readonly string[] },
  ): Promise<boolean> {
    const link = this.#link;
    const subscribed = new Set(topics);
    const wanted = assigned.filter(({ topic }) => subscribed.has(topic));
    if (wanted.length < assigned.length) {
      const foreign = assigned.filter(({ topic }) => !subscribed.has(topic)).map(partitionKey);
      link.logger.warn("the leader of the group has assigned what this member does not read", { partitions: foreign });
    }
    this.#ownedGeneration = tenure.identity.epoch;
    this.#lastAssignment = wanted;
    const keys = new Set(wanted.map(partitionKey));
    const moving = link.holdings.all.filter((partition) => !keys.has(partitionKey(partition)));
    await link.holdings.revoke(moving);
    if (this.#tenure !== tenure || link.isEnding) return false;
    const { identity, leaderId } = tenure;
    link.joined({ identity, leaderId, assignor: tenure.assignor.name, partitions: wanted });
    link.holdings.assign(wanted.filter((partition) => !link.holdings.has(partition)));
    return moving.length > 0;
  }

  #watchTopics({
    subscription,
    topics,
    groupTopics,
  }: {
    readonly subscription: Subscription;
    readonly topics: readonly string[];
    readonly groupTopics: GroupTopics | null;
  }): void {
    if (groupTopics === null && subscription.pattern === null) return;
    const look = async (): Promise<string | null> => {
      if (subscription.pattern !== null) {
        const now = await this.#topicsOf(subscription);
        if (now.join() !== topics.join()) return "other topics match the pattern";
      }
      return (await groupTopics?.changed(this.#watch)) ?? null;
    };
    const onChange = (reason: string): void => this.#joinAgain(reason);
    this.#watch.start(look, { isAnyMissing: groupTopics?.isAnyMissing ?? false, onChange });
  }

  // --- Heartbeats -------------------------------------------------------------------------------------------------------

  async #beat(): Promise<boolean> {
    const link = this.#link;
    const tenure = this.#tenure;
    if (tenure === null) return true;
    const { groupId, memberId, epoch: generationId, instanceId: groupInstanceId } = tenure.identity;
    const sentMs = link.clock.monotonicMs();
    let error: KafkaError | null = null;
    try {
      const message = { groupId, memberId, generationId, groupInstanceId };
      const { errorCode } = await link.request(heartbeat, message, link.promptTimeoutMs);
      if (errorCode !== ErrorCode.NONE) error = this.#errorOf("Heartbeat", errorCode);
    } catch (thrown) {
      error = asKafkaError(thrown);
    }
    // The member has gone on: what this answer says is of the past.
    if (this.#tenure !== tenure) return true;
    if (error === null) {
      this.#pulse.heard(sentMs);
      return true;
    }
    const verdict = classicVerdict("Heartbeat", error);
    const isHeard = verdict === "rejoin";
    if (isHeard) this.#pulse.heard(sentMs);
    // A JoinGroup or SyncGroup is under way, and its answer decides: this heartbeat may have come in behind it, and the two
    // answers in one piece.
    if (this.#isAsking && (verdict === "rejoin" || verdict === "behind")) return true;
    this.#settle("Heartbeat", error);
    return isHeard;
  }

  // --- What follows from an error ---------------------------------------------------------------------------------------

  /** Carries the verdict out; whether the next attempt may come at once. */
  #settle(request: ClassicRequest, error: KafkaError): boolean {
    const link = this.#link;
    const verdict = classicVerdict(request, error);
    link.heed(verdict);
    switch (verdict) {
      case "again":
      case "elsewhere":
      case "unreleased":
        return false;
      case "named":
        return true;
      case "rejoin":
        this.#joinAgain("the group is rebalancing");
        return true;
      case "behind":
        this.#lose(error.message);
        return true;
      case "unknown":
        this.#memberId = "";
        this.#lose(error.message);
        return true;
      case "failed":
        this.#tenure = null;
        this.#pulse.stop();
        link.fail(this.#explained(error));
        return false;
    }
  }

  #joinAgain(reason: string): void {
    this.#rejoin ??= reason;
    this.#link.bell.ring();
  }

  /** The generation is not this member's any more, and others may have what it had. */
  #lose(reason: string): void {
    if (this.#tenure !== null) this.#link.logger.warn("a member of the group has lost its place", { reason });
    this.#tenure = null;
    this.#ownedGeneration = -1;
    this.#lastAssignment = [];
    this.#pulse.endSession();
    this.#link.holdings.lose();
    this.#joinAgain(reason);
  }

  #errorOf(request: ClassicRequest, errorCode: number): KafkaError {
    return brokerError(errorCode, `${request} of group ${this.groupId}`);
  }

  #explained(error: KafkaError): KafkaError {
    const { assignors, instanceId } = this.#settings;
    const offered = assignors.map(({ name }) => name).join(", ");
    const advice: Readonly<Record<string, string>> = {
      INCONSISTENT_GROUP_PROTOCOL: `; this member offers the assignors ${offered}: give all members one in common`,
      FENCED_INSTANCE_ID: `; another process has joined as instance ${instanceId}: give each its own instanceId`,
      GROUP_MAX_SIZE_REACHED: "; raise the brokers' group.max.size, or run fewer members",
      INVALID_SESSION_TIMEOUT: `; sessionTimeoutMs ${this.#settings.sessionTimeoutMs} must lie within the brokers' group.min.session.timeout.ms and group.max.session.timeout.ms`,
    };
    const { code, message, broker, cause } = error;
    return new KafkaError(code, message + (advice[code] ?? ""), { broker, cause });
  }

  // --- Its end ----------------------------------------------------------------------------------------------------------

  async #leave(): Promise<void> {
    const link = this.#link;
    link.end();
    // Heartbeats go on until all is given up.
    await link.holdings.revoke(link.holdings.all);
    await link.holdings.lossesSettled;
    this.#pulse.stop();
    this.#tenure = null;
    // A JoinGroup that waits would hold up what comes behind it.
    link.closeConnection();
    const memberId = this.#memberId;
    const isExpectedBack = this.#settings.instanceId !== null;
    if (isExpectedBack || memberId === "") return;
    await link.farewell(async (connection) => {
      const { groupId } = this;
      const message = (version: number) =>
        version >= 3
          ? { groupId, members: [{ memberId, groupInstanceId: null, reason: "the consumer was closed" }] }
          : { groupId, memberId };
      await connection.request(leaveGroup, message, { timeoutMs: link.promptTimeoutMs });
    });
  }

  async #ask<Answer>(request: () => Promise<Answer>): Promise<Answer> {
    this.#isAsking = true;
    try {
      return await request();
    } finally {
      this.#isAsking = false;
    }
  }
}
