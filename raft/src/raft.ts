import { assert } from "./assert.ts";
import { Candidate } from "./candidate.ts";
import { Core, limitsDefault } from "./core.ts";
import type { ChunkRequest, Limits, RaftEvent, Read } from "./core.ts";
import { Follower } from "./follower.ts";
import type { ChunkFate } from "./follower.ts";
import { Leader } from "./leader.ts";
import type { Change, Refusal } from "./leader.ts";
import { Log } from "./log.ts";
import type { Entry, HardState, Message, MessageOf, NodeId, SnapshotChunk, SnapshotPoint } from "./messages.ts";
import { Recovery } from "./recovery.ts";

/** What a node begins with: what its host finds on its disk. */
export interface RaftOptions {
  /** Of this disk of this machine: a node that comes back without its disk comes under another name. */
  readonly id: NodeId;
  readonly hardState: HardState;
  /** The last snapshot; of a new cluster index 0 and term 0, with those who vote at first. */
  readonly snapshot: SnapshotPoint;
  /** All that is behind it, without a gap. */
  readonly entries: readonly Entry[];
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /**
   * The disk has lost entries that this node may have acknowledged, and has `hardState` for certain: it votes for nobody and does not stand
   * until an event says that it has recovered. The host remembers that across restarts. Default false.
   */
  readonly isRecovering?: boolean;
  readonly limits?: Partial<Limits>;
}

/**
 * What the host is to do, in this order and no other:
 * 1. make `hardState` and `entries` durable: what the disk has from the first entry's index on is replaced
 * 2. write `chunks`, and tell `took` of each
 * 3. send `messages`; one that cannot be sent is lost, and that is all right
 * 4. apply `committed`, each once
 * 5. do the rest, and call `advance`
 */
export interface Ready {
  readonly hardState: HardState | null;
  readonly entries: readonly Entry[];
  readonly chunks: readonly SnapshotChunk[];
  readonly messages: readonly Message[];
  readonly committed: readonly Entry[];
  readonly chunkRequests: readonly ChunkRequest[];
  readonly reads: readonly Read[];
  readonly events: readonly RaftEvent[];
}

export interface Status {
  readonly role: "leader" | "candidate" | "follower" | "learner";
  readonly term: number;
  readonly leader: NodeId | null;
  readonly lastIndex: number;
  readonly committedIndex: number;
  readonly voters: readonly NodeId[];
  /** Those of the last configuration that is known to be committed. */
  readonly committedVoters: readonly NodeId[];
  /** It has lost entries, and has no say until it has them again. */
  readonly isRecovering: boolean;
  /** Of a leader: what it knows of the others. */
  readonly others: readonly { readonly id: NodeId; readonly matchIndex: number; readonly isVoter: boolean }[];
}

type Role = Follower | Candidate | Leader;

/**
 * One node of a cluster that agrees on a log (Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm", 2014; Ongaro's
 * dissertation for what goes beyond it). It only computes: time comes by `tick`, messages by `step`, wishes by `propose` and
 * its like, and what is to be done is in `ready`. Sections in comments are those of the paper unless they say otherwise.
 *
 * @example
 *     async function drive(raft: Raft): Promise<void> {
 *       for (let ready = raft.ready(); ready !== null; ready = raft.ready()) {
 *         await disk.persist(ready.hardState, ready.entries);
 *         for (const message of ready.messages) network.send(message);
 *         for (const entry of ready.committed) state.apply(entry);
 *         raft.advance();
 *       }
 *     }
 */
export class Raft {
  readonly #core: Core;
  #role: Role;
  #isOut = false;

  constructor({ id, hardState, snapshot, entries, random, isRecovering = false, limits = {} }: RaftOptions) {
    const all = { ...limitsDefault, ...limits };
    assert(all.heartbeatTicks < all.electionTicks, "a leader is to be heard of more often than it is waited for");
    const log = new Log(snapshot, entries);
    assert(
      log.lastTerm <= hardState.term,
      `the log has term ${log.lastTerm}, and the node has seen ${hardState.term} at most`,
    );
    const { term, votedFor } = hardState;
    const recovery = isRecovering ? new Recovery(random) : null;
    this.#core = new Core({ id, log, limits: all, random, term, votedFor, recovery });
    this.#role = new Follower(this.#core, null, true);
  }

