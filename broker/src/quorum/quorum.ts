import type { Logger } from "@millrace/base/logger";
import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { Clock, Random, Timer } from "@millrace/base/world";
import { DiskError } from "@millrace/base/world";
import { Raft } from "raft-ts-lite";
import type {
  Change,
  ChunkRequest,
  Configuration,
  Entry,
  Limits,
  Message,
  NodeId,
  RaftEvent,
  Ready,
  Refusal,
  SnapshotChunk,
  Status,
} from "raft-ts-lite";
import { Heard } from "./heard.ts";
import type { HeardOf } from "./heard.ts";
import type { ChunkOutcome, QuorumStore, StoredState } from "./store.ts";

/** What the entries of the log make. Its changes are told by nothing else. */
export interface StateMachine {
  /** A committed entry: each once, in order. */
  apply(data: Uint8Array): void;
  /** All that was applied, in frames. */
  snapshot(): readonly Buffer[];
  /** From now on the state is that of this snapshot, which another node has sent. */
  install(frames: readonly Buffer[]): void;
}

export interface QuorumOptions {
  /** This node's. */
  readonly id: NodeId;
  readonly store: QuorumStore;
  /** What the store has found, or was formatted with. */
  readonly state: Omit<StoredState, "frames">;
  readonly machine: StateMachine;
  /** Null: nobody else is to be spoken to. */
  readonly transport: { send(messages: readonly Message[]): void } | null;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly tickMs: number;
  readonly limits?: Partial<Limits>;
  /** Bytes of the log after which a snapshot takes its place. */
  snapshotBytes(): number;
  /** Leadership came or went, or another node leads. */
  onRole(role: QuorumRole): void;
  /** The disk has failed, or a bug showed itself. */
  fatal(error: unknown): void;
}

export interface QuorumRole {
  /** This node leads, and its state has all that was ever committed: it may decide. */
  readonly isActive: boolean;
  readonly term: number;
  readonly leader: NodeId | null;
}

/**
 * - not-leader: nothing was written
 * - full: too much is under way; nothing was written
 * - not-written: the disk is full; nothing was written
 * - lost: another node leads, and may or may not have what was proposed
 * - failed: the disk has failed, or the node stops
 */
export type ProposalFailure = "not-leader" | "full" | "not-written" | "lost" | "failed";

const fullDiskPauseMs = 1_000;
/** Between two lines of the log that say that what was lost has not come yet. */
const recoveryPatienceMs = 10_000;

interface Proposal {
  readonly term: number;
  settle(outcome: Result<void, ProposalFailure>): void;
}

interface Applied {
  readonly index: number;
  readonly term: number;
  readonly configuration: Configuration;
}

/**
 * A node's part in the controller quorum: hosts a `Raft`, gives it time, messages and a disk, and applies what is committed.
 *
 * A vote or an entry is durable before a message tells of it. Where the disk was full the node's raft begins anew from
 * what the disk has, as after a restart: nobody was told of more.
 */
export class Quorum {
  readonly #options: QuorumOptions;
  #raft: Raft;
  #applied: Applied;
  /** What raft has handed out; a raft that has begun anew hands out again what is applied. */
  #handedOutIndex = 0;
  readonly #proposals = new Map<number, Proposal>();
  readonly #heard = new Heard();
  #isDriving = false;
  #isClosed = false;
  #hasFailed = false;
  #tick: Timer | null = null;
  #recoveryTimer: Timer | null = null;
  /** The term in which this node leads and has applied an entry of its own, so all before it, too. */
  #activeTerm = -1;
  #told: QuorumRole = { isActive: false, term: -1, leader: null };
  #snapshotAtBytes: number;
  /** Resolved when there is nothing to be done: for whoever waits for the end of the drive. */
  #idle: (() => void)[] = [];
  #whenResigned: () => void = () => {};

  constructor(options: QuorumOptions) {
    const { state, snapshotBytes } = options;
    this.#options = options;
    this.#applied = state.snapshot;
    this.#raft = this.#newRaft(state);
    this.#snapshotAtBytes = snapshotBytes();
  }

