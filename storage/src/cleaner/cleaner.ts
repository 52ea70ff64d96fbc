import { replaceFile } from "@millrace/base/replace-file";
import type { Timer, Workers } from "@millrace/base/world";
import { decodeOffsets, encodeOffsets, partitionKey } from "../checkpoints.ts";
import { Coalesced } from "../concurrency.ts";
import { fileNames } from "../file-names.ts";
import { isCompacted } from "../log-config.ts";
import type { LogEnvironment } from "../log-environment.ts";
import type { PartitionLog } from "../log.ts";
import { isOutOfSpace } from "../out-of-space.ts";
import type { Offset } from "../types.ts";
import { findCleanable } from "./cleanable.ts";
import type { Cleanable, CleanerState } from "./cleanable.ts";
import { CleaningControl } from "./cleaning-control.ts";
import { CleaningRound } from "./cleaning-round.ts";
import type { RoundFailure, RoundReport } from "./cleaning-round.ts";
import { decodeCleanerStates, encodeCleanerStates } from "./state-file.ts";

/** Kafka's settings `log.cleaner.*`; asked anew for each round. */
export interface CleanerSettings {
  readonly isEnabled: boolean;
  /** Logs that are cleaned at a time. */
  readonly threads: number;
  /** Over all threads. */
  readonly dedupeBufferBytes: number;
  readonly loadFactor: number;
  /** Over all threads. */
  readonly ioBufferBytes: number;
  /** Read and written together, of all threads. */
  readonly bytesPerSecond: number;
  readonly backoffMs: number;
}

export const defaultCleanerSettings: CleanerSettings = {
  isEnabled: true,
  threads: 1,
  dedupeBufferBytes: 128 * 1024 * 1024,
  loadFactor: 0.9,
  ioBufferBytes: 512 * 1024,
  bytesPerSecond: Number.MAX_VALUE,
  backoffMs: 15_000,
};

export interface CleanerOptions {
  readonly environment: LogEnvironment;
  /** The log directory. */
  readonly path: string;
  /** As many as are asked for at a time, and nobody else's: a round may take minutes. */
  readonly workers: Workers;
  settings(): CleanerSettings;
  logs(): Iterable<PartitionLog>;
}

/** A log that is left alone, and why. */
export interface UncleanableLog {
  readonly topic: string;
  readonly partition: number;
  readonly reason: string;
}

const IO_BUFFER_BYTES_MIN = 16 * 1024;
const KEY_BYTES_MAX = 0x7fff_ffff;
/** Of a thread that has one log after the other to clean. */
const nothingUnderWay: Promise<void> = Promise.resolve();

/**
 * Compacts the logs of a directory whose `cleanup.policy` has compact, the dirtiest first, so many at a time. What it has done is
 * kept in two files: Kafka's `cleaner-offset-checkpoint`, and `millrace.cleaner` for what Kafka has no place for.
 */
export class Cleaner {
  readonly #options: CleanerOptions;
  readonly #states = new Map<string, CleanerState>();
  readonly #underWay = new Map<PartitionLog, CleaningControl>();
  /** By log: one that is deleted and made again begins anew. */
  #uncleanable = new WeakMap<PartitionLog, { readonly reason: string; readonly request: number }>();
  readonly #rounds = new Set<Promise<void>>();
  readonly #checkpoints: Coalesced;
  #timer: Timer | null = null;
  #looking: Promise<void> = nothingUnderWay;
  #isClosed = false;

  constructor(options: CleanerOptions) {
    this.#options = options;
    this.#checkpoints = new Coalesced(() => this.#writeCheckpoints());
  }

  /** Below it a log may have holes between its segments. */
  firstDirtyOffsetOf(topic: string, partition: number): Offset {
    return this.#states.get(partitionKey(topic, partition))?.firstDirtyOffset ?? (0 as Offset);
  }

  doneRequestOf({ topic, partition }: PartitionLog): number {
    return this.#states.get(partitionKey(topic, partition))?.doneRequest ?? 0;
  }

  *uncleanable(): Iterable<UncleanableLog> {
    for (const log of this.#options.logs()) {
      const found = this.#uncleanable.get(log);
      if (found !== undefined) yield { topic: log.topic, partition: log.partition, reason: found.reason };
    }
  }

