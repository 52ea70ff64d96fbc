import { assert } from "./assert.ts";
import type { Core } from "./core.ts";
import { sizeOf } from "./log.ts";
import type { Entry, Message, MessageOf, NodeId, SnapshotChunk } from "./messages.ts";
import { Progress } from "./progress.ts";

/** Why a leader does not take something. */
export type Refusal =
  | "not-leader"
  /** It is about to give the lead to another node. */
  | "transferring"
  /** Too much is proposed and not committed. */
  | "full"
  /** The change of voters before it, or the first entry of this term, is not committed yet. */
  | "change-pending"
  /** It is a voter already, or none that could be removed. */
  | "no-change"
  /** It does not follow, or is not near the end of the log. */
  | "not-caught-up"
  /** Nobody would be left. */
  | "last-voter";

/** One voter at a time: any majority before shares a voter with any majority after (section 4.1 of the dissertation). */
export type Change =
  | { readonly kind: "add"; readonly node: NodeId }
  | { readonly kind: "remove"; readonly node: NodeId };

/** So many answers in a row that take back what was said before are not late. */
const contradictionsMax = 50;
/** A learner is caught up when so many entries at most are missing. */
const missingMax = 100;

interface PendingRead {
  readonly token: number;
  /** Null: of this node. */
  readonly from: NodeId | null;
  /** Null: nothing of this term is committed yet, so that it is not known what is. */
  index: number | null;
  round: number;
}

/** The role of the one who sends entries, counts who has them, and so commits. */
export class Leader {
  readonly #core: Core;
  readonly #others = new Map<NodeId, Progress>();
  /** The empty entry with which this term begins. */
  readonly #firstIndex: number;
  /** Proposed in this term, and not committed. */
  #openBytes = 0;
  #round = 0;
  #isHeartbeatDue = true;
  #heartbeatTicks = 0;
  #checkTicks = 0;
  #reads: PendingRead[] = [];
  #transfer: { readonly to: NodeId; ticks: number; isTold: boolean } | null = null;