  /** Begins to take part. */
  start(): void {
    // What only this node votes for is committed as soon as its disk has it.
    if (this.isAlone) for (const entry of this.#options.state.entries) this.#apply(entry);
    this.#scheduleTick();
    this.#warnWhileRecovering();
    this.#wake();
  }

  get id(): NodeId {
    return this.#options.id;
  }
  get status(): Status {
    return this.#raft.status;
  }
  get role(): QuorumRole {
    return this.#told;
  }
  /** Nobody else votes. */
  get isAlone(): boolean {
    const { voters } = this.#raft.status;
    return voters.length === 1 && voters[0] === this.id;
  }
  /** Index of the last entry that the state has. */
  get appliedIndex(): number {
    return this.#applied.index;
  }
  get isActive(): boolean {
    const { role, term } = this.#raft.status;
    return !this.#hasFailed && role === "leader" && term === this.#activeTerm;
  }

  /** Whether this node may decide. Where nobody else votes it takes the lead when it is asked. */
  async activate(): Promise<boolean> {
    if (this.#isClosed || this.#hasFailed) return false;
    if (!this.isActive && this.isAlone) {
      this.#raft.stand();
      this.#wake();
      await this.#whenIdle();
    }
    return this.isActive;
  }

  /** Settles when the entry is applied here, or will not be by this node's doing. */
  propose(data: Uint8Array): Promise<Result<void, ProposalFailure>> {
    return this.#wait(this.#raft.propose([data]));
  }

  /** Adds or removes one voter. */
  change(change: Change): Promise<Result<void, ProposalFailure | Refusal>> {
    const index = this.#raft.change(change);
    return typeof index === "string" ? Promise.resolve(failed(index)) : this.#wait(index);
  }

  /** Of another node, while this one leads; null: it was not heard of. */
  heardOf(node: NodeId): HeardOf | null {
    return this.#heard.get(node);
  }

  /** Gives the lead to the voter that has most of the log, if there is one and it takes it: settles when it did, or in vain. */
  async handOver(timeoutMs: number): Promise<void> {
    const { role, others } = this.#raft.status;
    const [best] = others.filter(({ isVoter }) => isVoter).sort((a, b) => b.matchIndex - a.matchIndex);
    if (role !== "leader" || best === undefined || this.#isClosed || this.#hasFailed) return;
    const handedOver = new Promise<void>((resolve) => (this.#whenResigned = resolve));
    this.#raft.transferTo(best.id);
    this.#wake();
    const timeout = this.#options.clock.schedule(timeoutMs, () => this.#whenResigned(), { isAwaited: true });
    await handedOver;
    timeout.cancel();
  }

  /** A node is gone, as far as can be seen from here. */
  miss(node: NodeId): void {
    this.#raft.miss(node);
  }

  /** A node without a vote has heard that somebody else leads than it follows. */
  join(): void {
    this.#raft.join();
    this.#wake();
  }

  /** From the others. */
  receive(messages: readonly Message[]): void {
    if (this.#isClosed || this.#hasFailed) return;
    for (const message of messages) this.#raft.step(message);
    this.#heard.note(new Set(messages.map(({ from }) => from)), this.#raft.status, this.#options.clock.now());
    this.#wake();
  }

  /** Ends after what is being written. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#tick?.cancel();
    this.#recoveryTimer?.cancel();
    await this.#whenIdle();
    this.#giveUp("failed", "the node stops");
    await this.#options.store.close();
  }

  // --- The drive --------------------------------------------------------------------------------------------------------

  #newRaft(state: Omit<StoredState, "frames">): Raft {
    const { id, random, limits = {} } = this.#options;
    this.#handedOutIndex = state.snapshot.index;
    const { isRecovering } = this.#options.store;
    return new Raft({ id, ...state, isRecovering, random: () => random.fraction(), limits });
  }

  #scheduleTick(): void {
    if (this.#options.transport === null) return;
    this.#tick = this.#options.clock.schedule(this.#options.tickMs, () => {
      if (this.#isClosed || this.#hasFailed) return;
      this.#scheduleTick();
      this.#raft.tick();
      this.#wake();
    });
  }

  #wake(): void {
    if (this.#isDriving || this.#hasFailed) return;
    this.#isDriving = true;
    this.#drive().then(
      () => {
        for (const idle of this.#idle.splice(0)) idle();
      },
      (error: unknown) => this.#fail(error),
    );
  }

  #whenIdle(): Promise<void> {
    if (!this.#isDriving) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  async #drive(): Promise<void> {
    for (let ready = this.#raft.ready(); ready !== null; ready = this.#raft.ready()) {
      if (!(await this.#persist(ready))) continue;
      for (const chunk of ready.chunks) await this.#takeChunk(chunk);
      if (ready.messages.length > 0) this.#options.transport?.send(ready.messages);
      for (const entry of ready.committed) {
        this.#apply(entry);
        this.#handedOutIndex = entry.index;
      }
      for (const request of ready.chunkRequests) await this.#readChunk(request);
      for (const event of ready.events) this.#note(event);
      if (ready.events.some(({ kind }) => kind === "recovered")) await this.#endRecovery();
      this.#raft.advance();
      this.#tellRole();
      await this.#takeSnapshotIfDue();
    }
    this.#isDriving = false;
  }

  /** False: raft has begun anew, and what it wanted is void. */
  async #persist({ hardState, entries }: Ready): Promise<boolean> {
    if (hardState === null && entries.length === 0) return true;
    const { store, logger } = this.#options;
    const persisted = await store.persist(hardState, entries);
    if (persisted.ok) return true;
    if (persisted.failure === "log-failed") throw new QuorumFailed(persisted.message ?? "the metadata log has failed");
    logger.warn("a metadata change could not be written and was given up", { reason: persisted.message });
    this.#raft = this.#newRaft(store.state);
    this.#giveUp("not-written", persisted.message);
    this.#tellRole();
    return false;
  }

  #apply(entry: Entry): void {
    // A raft that has begun anew hands out again what was applied before.
    if (entry.index > this.#applied.index) {
      const { index, term } = entry;
      const configuration = entry.kind === "configuration" ? entry.configuration : this.#applied.configuration;
      if (entry.kind === "data") this.#options.machine.apply(entry.data);
      this.#applied = { index, term, configuration };
    }
    const { role, term } = this.#raft.status;
    if (role === "leader" && entry.term === term) this.#activeTerm = term;
    const proposal = this.#proposals.get(entry.index);
    if (proposal === undefined) return;
    this.#proposals.delete(entry.index);
    proposal.settle(proposal.term === entry.term ? ok(undefined) : failed("lost", "another node leads"));
  }

  async #takeChunk(chunk: SnapshotChunk): Promise<void> {
    const { store, machine, logger } = this.#options;
    let outcome: ChunkOutcome;
    try {
      outcome = await store.takeChunk(chunk);
    } catch (error) {
      if (!(error instanceof DiskError) || store.hasFailed) throw error;
      logger.warn("a snapshot of the metadata could not be written", { reason: error.message });
      // Asked for at once it would come as fast as the network is, and find the disk as full.
      this.#options.clock.schedule(fullDiskPauseMs, () => {
        this.#raft.took(chunk, "refused");
        this.#wake();
      });
      return;
    }
    if (typeof outcome === "string") return this.#raft.took(chunk, outcome);
    const { index, term, configuration } = chunk;
    if (index > this.#applied.index) {
      machine.install(outcome.installed);
      this.#applied = { index, term, configuration };
    }
    this.#handedOutIndex = index;
    logger.info("a snapshot of the metadata was taken over", { index });
    this.#raft.took(chunk, "installed");
  }

  /** The leader sends no more than this where the disk fails: whoever waits asks again. */
  async #readChunk(request: ChunkRequest): Promise<void> {
    try {
      this.#raft.provideChunk(request.to, await this.#options.store.readChunk(request));
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      this.#options.logger.warn("a snapshot of the metadata could not be read", { reason: error.message });
    }
  }

