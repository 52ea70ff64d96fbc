import type { Log } from "./log.ts";
import type { Message, NodeId } from "./messages.ts";
import type { Recovery } from "./recovery.ts";

/** All times are ticks: the host says how long one is. */
export interface Limits {
  /** A follower that has heard of no leader for so long, or up to twice as long, stands for election. Default 10. */
  readonly electionTicks: number;
  /** A leader is heard of so often. Default 1. */
  readonly heartbeatTicks: number;
  /** Of the entries in one message; one entry may be larger. Default 1 MiB. */
  readonly messageBytesMax: number;
  /** Messages with entries to one node that it has not answered. Default 16. */
  readonly inFlightMax: number;
  /** Proposed and not committed: more is refused. Default 64 MiB. */
  readonly uncommittedBytesMax: number;
  /** Of a snapshot in one message. Default 1 MiB. */
  readonly chunkBytesMax: number;
}

export const limitsDefault: Limits = {
  electionTicks: 10,
  heartbeatTicks: 1,
  messageBytesMax: 1_048_576,
  inFlightMax: 16,
  uncommittedBytesMax: 67_108_864,
  chunkBytesMax: 1_048_576,
};

/** What a host may want to write into its own log. */
export type RaftEvent =
  | { readonly kind: "follows"; readonly term: number; readonly leader: NodeId | null }
  | { readonly kind: "stands"; readonly term: number; readonly isPreVote: boolean }
  | { readonly kind: "leads"; readonly term: number }
  | { readonly kind: "resigns"; readonly term: number; readonly reason: "newer-term" | "no-quorum" | "removed" }
  | { readonly kind: "configuration"; readonly index: number; readonly voters: readonly NodeId[] }
  /** It says that it does not have what it has acknowledged: its disk was changed under its name. */
  | { readonly kind: "forgetful"; readonly node: NodeId; readonly hadIndex: number; readonly hasIndex: number }
  | { readonly kind: "learner"; readonly node: NodeId; readonly isThere: boolean }
  /** This node has again what it had lost, and takes part as before. */
  | { readonly kind: "recovered"; readonly index: number };

/** Bytes of the host's snapshot that are to be sent: `Raft.provideChunk` has the answer. */
export interface ChunkRequest {
  readonly to: NodeId;
  /** Of the snapshot that is wanted; a later one, from its beginning, does as well. */
  readonly index: number;
  readonly offset: number;
  readonly bytesMax: number;
}

/** Where a read may begin: what it sees must have all up to this entry. Null: nobody leads for certain, it must be asked again. */
export interface Read {
  readonly token: number;
  readonly index: number | null;
}

type Unsent<Sent> = Sent extends Message ? Omit<Sent, "from" | "term"> : never;

/** What the roles of one node share. */
export class Core {
  readonly id: NodeId;
  readonly log: Log;
  readonly limits: Limits;
  readonly random: () => number;
  readonly outbox: Message[] = [];
  readonly events: RaftEvent[] = [];
  readonly chunkRequests: ChunkRequest[] = [];
  readonly reads: Read[] = [];
  #term: number;
  #votedFor: NodeId | null;
  /** Null: this node has all that it has acknowledged. */
  recovery: Recovery | null;
  isHardStateNew = false;

  constructor(given: {
    readonly id: NodeId;
    readonly log: Log;
    readonly limits: Limits;
    readonly random: () => number;
    readonly term: number;
    readonly votedFor: NodeId | null;
    readonly recovery: Recovery | null;
  }) {
    this.id = given.id;
    this.log = given.log;
    this.limits = given.limits;
    this.random = given.random;
    this.#term = given.term;
    this.#votedFor = given.votedFor;
    this.recovery = given.recovery;
  }

  get term(): number {
    return this.#term;
  }
  get votedFor(): NodeId | null {
    return this.#votedFor;
  }
  get voters(): readonly NodeId[] {
    return this.log.configuration.voters;
  }
  get isVoter(): boolean {
    return this.voters.includes(this.id);
  }
  /**
   * One who is being removed may be the only one that can lead until its removal is committed: the others may lack entries
   * that it has (section 4.2.2 of the dissertation). It does not count itself.
   */
  get mayLead(): boolean {
    if (this.recovery !== null) return false;
    return this.isVoter || this.log.configurationBefore?.voters.includes(this.id) === true;
  }
  /** So many voters, whoever they are, share one with any other so many. */
  get quorum(): number {
    return Math.floor(this.voters.length / 2) + 1;
  }

  /** A vote holds for a term. */
  enterTerm(term: number, votedFor: NodeId | null = null): void {
    this.#term = term;
    this.#votedFor = votedFor;
    this.isHardStateNew = true;
  }

  vote(candidate: NodeId): void {
    this.#votedFor = candidate;
    this.isHardStateNew = true;
  }

  commitTo(index: number): void {
    const { log } = this;
    const before = log.committedIndex;
    log.commitTo(index);
    const { configurationIndex } = log;
    if (configurationIndex <= before || configurationIndex > log.committedIndex) return;
    this.events.push({ kind: "configuration", index: configurationIndex, voters: this.voters });
  }

  /** Votes again as soon as it has what it had lost. */
  endRecoveryIfDue(): void {
    const { log } = this;
    if (this.recovery?.isOver(this.#term, log) !== true) return;
    this.recovery = null;
    this.events.push({ kind: "recovered", index: log.persistedIndex });
  }

  /** Whoever leads is to send to this node, whether or not it knows of it. */
  askToJoin(): void {
    const { lastIndex } = this.log;
    for (const to of this.voters) if (to !== this.id) this.send({ kind: "join", to, lastIndex, isPassedOn: false });
  }

  send(message: Unsent<Message>, term: number = this.#term): void {
    this.outbox.push({ ...message, from: this.id, term });
  }
}