  constructor(core: Core) {
    this.#core = core;
    for (const id of core.voters) if (id !== core.id) this.#others.set(id, this.#newProgress(id));
    this.#firstIndex = core.log.lastIndex + 1;
    core.log.append([{ kind: "empty", index: this.#firstIndex, term: core.term }]);
  }

  #newProgress(id: NodeId): Progress {
    return new Progress(id, this.#core.log.lastIndex + 1);
  }

  get learners(): readonly NodeId[] {
    return [...this.#others.keys()].filter((id) => !this.#core.voters.includes(id));
  }
  progressOf(id: NodeId): Progress | null {
    return this.#others.get(id) ?? null;
  }

  // --- Time -------------------------------------------------------------------------------------------------------------

  /** False: no majority has been heard of for a while, and somebody else may lead by now (section 6.2 of the dissertation). */
  tick(): boolean {
    const { electionTicks, heartbeatTicks } = this.#core.limits;
    if (++this.#heartbeatTicks >= heartbeatTicks) {
      this.#heartbeatTicks = 0;
      this.#isHeartbeatDue = true;
    }
    if (this.#transfer !== null && ++this.#transfer.ticks >= electionTicks) this.#transfer = null;
    for (const { transfer } of this.#others.values()) {
      if (transfer !== null && ++transfer.silentTicks >= electionTicks) {
        transfer.silentTicks = 0;
        transfer.isUnderWay = false;
      }
    }
    if (++this.#checkTicks < electionTicks) return true;
    this.#checkTicks = 0;
    return this.#hasQuorum();
  }

  #hasQuorum(): boolean {
    const { voters, quorum, id, events } = this.#core;
    const active = voters.filter((voter) => voter === id || this.#others.get(voter)?.isActive === true);
    for (const progress of this.#others.values()) {
      if (!progress.isActive && !voters.includes(progress.id)) {
        this.#others.delete(progress.id);
        events.push({ kind: "learner", node: progress.id, isThere: false });
      }
      progress.isActive = false;
    }
    return active.length >= quorum;
  }

  // --- What others say --------------------------------------------------------------------------------------------------

  step(message: Message): void {
    if (message.kind === "join") {
      this.#join(message);
      return;
    }
    if (message.kind === "read") {
      this.read(message.token, message.from);
      return;
    }
    if (message.kind === "recover") this.#recover(message);
    const progress = this.#others.get(message.from);
    if (progress === undefined) return;
    progress.isActive = true;
    if (message.kind === "append-answer") this.#onAppendAnswer(progress, message);
    else if (message.kind === "heartbeat-answer") this.#onHeartbeatAnswer(progress, message);
    else if (message.kind === "snapshot-answer") progress.wantsFrom(message.index, message.nextOffset);
  }

  #join({ from, lastIndex }: MessageOf<"join">): void {
    const known = this.#others.get(from);
    // A learner may come back with another disk under its name: it counts for nothing, and begins anew.
    const isAnew = known !== undefined && lastIndex < known.matchIndex && !this.#core.voters.includes(from);
    // One who is known is heard of by its answers: it may be heard, and not hear.
    if (known !== undefined && !isAnew) return;
    this.#others.set(from, this.#newProgress(from));
    if (known === undefined) this.#core.events.push({ kind: "learner", node: from, isThere: true });
  }

  /** What it acknowledged in an earlier life counts no more; it is looked for anew what it has. */
  #recover({ from, token, lastIndex }: MessageOf<"recover">): void {
    const known = this.#others.get(from);
    if (known === undefined || known.recoveryToken !== token || lastIndex < known.matchIndex) {
      const progress = this.#newProgress(from);
      progress.recoveryToken = token;
      this.#others.set(from, progress);
      if (known === undefined) this.#core.events.push({ kind: "learner", node: from, isThere: true });
    }
    this.#core.send({ kind: "recover-answer", to: from, token, endIndex: this.#core.log.lastIndex });
  }

  #onAppendAnswer(progress: Progress, { outcome }: MessageOf<"append-answer">): void {
    if (outcome.isTaken) {
      if (progress.taken(outcome.matchIndex)) this.#commit();
      this.#goOnWithTransfer();
      return;
    }
    const { prevIndex, hintIndex, hintTerm } = outcome;
    if (prevIndex <= progress.matchIndex) {
      this.#onContradiction(progress, hintIndex);
      return;
    }
    // To a message that others have overtaken.
    const isStale = progress.mode === "probe" && prevIndex !== progress.nextIndex - 1;
    if (isStale || progress.mode === "snapshot") return;
    const agreed = this.#core.log.lastNotBeyond(hintIndex, hintTerm);
    progress.probeFrom(Math.min(prevIndex, agreed + 1));
  }

  /**
   * Most often the answer is late. One that goes on so has counted for what it lost, which cannot be taken back: it is not
   * filled again, and somebody is to look at it.
   */
  #onContradiction(progress: Progress, hasIndex: number): void {
    const { id: node, matchIndex: hadIndex } = progress;
    if (++progress.contradictions !== contradictionsMax) return;
    this.#core.events.push({ kind: "forgetful", node, hadIndex, hasIndex });
  }

  #onHeartbeatAnswer(progress: Progress, { round }: MessageOf<"heartbeat-answer">): void {
    progress.round = Math.max(progress.round, round);
    progress.isWaiting = false;
    if (progress.mode === "replicate" && progress.matchIndex < this.#core.log.lastIndex) {
      progress.isInDoubt = true;
      // What is under way may be lost, and no answer to it will come.
      if (progress.inFlight.length >= this.#core.limits.inFlightMax) progress.inFlight.shift();
    }
    this.#answerReads();
  }

  // --- Sending ----------------------------------------------------------------------------------------------------------

  /** Whatever each of the others may be sent by now. */
  replicate(): void {
    for (const progress of this.#others.values()) this.#replicateTo(progress);
    if (this.#isHeartbeatDue) this.#sendHeartbeats();
  }

  #sendHeartbeats(): void {
    this.#isHeartbeatDue = false;
    for (const { id, matchIndex } of this.#others.values()) {
      const commitIndex = Math.min(matchIndex, this.#core.log.committedIndex);
      this.#core.send({ kind: "heartbeat", to: id, commitIndex, round: this.#round });
    }
  }

  #replicateTo(progress: Progress): void {
    const { log, limits } = this.#core;
    for (;;) {
      if (progress.mode === "snapshot") {
        this.#askForChunk(progress);
        return;
      }
      if (progress.mode === "probe" && progress.isWaiting) return;
      if (progress.mode === "replicate" && progress.inFlight.length >= limits.inFlightMax) return;
      const prevIndex = progress.nextIndex - 1;
      const prevTerm = log.termAt(prevIndex);
      if (prevTerm === null) {
        progress.beginSnapshot(log.snapshot);
        continue;
      }
      const entries = log.slice(progress.nextIndex, { bytesMax: limits.messageBytesMax });
      const lastIndex = prevIndex + entries.length;
      const commitIndex = Math.min(log.committedIndex, lastIndex);
      const hasNews = entries.length > 0 || commitIndex > progress.committedIndex;
      if (!hasNews && progress.mode === "replicate" && !progress.isInDoubt) return;
      progress.isInDoubt = false;
      progress.committedIndex = Math.max(progress.committedIndex, commitIndex);
      this.#core.send({ kind: "append", to: progress.id, prevIndex, prevTerm, entries, commitIndex });
      if (progress.mode === "probe") {
        progress.isWaiting = true;
        return;
      }
      if (entries.length === 0) return;
      progress.nextIndex = lastIndex + 1;
      progress.inFlight.push(lastIndex);
    }
  }

  #askForChunk({ id: to, transfer }: Progress): void {
    if (transfer === null || transfer.isUnderWay) return;
    transfer.isUnderWay = true;
    const { index } = transfer.point;
    const bytesMax = this.#core.limits.chunkBytesMax;
    this.#core.chunkRequests.push({ to, index, offset: transfer.offset, bytesMax });
  }

  /** A later snapshot than the one that was asked for begins anew. */
  provideChunk(to: NodeId, chunk: SnapshotChunk): void {
    const progress = this.#others.get(to);
    const transfer = progress?.transfer ?? null;
    if (progress === undefined || transfer === null) return;
    if (chunk.index !== transfer.point.index) {
      assert(chunk.offset === 0, "another snapshot than the one that was asked for begins with its first byte");
      progress.beginSnapshot(chunk);
      const begun = progress.transfer;
      if (begun !== null) begun.isUnderWay = true;
    } else if (chunk.offset !== transfer.offset) return;
    this.#core.send({ kind: "snapshot", to, chunk });
  }

  // --- Committing -------------------------------------------------------------------------------------------------------

  /** Its own disk has more. */
  persisted(): void {
    this.#commit();
  }

  /**
   * Only entries of its own term are counted; those before are committed with them (section 5.4.2, and figure 8 for what
   * would happen otherwise).
   */
  #commit(): void {
    const { log, voters, quorum, id, term } = this.#core;
    const matches = voters.map((voter) =>
      voter === id ? log.persistedIndex : (this.#others.get(voter)?.matchIndex ?? 0),
    );
    const index = matches.sort((a, b) => b - a)[quorum - 1] ?? 0;
    if (index <= log.committedIndex || log.termAt(index) !== term) return;
    for (const entry of log.slice(log.committedIndex + 1, { bytesMax: Infinity, upTo: index })) {
      if (entry.kind === "data" && entry.term === term) this.#openBytes -= sizeOf(entry);
    }
    this.#core.commitTo(index);
    this.#beginReads();
  }

  /** It was removed, and that is committed: nobody else need be told (section 4.2.2 of the dissertation). */
  get isRemoved(): boolean {
    const { log, isVoter } = this.#core;
    return !isVoter && log.configurationIndex <= log.committedIndex;
  }

  // --- What the host wants ----------------------------------------------------------------------------------------------

  /** Where the first of these lies. */
  propose(data: readonly Uint8Array[]): number | Refusal {
    const { log, term, limits } = this.#core;
    if (this.#transfer !== null) return "transferring";
    const firstIndex = log.lastIndex + 1;
    const entries = data.map((each, count): Entry => ({ kind: "data", index: firstIndex + count, term, data: each }));
    const bytes = entries.reduce((sum, entry) => sum + sizeOf(entry), 0);
    if (this.#openBytes > 0 && this.#openBytes + bytes > limits.uncommittedBytesMax) return "full";
    this.#openBytes += bytes;
    log.append(entries);
    return firstIndex;
  }

  change({ kind, node }: Change): number | Refusal {
    const { log, voters, term } = this.#core;
    if (this.#transfer !== null) return "transferring";
    // Without an entry of this term two leaders could each have a change that the other does not know of.
    const isPending = log.configurationIndex > log.committedIndex || log.committedIndex < this.#firstIndex;
    if (isPending) return "change-pending";
    if (voters.includes(node) === (kind === "add")) return "no-change";
    if (kind === "remove" && voters.length === 1) return "last-voter";
    if (kind === "add") {
      const progress = this.#others.get(node);
      const isNear = progress !== undefined && progress.matchIndex + missingMax >= log.lastIndex;
      if (!isNear || progress.mode !== "replicate") return "not-caught-up";
    }
    const next = kind === "add" ? [...voters, node] : voters.filter((voter) => voter !== node);
    const index = log.lastIndex + 1;
    log.append([{ kind: "configuration", index, term, configuration: { voters: next } }]);
    // A smaller majority may have all that there is.
    this.#commit();
    return index;
  }

  transferTo(node: NodeId): Refusal | null {
    const { voters, id } = this.#core;
    if (node === id || !voters.includes(node)) return "no-change";
    this.#transfer = { to: node, ticks: 0, isTold: false };
    this.#goOnWithTransfer();
    return null;
  }

  #goOnWithTransfer(): void {
    const transfer = this.#transfer;
    if (transfer === null || transfer.isTold) return;
    if (this.#others.get(transfer.to)?.matchIndex !== this.#core.log.lastIndex) return;
    transfer.isTold = true;
    this.#core.send({ kind: "time-out-now", to: transfer.to });
  }

  // --- Reads ------------------------------------------------------------------------------------------------------------

  /**
   * A read sees all that was committed when it was asked for, if this node still led after that: a majority that answers a
   * later heartbeat has not elected anybody before it (section 6.4 of the dissertation).
   */
  read(token: number, from: NodeId | null = null): void {
    this.#reads.push({ token, from, index: null, round: 0 });
    this.#beginReads();
    this.#answerReads();
  }

  #beginReads(): void {
    const { log } = this.#core;
    if (log.committedIndex < this.#firstIndex) return;
    const fresh = this.#reads.filter(({ index }) => index === null);
    if (fresh.length === 0) return;
    this.#round++;
    this.#isHeartbeatDue = true;
    for (const read of fresh) {
      read.index = log.committedIndex;
      read.round = this.#round;
    }
    this.#answerReads();
  }

  #answerReads(): void {
    const { voters, quorum, id } = this.#core;
    const rounds = voters.map((voter) => (voter === id ? this.#round : (this.#others.get(voter)?.round ?? 0)));
    const proven = rounds.sort((a, b) => b - a)[quorum - 1] ?? 0;
    const left: PendingRead[] = [];
    for (const read of this.#reads) {
      if (read.index === null || read.round > proven) left.push(read);
      else this.#answer(read, read.index);
    }
    this.#reads = left;
  }

  #answer({ token, from }: PendingRead, index: number | null): void {
    if (from === null) this.#core.reads.push({ token, index });
    else this.#core.send({ kind: "read-answer", to: from, token, index });
  }

  /** It leads no more. */
  end(): void {
    for (const read of this.#reads) this.#answer(read, null);
    this.#reads = [];
  }
}