  /** Until the disk knows of it too, the next start gets all that was lost again, which does no harm. */
  async #endRecovery(): Promise<void> {
    try {
      await this.#options.store.endRecovery();
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      this.#options.logger.warn("that the metadata was lost could not be forgotten", { reason: error.message });
    }
  }

  #warnWhileRecovering(): void {
    const { clock, logger } = this.#options;
    if (this.#isClosed || this.#hasFailed || !this.#raft.status.isRecovering) return;
    const { leader, term, voters } = this.#raft.status;
    logger.warn("the metadata that this node has lost is being fetched; it has no vote until then", {
      ...{ leader, term, voters },
    });
    this.#recoveryTimer = clock.schedule(recoveryPatienceMs, () => this.#warnWhileRecovering());
  }

  async #takeSnapshotIfDue(): Promise<void> {
    const { store, machine, logger, snapshotBytes } = this.#options;
    if (store.bytesSinceSnapshot < this.#snapshotAtBytes) return;
    const { index, term, configuration } = this.#applied;
    // A raft that has begun anew does not know yet how far the state is.
    if (index <= store.state.snapshot.index || index > this.#handedOutIndex) return;
    try {
      await store.replaceBySnapshot({ index, term, configuration }, machine.snapshot());
      this.#raft.compact(index);
      this.#snapshotAtBytes = snapshotBytes();
    } catch (error) {
      if (!(error instanceof DiskError) || store.hasFailed) throw error;
      // The log itself is whole: it is only longer than it should be. Tried again when it has grown as much once more.
      this.#snapshotAtBytes = store.bytesSinceSnapshot + snapshotBytes();
      logger.warn("a snapshot of the metadata could not be written", { reason: error.message });
    }
  }

  // --- What is told -----------------------------------------------------------------------------------------------------

  #wait(index: number | Refusal): Promise<Result<void, ProposalFailure>> {
    if (this.#isClosed || this.#hasFailed) return Promise.resolve(failed("failed", "the metadata log is closed"));
    if (index === "full") return Promise.resolve(failed("full", "too many changes of the metadata are under way"));
    if (typeof index === "string") return Promise.resolve(failed("not-leader", `this node does not decide: ${index}`));
    const { term } = this.#raft.status;
    return new Promise((settle) => {
      this.#proposals.set(index, { term, settle });
      this.#wake();
    });
  }

  #note(event: RaftEvent): void {
    const { logger } = this.#options;
    if (event.kind === "resigns") {
      this.#giveUp("lost", "another node leads");
      this.#whenResigned();
    }
    if (event.kind === "stands") return;
    if (event.kind === "forgetful") logger.error("a controller has lost what it had acknowledged", { ...event });
    else logger.info(`quorum: ${event.kind}`, { ...event });
  }

  #giveUp(failure: ProposalFailure, message: string | undefined): void {
    const waiting = [...this.#proposals.values()];
    this.#proposals.clear();
    for (const { settle } of waiting) settle(failed(failure, message));
  }

  #tellRole(): void {
    const { term, leader } = this.#raft.status;
    const role = { isActive: this.isActive, term, leader };
    const before = this.#told;
    if (before.isActive === role.isActive && before.term === term && before.leader === leader) return;
    this.#told = role;
    this.#options.onRole(role);
  }

  #fail(error: unknown): void {
    this.#hasFailed = true;
    this.#isDriving = false;
    this.#tick?.cancel();
    this.#recoveryTimer?.cancel();
    this.#giveUp("failed", error instanceof Error ? error.message : String(error));
    this.#tellRole();
    for (const idle of this.#idle.splice(0)) idle();
    this.#options.fatal(error);
  }
}

/** The disk of the metadata log has failed: the node cannot go on. */
export class QuorumFailed extends Error {
  override readonly name = "QuorumFailed";
}
