import type { Core } from "./core.ts";
import type { MessageOf, NodeId, SnapshotChunk } from "./messages.ts";

/** What the host has done with a chunk: written it; put the snapshot in the place of its state; or found that it is none. */
export type ChunkFate = "written" | "installed" | "refused";

/** The role of the one who takes entries. A learner is a follower without a vote. */
export class Follower {
  readonly #core: Core;
  readonly #timeoutTicks: number;
  #leader: NodeId | null;
  #silentTicks: number;
  /** A snapshot that comes in chunks, and how much of it is there. */
  #incoming: { readonly index: number; readonly term: number; nextOffset: number; isInWork: boolean } | null = null;
  #chunks: SnapshotChunk[] = [];

  /** @param isImpatient a learner that has just begun asks at once whom to follow. */
  constructor(core: Core, leader: NodeId | null, isImpatient = false) {
    this.#core = core;
    this.#leader = leader;
    this.#timeoutTicks = randomTimeout(core);
    this.#silentTicks = isImpatient && !core.mayLead ? this.#timeoutTicks : 0;
  }

  get leader(): NodeId | null {
    return this.#leader;
  }

  /** Nobody else may lead by now: a leader is only followed by another when a majority has not heard of it for so long. */
  get hearsLeader(): boolean {
    return this.#leader !== null && this.#silentTicks < this.#core.limits.electionTicks;
  }

  /** True: it is time to stand for election. */
  tick(): boolean {
    if (++this.#silentTicks < this.#timeoutTicks) return false;
    if (this.#core.mayLead) return true;
    this.#silentTicks = 0;
    this.#leader = null;
    this.#core.askToJoin();
    return false;
  }

  /** The silence of an election timeout is taken for granted; what chance adds to it is waited for. */
  missLeader(): void {
    this.#silentTicks = Math.max(this.#silentTicks, this.#core.limits.electionTicks);
  }

  #hear(leader: NodeId): void {
    this.#silentTicks = 0;
    if (this.#leader === leader) return;
    this.#leader = leader;
    this.#core.events.push({ kind: "follows", term: this.#core.term, leader });
  }

  onAppend({ from, prevIndex, prevTerm, entries, commitIndex }: MessageOf<"append">): void {
    this.#hear(from);
    const { log } = this.#core;
    if (prevIndex < log.committedIndex) {
      // What is committed is the same everywhere.
      this.#answer(from, log.committedIndex);
      return;
    }
    if (log.termAt(prevIndex) !== prevTerm) {
      const hintIndex = log.lastNotBeyond(prevIndex, prevTerm);
      const hintTerm = log.termAt(hintIndex) ?? 0;
      this.#core.send({ kind: "append-answer", to: from, outcome: { isTaken: false, prevIndex, hintIndex, hintTerm } });
      return;
    }
    const firstNew = entries.findIndex(({ index, term }) => log.termAt(index) !== term);
    const fresh = firstNew < 0 ? [] : entries.slice(firstNew);
    const [first] = fresh;
    if (first !== undefined) {
      if (first.index <= log.lastIndex) log.truncateFrom(first.index);
      log.append(fresh);
    }
    // What this leader has not shown may be another's.
    const lastAgreed = prevIndex + entries.length;
    this.#core.recovery?.agreed(this.#core.term, lastAgreed);
    this.#core.commitTo(Math.min(commitIndex, lastAgreed));
    this.#answer(from, lastAgreed);
  }

  onHeartbeat({ from, commitIndex, round }: MessageOf<"heartbeat">): void {
    this.#hear(from);
    const { log, recovery, term } = this.#core;
    // Beyond it nothing can be committed: a disk was changed under a name, and the leader finds that out by itself.
    const agreedIndex = recovery === null ? log.lastIndex : recovery.agreedIndex(term, log);
    if (commitIndex <= agreedIndex) this.#core.commitTo(commitIndex);
    this.#core.send({ kind: "heartbeat-answer", to: from, round });
    // Again and again: until it has heard of it the leader takes an acknowledgement of an earlier life for one of this one.
    if (recovery === null) return;
    this.#core.send({ kind: "recover", to: from, token: recovery.token, lastIndex: log.lastIndex });
  }

  #answer(to: NodeId, matchIndex: number): void {
    this.#core.send({ kind: "append-answer", to, outcome: { isTaken: true, matchIndex } });
  }

  // --- Snapshots --------------------------------------------------------------------------------------------------------

  onSnapshot({ from, chunk }: MessageOf<"snapshot">): void {
    this.#hear(from);
    const { log } = this.#core;
    const { index, term, offset } = chunk;
    if (index <= log.committedIndex) {
      this.#answer(from, log.committedIndex);
      return;
    }
    const isKnown = this.#incoming?.index === index && this.#incoming.term === term;
    if (!isKnown || this.#incoming === null) this.#incoming = { index, term, nextOffset: 0, isInWork: false };
    if (this.#incoming.isInWork) return;
    if (offset !== this.#incoming.nextOffset) {
      this.#core.send({ kind: "snapshot-answer", to: from, index, nextOffset: this.#incoming.nextOffset });
      return;
    }
    this.#incoming.isInWork = true;
    this.#chunks.push(chunk);
  }

  /** What came of a snapshot that is still wanted. */
  takeChunks(): readonly SnapshotChunk[] {
    const { committedIndex } = this.#core.log;
    const chunks = this.#chunks.filter(({ index }) => index > committedIndex);
    this.#chunks = [];
    return chunks;
  }

  took(chunk: SnapshotChunk, fate: ChunkFate): void {
    const { index, offset, data } = chunk;
    const { log } = this.#core;
    const incoming = this.#incoming;
    const isWanted = incoming !== null && incoming.index === index && incoming.term === chunk.term;
    if (fate === "installed") {
      this.#incoming = null;
      log.installed(chunk);
      if (this.#leader !== null) this.#answer(this.#leader, index);
      return;
    }
    if (!isWanted) return;
    incoming.isInWork = false;
    // One that is none is asked for again, from its first byte.
    incoming.nextOffset = fate === "refused" ? 0 : offset + data.length;
    if (this.#leader === null) return;
    this.#core.send({ kind: "snapshot-answer", to: this.#leader, index, nextOffset: incoming.nextOffset });
  }
}

/** Elections that begin at different times seldom split the votes (section 5.2). */
export function randomTimeout({ limits, random }: Core): number {
  return limits.electionTicks + Math.floor(random() * limits.electionTicks);
}
