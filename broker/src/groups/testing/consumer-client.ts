import type { Assignment } from "../assignors/types.ts";
import type { ConsumerHeartbeatAnswer } from "../consumer/commands.ts";
import type { GroupFailure } from "../failures.ts";
import type { GroupHost } from "./group-host.ts";

export interface ConsumeOptions {
  readonly topics?: readonly string[] | null;
  readonly regex?: string | null;
  readonly assignor?: string | null;
  readonly rack?: string | null;
  readonly rebalanceTimeoutMs?: number;
}

export interface BeatOptions extends ConsumeOptions {
  readonly epoch?: number;
  /** What it says it has, whatever it has. */
  readonly owned?: Assignment;
  /** Says all that it could say. */
  readonly isFull?: boolean;
  /** Does not say what it has, whatever has changed. */
  readonly isSilent?: boolean;
  /** The answer never reaches the client. */
  readonly isLost?: boolean;
}

/** A client of the consumer protocol: it gives partitions up when it is told to, and reports what it has when that has changed. */
export class ConsumerClient {
  readonly name: string;
  readonly groupId: string;
  readonly instanceId: string | null;
  memberId: string;
  epoch = -1;
  /** What it reads from, by topic id. */
  owned: Assignment = new Map();
  /** What it was told last. What it owns beside this it has to give up. */
  told: Assignment = new Map();
  failure: GroupFailure | "lost" | null = null;
  /** What it joined with last. */
  options: ConsumeOptions = {};
  /** It holds on to what it should give up. */
  isStubborn = false;
  #hasToReport = false;
  #hasMissedAnswer = false;
  #incarnation = 1;
  readonly #host: GroupHost;

  constructor(
    host: GroupHost,
    identity: { readonly name: string; readonly groupId: string; readonly instanceId?: string | null },
  ) {
    this.#host = host;
    this.name = identity.name;
    this.groupId = identity.groupId;
    this.instanceId = identity.instanceId ?? null;
    this.memberId = `${this.name}-1`;
  }

  get isIn(): boolean {
    return this.epoch > 0;
  }

  /** A new process: it has nothing and knows nothing. */
  restart(): void {
    this.#incarnation += 1;
    this.memberId = `${this.name}-${this.#incarnation}`;
    this.#forget();
    this.isStubborn = false;
    this.failure = null;
  }

  join(options: ConsumeOptions, told: Told = () => {}): void {
    this.options = options;
    this.#forget();
    const { topics = options.regex === undefined ? ["t"] : null, regex = null, assignor = null, rack = null } = options;
    this.#ask(
      {
        memberEpoch: 0,
        rackId: rack,
        rebalanceTimeoutMs: options.rebalanceTimeoutMs ?? 60_000,
        topicNames: topics === null ? null : [...topics].sort(),
        topicRegex: regex,
        serverAssignor: assignor,
        owned: new Map(),
      },
      false,
      told,
    );
  }

  beat(options: BeatOptions = {}, told: Told = () => {}): void {
    if (!this.isStubborn) this.giveUp();
    if (options.topics !== undefined || options.regex !== undefined) this.options = { ...this.options, ...options };
    // Whoever missed an answer says everything once more, and is told everything.
    const isFull = options.isFull === true || this.#hasMissedAnswer;
    const saysOwned = (this.#hasToReport || isFull) && options.isSilent !== true;
    const { topics = this.options.regex === undefined ? ["t"] : null, regex = null } = this.options;
    const saidTopics = isFull ? topics : (options.topics ?? null);
    this.#hasMissedAnswer = options.isLost === true;
    this.#ask(
      {
        memberEpoch: options.epoch ?? this.epoch,
        rackId: null,
        rebalanceTimeoutMs: isFull ? (this.options.rebalanceTimeoutMs ?? 60_000) : null,
        topicNames: saidTopics === null ? null : [...saidTopics].sort(),
        topicRegex: isFull ? regex : (options.regex ?? null),
        serverAssignor: options.assignor ?? null,
        owned: options.owned ?? (saysOwned ? this.owned : null),
      },
      options.isLost ?? false,
      told,
    );
    if (saysOwned && options.isLost !== true) this.#hasToReport = false;
  }

  /** −1 leaves, −2 leaves for a moment. */
  leave(epoch: -1 | -2, told: Told = () => {}): void {
    const nothing = {
      rackId: null,
      rebalanceTimeoutMs: null,
      topicNames: null,
      topicRegex: null,
      serverAssignor: null,
    };
    this.#ask({ ...nothing, memberEpoch: epoch, owned: null }, false, told);
    this.#forget();
  }

  /** Gives up what it was told to. */
  giveUp(): void {
    const owned = new Map<string, readonly number[]>();
    for (const [topicId, partitions] of this.owned) {
      const kept = partitions.filter((partition) => this.told.get(topicId)?.includes(partition) === true);
      if (kept.length > 0) owned.set(topicId, kept);
      if (kept.length < partitions.length) this.#hasToReport = true;
    }
    this.owned = owned;
  }

  #forget(): void {
    this.epoch = -1;
    this.owned = new Map();
    this.told = new Map();
    this.#hasToReport = false;
    this.#hasMissedAnswer = false;
  }

  #ask(
    request: {
      readonly memberEpoch: number;
      readonly rackId: string | null;
      readonly rebalanceTimeoutMs: number | null;
      readonly topicNames: readonly string[] | null;
      readonly topicRegex: string | null;
      readonly serverAssignor: string | null;
      readonly owned: Assignment | null;
    },
    isLost: boolean,
    told: Told,
  ): void {
    const { groupId, memberId, instanceId, name } = this;
    this.#host.ask<ConsumerHeartbeatAnswer>(
      (shard, ticket) =>
        shard.decideConsumerHeartbeat(
          { ticket, groupId, memberId, instanceId, clientId: name, clientHost: "/127.0.0.1", ...request },
          this.#host.nowMs,
        ),
      (answer, when) => {
        if (isLost) return;
        this.failure = answer === null ? "lost" : answer.failure;
        if (answer === null) return;
        if (answer.failure === null && request.memberEpoch >= 0) this.#hear(answer);
        // It has to begin anew: it gives up everything at once.
        else if (answer.failure === "fenced-member-epoch" || answer.failure === "unknown-member-id") this.#forget();
        told(answer, when);
      },
    );
  }

  #hear({ memberEpoch, assignment }: ConsumerHeartbeatAnswer): void {
    this.epoch = memberEpoch;
    if (assignment === null) return;
    this.told = assignment;
    const owned = new Map(this.owned);
    for (const [topicId, partitions] of assignment) {
      const all = new Set([...(owned.get(topicId) ?? []), ...partitions]);
      owned.set(
        topicId,
        [...all].sort((a, b) => a - b),
      );
    }
    this.owned = owned;
    this.#hasToReport = true;
  }
}

type Told = (answer: ConsumerHeartbeatAnswer, when: "committed" | "now" | "lost") => void;
