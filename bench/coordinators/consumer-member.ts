import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { ErrorCode, errorName, isRetriable } from "kafka-protocol-ts/errors";
import { consumerGroupHeartbeat } from "kafka-protocol-ts/messages/68-consumer-group-heartbeat";
import type { ConsumerGroupHeartbeatResponse } from "kafka-protocol-ts/messages/68-consumer-group-heartbeat";
import { failRun, type Link } from "./link.ts";
import type { Meter } from "./meter.ts";
import type { RebalancePlan } from "./plan.ts";
import type { GroupMember } from "./settling.ts";

const heartbeatVersion = 1;
const retryBackoffMs = 100;

/** A member of a consumer group (KIP-848): takes what it is told to take at once, gives up what it is told to give up, and says so. */
export class ConsumerMember implements GroupMember {
  readonly #link: Link;
  readonly #plan: RebalancePlan;
  readonly #meter: Meter;
  readonly #onChange: () => void;
  readonly #memberId: string = randomUUID();
  epoch = 0;
  owned: readonly number[] = [];
  isStable = false;
  #isLeaving = false;
  #ended: Promise<void> = Promise.resolve();

  constructor(link: Link, plan: RebalancePlan, meter: Meter, onChange: () => void) {
    this.#link = link;
    this.#plan = plan;
    this.#meter = meter;
    this.#onChange = onChange;
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
    const { errorCode } = await this.#heartbeat({ memberEpoch: -1 });
    if (errorCode !== ErrorCode.NONE) failRun(`leaving was answered with ${errorName(errorCode)}`);
    this.isStable = false;
    this.owned = [];
  }

  async #live(): Promise<void> {
    while (!this.#isLeaving) {
      const hasNews = await this.#hear();
      if (!hasNews) await sleep(this.#plan.heartbeatMs);
    }
  }

  /** Whether it is to be said at once what came of the answer. */
  async #hear(): Promise<boolean> {
    const { topic, topicId } = this.#plan;
    const isJoining = this.epoch === 0;
    const topicPartitions = this.owned.length === 0 ? [] : [{ topicId, partitions: this.owned }];
    const answer = await this.#heartbeat(
      isJoining
        ? { memberEpoch: 0, rebalanceTimeoutMs: 60_000, subscribedTopicNames: [topic], topicPartitions: [] }
        : { memberEpoch: this.epoch, ...(this.isStable ? {} : { topicPartitions }) },
    );
    if (answer.errorCode !== ErrorCode.NONE) {
      this.#meter.retry("ConsumerGroupHeartbeat", answer.errorCode);
      const isOut =
        answer.errorCode === ErrorCode.FENCED_MEMBER_EPOCH || answer.errorCode === ErrorCode.UNKNOWN_MEMBER_ID;
      if (isOut) this.#forget();
      else if (isRetriable(answer.errorCode)) await sleep(retryBackoffMs);
      else failRun(`ConsumerGroupHeartbeat: ${errorName(answer.errorCode)} ${answer.errorMessage ?? ""}`);
      return true;
    }
    this.epoch = answer.memberEpoch;
    const { assignment } = answer;
    if (assignment === null) {
      // What it said last is heard.
      this.isStable = true;
      this.#onChange();
      return false;
    }
    this.owned = assignment.topicPartitions.flatMap(({ partitions }) => partitions);
    this.isStable = false;
    return true;
  }

  #forget(): void {
    this.epoch = 0;
    this.owned = [];
    this.isStable = false;
  }

  #heartbeat(
    said: Omit<Parameters<typeof consumerGroupHeartbeat.request.write>[1], "groupId" | "memberId">,
  ): Promise<ConsumerGroupHeartbeatResponse> {
    const { groupId } = this.#plan;
    return this.#link.call(consumerGroupHeartbeat, heartbeatVersion, { groupId, memberId: this.#memberId, ...said });
  }
}
