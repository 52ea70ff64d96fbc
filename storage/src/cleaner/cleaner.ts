import { replaceFile } from "@millrace/base/replace-file";
import { DiskError } from "@millrace/base/world";
import type { Timer, Workers } from "@millrace/base/world";
import type { CheckpointFiles } from "../checkpoint-files.ts";
import { partitionKey } from "../checkpoints.ts";
import type { PartitionOffset } from "../checkpoints.ts";
import { Coalesced } from "../concurrency.ts";
import { fileNames } from "../file-names.ts";
import { isCompacted } from "../log-config.ts";
import type { LogEnvironment } from "../log-environment.ts";
import type { PartitionLog } from "../log.ts";
import { isOutOfSpace } from "../out-of-space.ts";
import { readText } from "../read-text.ts";
import type { Offset } from "../types.ts";
import { findCleanable } from "./cleanable.ts";
import type { Cleanable, CleanerState } from "./cleanable.ts";
import { CleaningControl } from "./cleaning-control.ts";
import { CleaningRound } from "./cleaning-round.ts";
import type { RoundFailure, RoundReport } from "./cleaning-round.ts";
import { decodeCleanerStates, encodeCleanerStates } from "./state-file.ts";
import type { KeptState } from "./state-file.ts";

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
  readonly checkpoints: CheckpointFiles;
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

/**
 * Compacts the logs of a directory whose `cleanup.policy` has compact, the dirtiest first, so many at a time. What it has done is
 * kept in two files: Kafka's `cleaner-offset-checkpoint`, and `millrace.cleaner` for what Kafka has no place for.
 */
export class Cleaner {
  readonly #options: CleanerOptions;
  readonly #states = new Map<string, CleanerState>();
  readonly #underWay = new Map<PartitionLog, CleaningControl>();
  /** By log: one that is deleted and made again begins anew. */
  readonly #uncleanable = new WeakMap<PartitionLog, { readonly reason: string; readonly request: number }>();
  readonly #rounds = new Set<Promise<void>>();
  readonly #checkpoints: Coalesced;
  #timer: Timer | null = null;
  #looking: Promise<void> = Promise.resolve();
  #isStarted = false;
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

  /** Reads what is known of the logs; before they are loaded. What cannot be read makes all dirty: a round more, and nothing wrong. */
  async load(): Promise<void> {
    const { checkpoints } = this.#options;
    for (const [key, { offset }] of (await checkpoints.read(fileNames.cleanerOffsets)) ?? [])
      this.#states.set(key, { firstDirtyOffset: offset, doneRequest: 0, nextHorizonMs: null });
    for (const [key, kept] of await this.#readStates())
      this.#states.set(key, { firstDirtyOffset: this.#states.get(key)?.firstDirtyOffset ?? (0 as Offset), ...kept });
  }

  async #readStates(): Promise<ReadonlyMap<string, KeptState>> {
    const { environment, path: directory } = this.#options;
    const path = `${directory}/${fileNames.cleanerStates}`;
    const text = await readText(environment.disk, path);
    if (text === null) return new Map();
    const decoded = decodeCleanerStates(text);
    if (decoded.ok) return decoded.value;
    environment.logger.warn("a checkpoint cannot be read and is not used", { path, reason: decoded.message });
    return new Map();
  }