  /** Reads what is known of the logs; before they are loaded. */
  async load(): Promise<void> {
    const { path, environment } = this.#options;
    const offsets = await this.#read(fileNames.cleanerOffsets, decodeOffsets);
    for (const [key, { offset }] of offsets ?? [])
      this.#states.set(key, { firstDirtyOffset: offset, doneRequest: 0, nextHorizonMs: null, cuts: 0 });
    const states = await this.#read(fileNames.cleanerStates, decodeCleanerStates);
    for (const [key, { doneRequest, nextHorizonMs }] of states ?? []) {
      const state = this.#states.get(key) ?? { firstDirtyOffset: 0 as Offset, doneRequest, nextHorizonMs, cuts: 0 };
      this.#states.set(key, { ...state, doneRequest, nextHorizonMs });
    }
    environment.logger.debug("the cleaner's checkpoints are read", { path, logs: this.#states.size });
  }

  /** Null where the file is missing or cannot be read: then all is dirty, which costs a round and is not wrong. */
  async #read<T>(
    name: string,
    decode: (
      text: string,
    ) => { readonly ok: true; readonly value: T } | { readonly ok: false; readonly message?: string },
  ): Promise<T | null> {
    const { environment, path } = this.#options;
    if ((await environment.disk.stat(`${path}/${name}`)) === null) return null;
    const decoded = decode((await environment.disk.readFile(`${path}/${name}`)).toString());
    if (decoded.ok) return decoded.value;
    environment.logger.warn("a checkpoint cannot be read and is not used", {
      path: `${path}/${name}`,
      reason: decoded.message,
    });
    return null;
  }

  start(): void {
    this.#schedule(this.#options.settings().backoffMs);
  }

  /** A setting has changed: looks for work now. */
  wake(): void {
    if (this.#timer !== null) this.#schedule(0);
    const { bytesPerSecond, threads } = this.#options.settings();
    for (const control of this.#underWay.values()) control.bytesPerSecond = bytesPerSecond / Math.max(1, threads);
  }

  /** No round goes on when it resolves. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    for (const control of this.#underWay.values()) control.cancel();
    await this.#looking;
    await Promise.all(this.#rounds);
  }

  /** The log goes: a round of it ends soon, and what it says does not count. */
  forget(log: PartitionLog): void {
    this.#underWay.get(log)?.cancel();
    this.#states.delete(partitionKey(log.topic, log.partition));
  }

  #schedule(delayMs: number): void {
    this.#timer?.cancel();
    if (this.#isClosed) return;
    this.#timer = this.#options.environment.clock.schedule(delayMs, () => {
      this.#timer = null;
      this.#look();
    });
  }

  /** Begins as many rounds as are wanted and due. */
  #look(): void {
    this.#looking = this.#looking
      .then(async () => {
        const settings = this.#options.settings();
        while (!this.#isClosed && settings.isEnabled && this.#underWay.size < settings.threads) {
          const next = await this.#dirtiest();
          if (next === null || this.#isClosed) break;
          const round = this.#clean(next.log, next.state, next.cleanable).finally(() => {
            this.#rounds.delete(round);
            // The next one may be due at once.
            if (this.#timer === null) this.#schedule(0);
          });
          this.#rounds.add(round);
        }
        if (this.#underWay.size === 0) this.#schedule(settings.backoffMs);
      })
      .catch((error: unknown) => this.#options.environment.failDirectory(error));
  }

  async #dirtiest(): Promise<Candidate | null> {
    const { environment } = this.#options;
    const nowMs = environment.clock.now();
    let found: Candidate | null = null;
    for (const log of this.#options.logs()) {
      if (!isCompacted(log.config) || log.failure !== null || log.isDiskFull || this.#underWay.has(log)) continue;
      if (this.#isLeftAlone(log)) continue;
      const state = this.#stateOf(log);
      const cleanable = await findCleanable(environment, log, state, nowMs);
      if (cleanable.why !== null && (found === null || isSooner(cleanable, found.cleanable)))
        found = { log, state, cleanable };
    }
    return found;
  }

  #isLeftAlone(log: PartitionLog): boolean {
    const found = this.#uncleanable.get(log);
    // Who asks for it by hand has perhaps mended it.
    return found !== undefined && log.config["millrace.compact.request"] <= found.request;
  }

  #stateOf(log: PartitionLog): CleanerState {
    const key = partitionKey(log.topic, log.partition);
    let state = this.#states.get(key);
    if (state === undefined) {
      state = { firstDirtyOffset: 0 as Offset, doneRequest: 0, nextHorizonMs: null, cuts: log.cuts };
      this.#states.set(key, state);
    }
    return state;
  }

  async #clean(log: PartitionLog, state: CleanerState, cleanable: Cleanable): Promise<void> {
    const { environment, workers } = this.#options;
    const { threads, dedupeBufferBytes, loadFactor, ioBufferBytes, bytesPerSecond } = this.#options.settings();
    const controlMemory = CleaningControl.allocate();
    const control = new CleaningControl(controlMemory, environment.clock);
    control.bytesPerSecond = bytesPerSecond / threads;
    this.#underWay.set(log, control);
    const request = log.config["millrace.compact.request"];
    const startMs = environment.clock.monotonicMs();
    try {
      const outcome = await new CleaningRound({
        environment,
        workers,
        log,
        ...cleanable,
        control,
        controlMemory,
        keyBytesMax: Math.min(KEY_BYTES_MAX, Math.floor(dedupeBufferBytes / threads)),
        loadFactor,
        ioBufferBytes: Math.max(IO_BUFFER_BYTES_MIN, Math.floor(ioBufferBytes / threads / 2)),
        nowMs: environment.clock.now(),
      }).run();
      if (!outcome.ok) return this.#failed(log, outcome.failure);
      this.#note(state, outcome.report, { request, endOffset: cleanable.endOffset });
      await this.#checkpoints.run();
      const durationMs = Math.round(environment.clock.monotonicMs() - startMs);
      environment.logger.info("a log was compacted", {
        topic: log.topic,
        partition: log.partition,
        why: cleanable.why,
        ...outcome.report,
        durationMs,
      });
    } catch (error) {
      if (!isOutOfSpace(error)) return environment.failDirectory(error);
      environment.logger.warn("no space to compact a log", { directory: log.directory, error });
    } finally {
      this.#underWay.delete(log);
    }
  }