  // --- What comes in ----------------------------------------------------------------------------------------------------

  /** So much time has passed. */
  tick(): void {
    const role = this.#role;
    if (role instanceof Leader) {
      if (!role.tick()) this.#resign("no-quorum");
    } else if (role.tick()) this.stand();
  }

  /** Stands for election at once. A host may ask for it where nobody else votes; otherwise silence does. */
  stand(): void {
    if (this.#role instanceof Leader || !this.#core.mayLead) return;
    this.#campaign({ isPreVote: true, isTransfer: false });
  }

  /**
   * The host has reason to believe that this node is gone: its machine refuses connections that it took before. If it leads, it is
   * as if it had been silent: others are voted for, and this node stands soon unless another does. A leader that is heard of again
   * is followed on.
   */
  miss(node: NodeId): void {
    if (this.#role instanceof Follower && this.#role.leader === node) this.#role.missLeader();
  }

  /** A node without a vote asks all voters at once whom to follow, as it does by itself after a silence. */
  join(): void {
    if (this.#role instanceof Follower && !this.#core.mayLead) this.#core.askToJoin();
  }

  /** A message for this node, from whomever it claims to be: the host knows who its peers are. */
  step(message: Message): void {
    if (message.to !== this.#core.id) return;
    const { kind, term } = message;
    if (kind === "pre-vote") return this.#onPreVote(message);
    if (kind === "pre-vote-answer") return this.#onPreVoteAnswer(message);
    if (kind === "join") return this.#onJoin(message);
    if (kind === "read") return this.#onRead(message);
    if (kind === "read-answer") {
      this.#core.reads.push({ token: message.token, index: message.index });
      return;
    }
    if (term < this.#core.term) return this.#onOldTerm(message);
    if (term > this.#core.term) {
      // Whoever hears its leader is not disturbed by one who does not (section 6).
      if (kind === "vote" && !message.isTransfer && this.#hearsLeader) return;
      this.#follow(term, null);
    }
    this.#onOwnTerm(message);
  }

  #onJoin(message: MessageOf<"join">): void {
    const role = this.#role;
    if (role instanceof Leader) role.step(message);
    // Once: those who do not lead may each take the other for the leader.
    else if (role instanceof Follower && role.leader !== null && role.leader !== message.from && !message.isPassedOn) {
      this.#core.outbox.push({ ...message, to: role.leader, isPassedOn: true });
    }
  }

  #onRead(message: MessageOf<"read">): void {
    if (this.#role instanceof Leader) this.#role.step(message);
    else this.#core.send({ kind: "read-answer", to: message.from, token: message.token, index: null });
  }

  #onOwnTerm(message: Message): void {
    switch (message.kind) {
      case "vote":
        this.#onVote(message);
        return;
      case "vote-answer":
        this.#onVoteAnswer(message);
        return;
      case "append":
        this.#follower(message).onAppend(message);
        return;
      case "heartbeat":
        this.#follower(message).onHeartbeat(message);
        return;
      case "snapshot":
        this.#follower(message).onSnapshot(message);
        return;
      case "recover-answer":
        this.#onRecoverAnswer(message);
        return;
      case "time-out-now":
        if (this.#core.mayLead && !(this.#role instanceof Leader))
          this.#campaign({ isPreVote: false, isTransfer: true });
        return;
      default:
        if (this.#role instanceof Leader) this.#role.step(message);
    }
  }

  #onRecoverAnswer({ token, term, endIndex }: MessageOf<"recover-answer">): void {
    const { recovery } = this.#core;
    if (recovery === null || recovery.token !== token) return;
    recovery.leaderEndsAt(term, endIndex);
    this.#core.endRecoveryIfDue();
  }

  /** Whoever leads in this term is followed. */
  #follower({ from }: Message): Follower {
    assert(!(this.#role instanceof Leader), `${from} and ${this.#core.id} both lead in term ${this.#core.term}`);
    if (this.#role instanceof Candidate) this.#follow(this.#core.term, from);
    return this.#role as Follower;
  }

  /** Whoever believes that it leads is told that it does not. */
  #onOldTerm({ kind, from }: Message): void {
    if (kind === "append" || kind === "heartbeat" || kind === "snapshot") {
      this.#core.send({ kind: "heartbeat-answer", to: from, round: 0 });
    } else if (kind === "vote") this.#core.send({ kind: "vote-answer", to: from, isGranted: false });
  }

  // --- Elections --------------------------------------------------------------------------------------------------------

  get #hearsLeader(): boolean {
    if (this.#role instanceof Leader) return true;
    return this.#role instanceof Follower && this.#role.hearsLeader;
  }

  #campaign(how: { readonly isPreVote: boolean; readonly isTransfer: boolean }): void {
    const core = this.#core;
    if (!how.isPreVote) core.enterTerm(core.term + 1, core.id);
    const candidate = new Candidate(core, how);
    this.#role = candidate;
    this.#count(candidate);
  }

  #count(candidate: Candidate): void {
    const { outcome } = candidate;
    if (outcome === "lost") this.#follow(this.#core.term, null);
    else if (outcome === "won" && candidate.isPreVote) this.#campaign({ isPreVote: false, isTransfer: false });
    else if (outcome === "won") {
      this.#role = new Leader(this.#core);
      this.#core.events.push({ kind: "leads", term: this.#core.term });
    }
  }

  #onPreVote({ from, term, lastIndex, lastTerm }: MessageOf<"pre-vote">): void {
    const core = this.#core;
    const isCovered = core.recovery === null && core.log.isCoveredBy(lastIndex, lastTerm);
    const isGranted = term > core.term && !this.#hearsLeader && isCovered;
    core.send({ kind: "pre-vote-answer", to: from, isGranted }, isGranted ? term : core.term);
  }

  #onPreVoteAnswer({ from, term, isGranted }: MessageOf<"pre-vote-answer">): void {
    const role = this.#role;
    if (!isGranted && term > this.#core.term) {
      this.#follow(term, null);
      return;
    }
    const isOurs = role instanceof Candidate && role.isPreVote && (!isGranted || term === this.#core.term + 1);
    if (!isOurs) return;
    role.count(from, isGranted);
    this.#count(role);
  }

  /**
   * First come, first served, and one vote a term (section 5.2); only for a log that has all that may be committed (5.4.1), which a node
   * that has lost entries cannot tell.
   */
  #onVote({ from, lastIndex, lastTerm }: MessageOf<"vote">): void {
    const core = this.#core;
    const isFree = core.votedFor === null || core.votedFor === from;
    const isCovered = core.recovery === null && core.log.isCoveredBy(lastIndex, lastTerm);
    const isGranted = isFree && !(this.#role instanceof Leader) && isCovered;
    if (isGranted) {
      core.vote(from);
      // Whoever got it needs time to begin.
      this.#role = new Follower(core, this.#role instanceof Follower ? this.#role.leader : null);
    }
    core.send({ kind: "vote-answer", to: from, isGranted });
  }

  #onVoteAnswer({ from, isGranted }: MessageOf<"vote-answer">): void {
    const role = this.#role;
    if (!(role instanceof Candidate) || role.isPreVote) return;
    role.count(from, isGranted);
    this.#count(role);
  }

  #follow(term: number, leader: NodeId | null): void {
    const core = this.#core;
    if (this.#role instanceof Leader) {
      this.#role.end();
      if (term > core.term) core.events.push({ kind: "resigns", term: core.term, reason: "newer-term" });
    }
    if (term > core.term) core.enterTerm(term);
    // Of a snapshot that comes, a new leader begins anew.
    this.#role = new Follower(core, leader);
    core.events.push({ kind: "follows", term, leader });
  }

  #resign(reason: "no-quorum" | "removed"): void {
    const core = this.#core;
    core.events.push({ kind: "resigns", term: core.term, reason });
    this.#follow(core.term, null);
  }