  /** The logs are loaded. */
  async start(): Promise<void> {
    for (const log of this.#options.logs()) {
      // A crash came between a cut and its note.
      const state = this.#states.get(partitionKey(log.topic, log.partition));
      if (state !== undefined && log.failure === null)
        state.firstDirtyOffset = Math.min(state.firstDirtyOffset, log.logEndOffset) as Offset;
    }
    // Names of logs that are gone are not to be taken for those of new ones.
    if (this.#states.size > 0) await this.checkpoint();
    this.#isStarted = true;
    this.#schedule(this.#options.settings().backoffMs);
  }

  /** A setting has changed: looks for work now. */
  wake(): void {
    if (!this.#isStarted) return;
    this.#schedule(0);
    const { bytesPerSecond, threads } = this.#options.settings();
    for (const control of this.#underWay.values()) control.bytesPerSecond = bytesPerSecond / Math.max(1, threads);
  }

  /** Makes what is known of the logs durable. */
  checkpoint(): Promise<void> {
    return this.#checkpoints.run();
  }

  /** The log ends there now: what will come after it is dirty, whatever was there. Durable when it resolves. */
  async logWasCut(log: PartitionLog): Promise<void> {
    this.#underWay.get(log)?.cancel();
    const state = this.#states.get(partitionKey(log.topic, log.partition));
    if (state === undefined || state.firstDirtyOffset <= log.logEndOffset) return;
    state.firstDirtyOffset = log.logEndOffset;
    await this.checkpoint();
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

  /** Begins as many rounds as are wanted and due. Looks again after a pause, or at once when one has ended well. */
  #look(): void {
    this.#looking = this.#looking
      .then(async () => {
        const settings = this.#options.settings();
        while (!this.#isClosed && settings.isEnabled && this.#underWay.size < settings.threads) {
          const next = await this.#dirtiest();
          if (next === null || this.#isClosed) break;
          const round = this.#clean(next).then((isDone) => {
            this.#rounds.delete(round);
            if (isDone) this.#schedule(0);
          });
          this.#rounds.add(round);
        }
        if (this.#timer === null) this.#schedule(settings.backoffMs);
      })
      .catch((error: unknown) => {
        const { environment, path, settings } = this.#options;
        if (!isOutOfSpace(error)) return environment.failDirectory(error);
        environment.logger.warn("no space to close segments that are to be compacted: it is tried again", {
          path,
          error,
        });
        this.#schedule(settings().backoffMs);
      });
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
      state = { firstDirtyOffset: 0 as Offset, doneRequest: 0, nextHorizonMs: null };
      this.#states.set(key, state);
    }
    return state;
  }

  /** True where the round came to its end. */
  async #clean({ log, state, cleanable }: Candidate): Promise<boolean> {
    const { environment, workers } = this.#options;
    const settings = this.#options.settings();
    const threads = Math.max(1, settings.threads);
    const controlMemory = CleaningControl.allocate();
    const control = new CleaningControl(controlMemory, environment.clock);
    control.bytesPerSecond = settings.bytesPerSecond / threads;
    this.#underWay.set(log, control);
    const request = log.config["millrace.compact.request"];
    const startMs = environment.clock.monotonicMs();
    const { cuts } = log;
    try {
      const outcome = await new CleaningRound({
        environment,
        workers,
        log,
        ...cleanable,
        control,
        controlMemory,
        keyBytesMax: Math.min(KEY_BYTES_MAX, Math.floor(settings.dedupeBufferBytes / threads)),
        loadFactor: settings.loadFactor,
        ioBufferBytes: Math.max(IO_BUFFER_BYTES_MIN, Math.floor(settings.ioBufferBytes / threads / 2)),
        nowMs: environment.clock.now(),
      }).run();
      if (!outcome.ok) this.#failed(log, outcome.failure);
      if (!outcome.ok || cuts !== log.cuts) return false;
      this.#note(state, outcome.report, { request, endOffset: cleanable.endOffset });
      await this.checkpoint();
      environment.logger.info("a log was compacted", {
        topic: log.topic,
        partition: log.partition,
        why: cleanable.why,
        ...outcome.report,
        durationMs: Math.round(environment.clock.monotonicMs() - startMs),
      });
      return true;
    } catch (error) {
      if (isOutOfSpace(error)) this.#noSpace(log, error);
      else environment.failDirectory(error);
      return false;
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
      const error = new DiskError(failure.code, log.directory, failure.message);
      return isOutOfSpace(error) ? this.#noSpace(log, error) : environment.failDirectory(error);
    }
    this.#uncleanable.set(log, { reason: failure.message, request: log.config["millrace.compact.request"] });
    environment.logger.error("a log is not compacted any more until it is asked for or the broker is restarted", {
      ...at,
      reason: failure.message,
    });
  }

  #noSpace({ directory }: PartitionLog, error: unknown): void {
    this.#options.environment.logger.warn("no space to compact a log: it is tried again", { directory, error });
  }

  async #writeCheckpoints(): Promise<void> {
    const { environment, path, checkpoints } = this.#options;
    const offsets: PartitionOffset[] = [];
    const states: (KeptState & { readonly topic: string; readonly partition: number })[] = [];
    for (const { topic, partition } of this.#options.logs()) {
      const state = this.#states.get(partitionKey(topic, partition));
      if (state === undefined) continue;
      offsets.push({ topic, partition, offset: state.firstDirtyOffset });
      states.push({ topic, partition, ...state });
    }
    await replaceFile(environment.disk, `${path}/${fileNames.cleanerStates}`, Buffer.from(encodeCleanerStates(states)));
    await checkpoints.write(fileNames.cleanerOffsets, offsets);
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