  #note(
    state: CleanerState,
    report: RoundReport,
    asked: { readonly request: number; readonly endOffset: Offset },
  ): void {
    state.firstDirtyOffset = report.firstDirtyOffset;
    state.nextHorizonMs = report.nextHorizonMs;
    // A round that the memory for keys ended early has not done all that was asked for.
    if (report.firstDirtyOffset >= asked.endOffset) state.doneRequest = Math.max(state.doneRequest, asked.request);
  }

  #failed(log: PartitionLog, failure: RoundFailure): void {
    const { environment } = this.#options;
    const at = { topic: log.topic, partition: log.partition };
    if (failure.kind === "cancelled" || failure.kind === "overtaken") return;
    if (failure.kind === "write-failed") {
      if (failure.code !== "ENOSPC") return environment.failDirectory(new Error(failure.message));
      environment.logger.warn("no space to compact a log", { ...at, reason: failure.message });
      return;
    }
    this.#uncleanable.set(log, { reason: failure.message, request: log.config["millrace.compact.request"] });
    environment.logger.error("a log is not compacted any more until it is asked for or the broker is restarted", {
      ...at,
      reason: failure.message,
    });
  }

  async #writeCheckpoints(): Promise<void> {
    const { environment, path } = this.#options;
    const offsets: Parameters<typeof encodeOffsets>[0][number][] = [];
    const states: Parameters<typeof encodeCleanerStates>[0][number][] = [];
    for (const { topic, partition } of this.#options.logs()) {
      const state = this.#states.get(partitionKey(topic, partition));
      if (state === undefined) continue;
      offsets.push({ topic, partition, offset: state.firstDirtyOffset });
      states.push({ topic, partition, ...state });
    }
    await replaceFile(environment.disk, `${path}/${fileNames.cleanerStates}`, Buffer.from(encodeCleanerStates(states)));
    await replaceFile(environment.disk, `${path}/${fileNames.cleanerOffsets}`, Buffer.from(encodeOffsets(offsets)));
  }
}

interface Candidate {
  readonly log: PartitionLog;
  readonly state: CleanerState;
  readonly cleanable: Cleanable;
}

/** What must be done goes before what may; then the dirtiest. */
function isSooner(one: Cleanable, other: Cleanable): boolean {
  const isMust = ({ why }: Cleanable): boolean => why === "request" || why === "lag";
  if (isMust(one) !== isMust(other)) return isMust(one);
  return one.dirtyRatio > other.dirtyRatio;
}