  // --- What the host wants ----------------------------------------------------------------------------------------------

  /** Gives the index of the first of these; whether they are committed is seen when they are handed out. */
  propose(data: readonly Uint8Array[]): number | Refusal {
    return this.#role instanceof Leader ? this.#role.propose(data) : "not-leader";
  }

  /** Gives the index of the new configuration, which is in force at once. */
  change(change: Change): number | Refusal {
    return this.#role instanceof Leader ? this.#role.change(change) : "not-leader";
  }

  /** Null: it is under way, and ends of itself where it does not succeed. */
  transferTo(node: NodeId): Refusal | null {
    return this.#role instanceof Leader ? this.#role.transferTo(node) : "not-leader";
  }

  /**
   * `Ready.reads` will say where a read that was asked for now may begin. It may be lost on the way to the leader: whoever
   * waits is to ask again after a while, by another token.
   */
  read(token: number): void {
    const role = this.#role;
    if (role instanceof Leader) role.read(token);
    else if (role instanceof Follower && role.leader !== null)
      this.#core.send({ kind: "read", to: role.leader, token });
    else this.#core.reads.push({ token, index: null });
  }

  /** The host has a durable snapshot of its state after this entry: what is before it is dropped. */
  compact(index: number): SnapshotPoint {
    return this.#core.log.compactTo(index);
  }

