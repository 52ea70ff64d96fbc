import { ErrorCode } from "kafka-protocol-ts/errors";
import { consumerGroupHeartbeat } from "kafka-protocol-ts/messages/68-consumer-group-heartbeat";
import type {
  ConsumerGroupHeartbeatRequestInput,
  ConsumerGroupHeartbeatResponse,
} from "kafka-protocol-ts/messages/68-consumer-group-heartbeat";
import { brokerError, KafkaError } from "../../errors.ts";
import type { Wire } from "../../network/wire.ts";
import { partitionKey } from "../../topic-partition.ts";
import type { TopicPartition } from "../../topic-partition.ts";
import { GroupLink } from "./link.ts";
import type { GroupIdentity, Membership, Owner, Subscription } from "./membership.ts";
import type { MembershipSettings } from "./options.ts";
import type { BrokerConnection } from "../../network/broker-connection.ts";
import { Pulse } from "./pulse.ts";
import { idAssignment, news, nextStep, regexText } from "./reconciliation.ts";
import type { IdAssignment, IdPartition, Step, Told } from "./reconciliation.ts";
import { TopicsWatch } from "./topics-watch.ts";
import { asKafkaError, consumerVerdict } from "./verdicts.ts";
import type { ConsumerRequest, Verdict } from "./verdicts.ts";

const joinEpoch = 0;
const leaveEpoch = -1;
/** A static member that will be back. */
const pauseEpoch = -2;
/** From this version on brokers resolve patterns. */
const regexVersion = 1;
/** Until the brokers say theirs. */
const intervalMsDefault = 5_000;
/** The names of topics that are assigned and not known are asked for so often. */
const namesRetryMs = 500;

/**
 * A member of a group of the consumer protocol (KIP-848): heartbeats are all that it sends. Their answers say what it is to
 * have, and `#reconcile` brings the owner there, one step after the other; what it has then is told with the next one.
 */
export class ConsumerMembership implements Membership {
  readonly groupId: string;
  readonly #link: GroupLink;
  readonly #settings: MembershipSettings;
  readonly #pulse: Pulse;
  readonly #watch: TopicsWatch;
  readonly #memberId: string;
  #subscription: Subscription;
  /** Names that the pattern matches, where the broker does not resolve it; null until they are known. */
  #matching: readonly string[] | null = null;
  /** Then there is one to be taken back. */
  #hadPattern = false;
  /** Null while it is no member. */
  #identity: GroupIdentity | null = null;
  /** Goes up with every loss: answers to what was asked before it say nothing. */
  #livesCount = 0;
  #target: IdAssignment | null = null;
  #owned: readonly IdPartition[] = [];
  /** What the coordinator knows for sure. */
  #told: Told | null = null;
  #unreleasedSinceMs: number | null = null;
  #unreleasedBy: BrokerConnection | null = null;
  #isBegun = false;
  #leaving: Promise<void> | null = null;