  /** In answer to `Ready.chunkRequests`. */
  provideChunk(to: NodeId, chunk: SnapshotChunk): void {
    if (this.#role instanceof Leader) this.#role.provideChunk(to, chunk);
  }

  /** In answer to `Ready.chunks`; "installed" where the host's state is that of the snapshot now, of whose chunks this was the last. */
  took(chunk: SnapshotChunk, fate: ChunkFate): void {
    if (this.#role instanceof Follower) this.#role.took(chunk, fate);
    else if (fate === "installed") this.#core.log.installed(chunk);
  }

  // --- What is to be done -----------------------------------------------------------------------------------------------

  /** Null: nothing at present, or `advance` is due. */
  ready(): Ready | null {
    if (this.#isOut) return null;
    const core = this.#core;
    if (this.#role instanceof Leader) {
      this.#role.replicate();
      if (this.#role.isRemoved) this.#resign("removed");
    }
    const chunks = this.#role instanceof Follower ? this.#role.takeChunks() : [];
    const ready: Ready = {
      hardState: core.isHardStateNew ? { term: core.term, votedFor: core.votedFor } : null,
      entries: core.log.takeUnwritten(),
      chunks,
      messages: core.outbox.splice(0),
      // They belong before the snapshot, which may take the place of the state that they would be applied to.
      committed:
        chunks.length === 0 && core.log.hasCommitted ? core.log.takeCommitted(core.limits.messageBytesMax) : [],
      chunkRequests: core.chunkRequests.splice(0),
      reads: core.reads.splice(0),
      events: core.events.splice(0),
    };
    core.isHardStateNew = false;
    const lists = [
      ready.entries,
      ready.chunks,
      ready.messages,
      ready.committed,
      ready.chunkRequests,
      ready.reads,
      ready.events,
    ];
    if (ready.hardState === null && lists.every(({ length }) => length === 0)) return null;
    this.#isOut = true;
    return ready;
  }

  /** The last `ready` was done. */
  advance(): void {
    assert(this.#isOut, "nothing was to be done");
    this.#isOut = false;
    this.#core.log.written();
    this.#core.endRecoveryIfDue();
    if (this.#role instanceof Leader) this.#role.persisted();
  }

  get status(): Status {
    const { id, term, log, voters, isVoter, recovery } = this.#core;
    const role = this.#role;
    const leads = role instanceof Leader;
    const ids = leads ? new Set([...voters, ...role.learners].filter((other) => other !== id)) : [];
    return {
      role: leads ? "leader" : role instanceof Candidate ? "candidate" : isVoter ? "follower" : "learner",
      term,
      leader: leads ? id : role instanceof Follower ? role.leader : null,
      lastIndex: log.lastIndex,
      committedIndex: log.committedIndex,
      voters,
      committedVoters: log.configurationBefore?.voters ?? voters,
      isRecovering: recovery !== null,
      others: Array.from(ids, (other) => ({
        id: other,
        matchIndex: leads ? (role.progressOf(other)?.matchIndex ?? 0) : 0,
        isVoter: voters.includes(other),
      })),
    };
  }
}