  constructor(wire: Wire, settings: MembershipSettings, subscription: Subscription, owner: Owner) {
    this.groupId = settings.groupId;
    this.#settings = settings;
    this.#link = new GroupLink(wire, settings, owner);
    this.#watch = new TopicsWatch(wire);
    this.#subscription = subscription;
    // As Kafka writes a uuid, which no other member will have.
    this.#memberId = wire.world.random.bytes(16).toString("base64url");
    let isLossSettled = true;
    const host = {
      beat: async () => this.#beat(),
      // It comes back when nothing is left of what it lost.
      mayBeat: () => isLossSettled,
      isAwaited: () => false,
      onSilence: (reason: string) => this.#lose(reason),
    };
    this.#afterLoss = async () => {
      isLossSettled = false;
      await this.#link.holdings.lossesSettled;
      isLossSettled = true;
      this.#pulse.beatNow();
    };
    const { sessionTimeoutMs } = settings;
    const intervalMs = Math.min(intervalMsDefault, sessionTimeoutMs / 3);
    this.#pulse = new Pulse(wire.world.clock, host, { intervalMs, sessionTimeoutMs });
    this.#link.onWireClosed(() => this.#pulse.stop());
  }

  readonly #afterLoss: () => Promise<void>;

  get identity(): GroupIdentity | null {
    return this.#identity;
  }

  start(): void {
    if (this.#isBegun || this.#link.isEnding) return;
    this.#isBegun = true;
    this.#pulse.start();
    void this.#reconcile();
  }

  subscribe(subscription: Subscription): void {
    this.#subscription = subscription;
    this.#matching = null;
    this.#watch.stop();
    if (this.#isBegun) this.#pulse.beatNow();
  }

  look(): void {
    this.#pulse.look();
  }

  onCommitRefused(identity: GroupIdentity, error: KafkaError): void {
    if (this.#identity !== identity) return;
    const verdict = consumerVerdict("OffsetCommit", error);
    if (verdict === "failed") this.#settle("OffsetCommit", error);
    else this.#pulse.beatNow();
  }

  async leave(): Promise<void> {
    this.#leaving ??= this.#leave();
    await this.#leaving;
  }

  // --- Heartbeats -------------------------------------------------------------------------------------------------------

  async #beat(): Promise<boolean> {
    const link = this.#link;
    const lives = this.#livesCount;
    const request = this.#identity === null ? "join" : "heartbeat";
    const sentMs = link.clock.monotonicMs();
    try {
      // One that leaves does not come back.
      if (link.isEnding && request === "join") return true;
      const told = await this.#toTell();
      const answer = await link.request(consumerGroupHeartbeat, this.#heartbeat(told), link.promptTimeoutMs);
      if (lives !== this.#livesCount) return true;
      if (answer.errorCode !== ErrorCode.NONE) throw this.#errorOf(answer);
      this.#told = told;
      this.#pulse.heard(sentMs);
      // By now that session may be over.
      if (lives !== this.#livesCount) return true;
      this.#heed(answer);
      return true;
    } catch (thrown) {
      if (lives !== this.#livesCount) return true;
      this.#settle(request, asKafkaError(thrown));
      return false;
    }
  }

  async #toTell(): Promise<Told> {
    const { topics, pattern } = this.#subscription;
    const owned = idAssignment(this.#owned);
    if (pattern === null) return { names: topics.toSorted(), regex: this.#hadPattern ? "" : null, owned };
    this.#hadPattern = true;
    const connection = await this.#link.connection();
    if (connection.serves(consumerGroupHeartbeat, regexVersion)) {
      return { names: topics.toSorted(), regex: regexText(pattern), owned };
    }
    this.#matching ??= await this.#match(pattern);
    return { names: [...new Set([...topics, ...this.#matching])].sort(), regex: null, owned };
  }

  #heartbeat(told: Told): ConsumerGroupHeartbeatRequestInput {
    const { instanceId, rack, rebalanceTimeoutMs, serverAssignor } = this.#settings;
    const isFull = this.#told === null;
    const { names, regex, owned } = news(told, this.#told);
    return {
      groupId: this.groupId,
      memberId: this.#memberId,
      memberEpoch: this.#identity?.epoch ?? joinEpoch,
      instanceId,
      ...(isFull ? { rackId: rack, rebalanceTimeoutMs, serverAssignor } : {}),
      subscribedTopicNames: names ?? null,
      subscribedTopicRegex: regex ?? null,
      topicPartitions: owned ?? null,
    };
  }

  #heed({ memberEpoch: epoch, heartbeatIntervalMs, assignment }: ConsumerGroupHeartbeatResponse): void {
    const { groupId } = this;
    this.#unreleasedSinceMs = null;
    if (heartbeatIntervalMs > 0) this.#pulse.intervalMs = heartbeatIntervalMs;
    if (this.#identity?.epoch !== epoch) {
      this.#identity = { groupId, memberId: this.#memberId, epoch, instanceId: this.#settings.instanceId };
    }
    if (assignment !== null) this.#target = assignment.topicPartitions;
    this.#link.bell.ring();
  }

  // --- From what it has to what it is to have ----------------------------------------------------------------------------

  async #reconcile(): Promise<void> {
    const link = this.#link;
    while (!link.isEnding) {
      const target = this.#target;
      const { revoke, assign, unnamed } = this.#nextStep();
      if (revoke.length > 0) {
        const lives = this.#livesCount;
        await link.holdings.revoke(revoke.map(plain));
        if (lives === this.#livesCount) this.#hasNow(without(this.#owned, revoke));
      } else if (assign.length > 0) {
        link.holdings.assign(assign.map(plain));
        this.#hasNow([...this.#owned, ...assign]);
      } else if (unnamed.length > 0) await this.#learnNames(unnamed);
      else await link.bell.until(() => this.#target !== target || link.isEnding);
    }
    this.#watch.stop();
  }

  #nextStep(): Step {
    const { metadata } = this.#link.wire;
    if (this.#target === null) return { revoke: [], assign: [], unnamed: [] };
    return nextStep(this.#owned, this.#target, (topicId) => metadata.nameOf(topicId));
  }

  /** The coordinator waits to be told. */
  #hasNow(owned: readonly IdPartition[]): void {
    this.#owned = owned;
    this.#pulse.beatNow();
  }

  /** What is theirs waits; everything else goes on with the next answer. */
  async #learnNames(topicIds: readonly string[]): Promise<void> {
    const { wire, bell, logger } = this.#link;
    const target = this.#target;
    try {
      await wire.lookUp(this.#subscription.topics);
      if (this.#nextStep().unnamed.length === 0) return;
      // Those of a pattern: they are among all that there are.
      const topics = await wire.topics();
      await wire.lookUp(topics.filter(({ topicId }) => topicIds.includes(topicId)).map(({ name }) => name));
      if (this.#nextStep().unnamed.length === 0) return;
    } catch (error) {
      logger.debug("the names of assigned topics could not be asked for", { error });
    }
    await bell.within(namesRetryMs, () => this.#target !== target || this.#link.isEnding);
  }

  /** Where the broker does not know patterns: the topics that are there, and from then on when others are. */
  async #match(pattern: RegExp): Promise<readonly string[]> {
    const names = await this.#watch.matching(pattern);
    const look = async (): Promise<string | null> => {
      const now = await this.#watch.matching(pattern);
      return now.join() === names.join() ? null : "other topics match the pattern";
    };
    const onChange = (): void => {
      this.#matching = null;
      this.#pulse.beatNow();
    };
    this.#watch.start(look, { isAnyMissing: false, onChange });
    return names;
  }

  // --- What follows from an error ---------------------------------------------------------------------------------------

  #settle(request: ConsumerRequest, error: KafkaError): void {
    // Whether the coordinator has heard it is not known: all is said again.
    this.#told = null;
    const found = consumerVerdict(request, error);
    // Behind a coordinator that was away the session of the old process begins anew.
    if (found !== "unreleased") this.#unreleasedSinceMs = null;
    const verdict = this.#unlessTooLong(found);
    this.#link.heed(verdict);
    switch (verdict) {
      case "behind":
      case "unknown":
        this.#lose(error.message);
        return;
      case "failed":
        this.#end();
        this.#pulse.stop();
        this.#link.fail(this.#explained(error));
        return;
      case "again":
      case "elsewhere":
      case "named":
      case "rejoin":
      case "unreleased":
    }
  }

  /** The session of a process that was killed is over some time; one that lives keeps its instance id. */
  #unlessTooLong(verdict: Verdict): Verdict {
    if (verdict !== "unreleased") return verdict;
    const nowMs = this.#link.clock.monotonicMs();
    const { connected } = this.#link;
    // A coordinator that was away lets each session begin anew.
    if (this.#unreleasedBy !== connected) this.#unreleasedSinceMs = null;
    this.#unreleasedBy = connected;
    this.#unreleasedSinceMs ??= nowMs;
    return nowMs - this.#unreleasedSinceMs < 1.5 * this.#settings.sessionTimeoutMs ? verdict : "failed";
  }

  /** Others may have what it had. It joins again, as soon as its owner is through with it. */
  #lose(reason: string): void {
    if (this.#identity !== null) this.#link.logger.warn("a member of the group has lost its place", { reason });
    this.#end();
    this.#link.holdings.lose();
    void this.#afterLoss();
  }

  #end(): void {
    this.#livesCount++;
    this.#identity = null;
    this.#target = null;
    this.#owned = [];
    this.#told = null;
    this.#pulse.endSession();
  }

  #errorOf({ errorCode, errorMessage }: ConsumerGroupHeartbeatResponse): KafkaError {
    return brokerError(errorCode, `ConsumerGroupHeartbeat of group ${this.groupId}`, errorMessage);
  }

  #explained(error: KafkaError): KafkaError {
    const { instanceId, serverAssignor } = this.#settings;
    const advice: Readonly<Record<string, string>> = {
      UNSUPPORTED_VERSION: '; these brokers do not serve the consumer protocol: use protocol "classic"',
      UNSUPPORTED_ASSIGNOR: `; serverAssignor is ${serverAssignor}: the brokers' group.consumer.assignors names what there is`,
      GROUP_ID_NOT_FOUND: "; the group may be a classic one whose members cannot be taken over",
      INVALID_REGULAR_EXPRESSION: `; the pattern is ${String(this.#subscription.pattern)}: brokers know the syntax of RE2`,
      FENCED_INSTANCE_ID: `; another process has joined as instance ${instanceId}: give each its own instanceId`,
      UNRELEASED_INSTANCE_ID: `; another process is a member as instance ${instanceId}: give each its own instanceId`,
      GROUP_MAX_SIZE_REACHED: "; raise the brokers' group.consumer.max.size, or run fewer members",
    };
    const { code, message, broker, cause } = error;
    return new KafkaError(code, message + (advice[code] ?? ""), { broker, cause });
  }

  // --- Its end ----------------------------------------------------------------------------------------------------------

  async #leave(): Promise<void> {
    const link = this.#link;
    const { instanceId } = this.#settings;
    link.end();
    // Heartbeats go on until all is given up.
    await link.holdings.revoke(link.holdings.all);
    await link.holdings.lossesSettled;
    this.#pulse.stop();
    const isKnown = this.#isBegun;
    this.#end();
    link.closeConnection();
    if (!isKnown) return;
    await link.farewell(async (connection) => {
      await connection.request(
        consumerGroupHeartbeat,
        {
          groupId: this.groupId,
          memberId: this.#memberId,
          memberEpoch: instanceId === null ? leaveEpoch : pauseEpoch,
          instanceId,
        },
        { timeoutMs: link.promptTimeoutMs },
      );
    });
  }
}

function plain({ topic, partition }: TopicPartition): TopicPartition {
  return { topic, partition };
}

function without(partitions: readonly IdPartition[], gone: readonly IdPartition[]): readonly IdPartition[] {
  const keys = new Set(gone.map(({ topicId, ...partition }) => `${topicId} ${partitionKey(partition)}`));
  return partitions.filter(({ topicId, ...partition }) => !keys.has(`${topicId} ${partitionKey(partition)}`));
}
