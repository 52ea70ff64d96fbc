import type { Logger } from "@millrace/base/logger";
import type { TimeMs } from "@millrace/base/units";
import type { Workers, WorkerTask } from "@millrace/base/world";
import type { LogEnvironment } from "../log-environment.ts";
import type { PartitionLog } from "../log.ts";
import { readAborted } from "../transaction-index.ts";
import type { Segment } from "../segment.ts";
import type { AbortedTransaction } from "../transaction-index.ts";
import type { Offset } from "../types.ts";
import type { LastOfProducer } from "./batch-cleaning.ts";
import { cleanGroupTask, noteKeysTask } from "./clean-task.ts";
import type { CleanedGroup, CleaningFailure, CleaningOutcome, SegmentSource, Shared } from "./clean-task.ts";
import { CleanedTransactions } from "./cleaned-transactions.ts";
import type { CleaningControl } from "./cleaning-control.ts";
import { HASH_KEY_BYTES, KeyOffsets } from "./key-offsets.ts";
import { SupersededOffsets } from "./superseded-offsets.ts";
import { discardCleaned } from "./swap.ts";

export interface RoundOptions {
  readonly environment: LogEnvironment;
  readonly workers: Workers;
  readonly log: PartitionLog;
  readonly firstDirtyOffset: Offset;
  /** Exclusive: at most so far. Every transaction below it is decided, and every segment is closed. */
  readonly endOffset: Offset;
  readonly control: CleaningControl;
  readonly controlMemory: SharedArrayBuffer;
  readonly keyBytesMax: number;
  readonly loadFactor: number;
  readonly ioBufferBytes: number;
  readonly nowMs: TimeMs;
}

export interface RoundReport {
  /** Where the next round begins. */
  readonly firstDirtyOffset: Offset;
  /** When a tombstone that stayed may go; null without any. */
  readonly nextHorizonMs: number | null;
  readonly keysCount: number;
  readonly readBytes: number;
  readonly keptBytes: number;
  readonly recordsRead: number;
  readonly recordsKept: number;
}

/**
 * A round that did not come to its end.
 * - too-small: the memory for keys does not hold those of one batch
 * - thread-failed: the worker ended before its task, as for want of memory
 */
export type RoundFailure =
  | CleaningFailure
  | { readonly kind: "too-small" | "thread-failed"; readonly message: string }
  /** The log was cut, or its segments removed, while they were read. */
  | { readonly kind: "overtaken" };

export type RoundOutcome =
  | { readonly ok: true; readonly report: RoundReport }
  | { readonly ok: false; readonly failure: RoundFailure };

/** More than a batch may hold that is appended here; one that came from elsewhere may hold more, and is not cleaned then. */
const DECOMPRESSED_BYTES_MAX = 256 * 1024 * 1024;
/** All segments of a run are open while they are swapped. */
const RUN_SEGMENTS_MAX = 64;
const INT32_MAX = 0x7fff_ffff;
/** Of the memory for keys: what is known of the superseded offsets takes so small a part beside it. 2 MiB know 16 million. */
const SUPERSEDED_SHARE = 64;

/** What the first reading finds out, and the second uses. */
type Memory = Pick<Shared, "keys" | "superseded">;

/**
 * One round of compaction of one log:
 *
 *     0 ────────── firstDirtyOffset ─────────── keysEndOffset ───── endOffset
 *       each key once          keys are noted here    memory full: next round
 *       └───────────── read again, run by run, and written anew ─────┘
 *
 * The reading and writing is done by the workers; this decides which segments are taken together, and swaps them.
 */
export class CleaningRound {
  readonly #options: RoundOptions;
  readonly #logger: Logger;
  readonly #cuts: number;

  constructor(options: RoundOptions) {
    this.#options = options;
    this.#logger = options.environment.logger;
    this.#cuts = options.log.cuts;
  }

  async run(): Promise<RoundOutcome> {
    const { environment, log, firstDirtyOffset, endOffset } = this.#options;
    // What the journal holds of these segments is not to be written into what they become.
    await environment.persistRecoveryPoints();
    const segments = log
      .segments()
      .all()
      .filter(({ baseOffset }) => baseOffset < endOffset);
    // To the end of the last segment, which is written anew as a whole, though it is cleaned up to `endOffset` only.
    const aborted = await this.#abortedBelow(log.segments().all()[segments.length]?.baseOffset ?? endOffset);
    const dirty = segments.slice(log.segments().indexOf(firstDirtyOffset));
    const keysMax = Math.max(0, endOffset - firstDirtyOffset);
    const { loadFactor, keyBytesMax: bytesMax } = this.#options;
    const secret = environment.random.bytes(HASH_KEY_BYTES);
    const keys = KeyOffsets.allocate({ keysMax, bytesMax, loadFactor, secret });
    const superseded = SupersededOffsets.allocate({
      from: firstDirtyOffset,
      upTo: endOffset,
      bytesMax: bytesMax / SUPERSEDED_SHARE,
    });
    const memory: Memory = { keys, superseded };
    const noted =
      keysMax === 0
        ? { ok: true as const, value: { endOffset: firstDirtyOffset, keysCount: 0, readBytes: 0 } }
        : await this.#inWorker(noteKeysTask, {
            ...this.#shared(memory),
            segments: dirty.map(sourceOf),
            upTo: endOffset,
            aborted,
          });
    if (!noted.ok) return noted;
    const { endOffset: keysEndOffset, keysCount } = noted.value;
    if (keysMax > 0 && keysEndOffset === firstDirtyOffset) return { ok: false, failure: tooSmall(bytesMax) };
    const cleaned = await this.#cleanRuns(segments, { memory, keysEndOffset, aborted });
    if (!cleaned.ok) return cleaned;
    const { totals } = cleaned;
    return {
      ok: true,
      report: {
        ...totals,
        firstDirtyOffset: keysEndOffset,
        nextHorizonMs: Number.isFinite(totals.nextHorizonMs) ? totals.nextHorizonMs : null,
        keysCount,
        readBytes: totals.readBytes + noted.value.readBytes,
      },
    };
  }

  async #cleanRuns(
    segments: readonly Segment[],
    known: {
      readonly memory: Memory;
      readonly keysEndOffset: Offset;
      readonly aborted: readonly AbortedTransaction[];
    },
  ): Promise<{ readonly ok: true; readonly totals: Totals } | { readonly ok: false; readonly failure: RoundFailure }> {
    const { environment, log, nowMs } = this.#options;
    const { memory, keysEndOffset } = known;
    const totals: Totals = { nextHorizonMs: Infinity, readBytes: 0, keptBytes: 0, recordsRead: 0, recordsKept: 0 };
    let transactions = CleanedTransactions.before(known.aborted);
    const read = segments.filter(({ baseOffset }) => baseOffset < keysEndOffset);
    for (const { run, endOffset } of this.#runs(read)) {
      const result = await this.#inWorker(cleanGroupTask, {
        ...this.#shared(memory),
        directory: log.directory,
        segments: run.map(sourceOf),
        keysEndOffset,
        groupEndOffset: endOffset,
        nowMs,
        deleteRetentionMs: log.config["delete.retention.ms"],
        indexIntervalBytes: log.config["index.interval.bytes"],
        transactions,
        lastOfProducers: lastOfProducers(log),
      });
      if (!result.ok) return result;
      const group = result.value;
      ({ transactions } = group);
      add(totals, group);
      const isSwapped = group.isChanged || run.length > 1;
      if (!isSwapped) await discardCleaned(environment.disk, log.directory, group.baseOffset);
      else if (!(await log.replaceSegments(run, group, this.#cuts)))
        return { ok: false, failure: { kind: "overtaken" } };
    }
    return { ok: true, totals };
  }

  /** Runs of segments that make one: no larger than `segment.bytes` before they are cleaned, so not after it either. */
  *#runs(segments: readonly Segment[]): Iterable<{ readonly run: readonly Segment[]; readonly endOffset: Offset }> {
    const all = this.#options.log.segments();
    const bytesMax = this.#options.log.config["segment.bytes"];
    const endOf = (segment: Segment): Offset =>
      all.all()[all.indexOf(segment.baseOffset) + 1]?.baseOffset ?? this.#options.endOffset;
    let run: Segment[] = [];
    let sizeBytes = 0;
    // The catalogue changes while the runs are cleaned: where they end is asked before.
    const runs: { readonly run: readonly Segment[]; readonly endOffset: Offset }[] = [];
    const close = (): void => {
      const last = run.at(-1);
      if (last !== undefined) runs.push({ run, endOffset: endOf(last) });
    };
    for (const segment of segments) {
      const [first] = run;
      const isTooMuch =
        first !== undefined &&
        (sizeBytes + segment.sizeBytes > bytesMax ||
          run.length === RUN_SEGMENTS_MAX ||
          endOf(segment) - first.baseOffset > INT32_MAX);
      if (isTooMuch) {
        close();
        run = [];
        sizeBytes = 0;
      }
      run.push(segment);
      sizeBytes += segment.sizeBytes;
    }
    close();
    yield* runs;
  }

  /** Transactions that begin below it and were aborted; where their markers lie does not matter. */
  async #abortedBelow(endOffset: Offset): Promise<readonly AbortedTransaction[]> {
    const { environment, log } = this.#options;
    const found: AbortedTransaction[] = [];
    for (const segment of [...log.segments().all()]) {
      const aborted = segment.aborted ?? (await readAborted(environment.disk, segment.path(".txnindex")));
      found.push(...aborted.filter(({ firstOffset }) => firstOffset < endOffset));
      // All that began below it were decided by then.
      if (segment.baseOffset >= endOffset && aborted.some(({ lastStableOffset }) => lastStableOffset >= endOffset))
        break;
    }
    return found;
  }

  #shared(memory: Memory): Shared {
    const { controlMemory, firstDirtyOffset, loadFactor, ioBufferBytes } = this.#options;
    return {
      ...memory,
      control: controlMemory,
      firstDirtyOffset,
      loadFactor,
      ioBufferBytes,
      decompressedBytesMax: DECOMPRESSED_BYTES_MAX,
    };
  }

  async #inWorker<Input, Output>(
    task: WorkerTask<Input, CleaningOutcome<Output>>,
    input: Input,
  ): Promise<{ readonly ok: true; readonly value: Output } | { readonly ok: false; readonly failure: RoundFailure }> {
    try {
      const outcome = await this.#options.workers.run(task, input);
      return outcome.ok ? outcome : { ok: false, failure: this.#explained(outcome.failure) };
    } catch (error) {
      return {
        ok: false,
        failure: { kind: "thread-failed", message: `the thread that read it failed: ${String(error)}` },
      };
    }
  }

  /** A file that is not there is no fault of the disk where the log has other segments by now. */
  #explained(failure: CleaningFailure): RoundFailure {
    const { log } = this.#options;
    const isGone = failure.kind === "read-failed" || failure.kind === "write-failed";
    if (!isGone || failure.code !== "ENOENT") return failure;
    this.#logger.debug("a log changed while it was cleaned", { directory: log.directory, reason: failure.message });
    return { kind: "overtaken" };
  }
}

interface Totals {
  nextHorizonMs: number;
  readBytes: number;
  keptBytes: number;
  recordsRead: number;
  recordsKept: number;
}

function add(totals: Totals, group: CleanedGroup): void {
  totals.nextHorizonMs = Math.min(totals.nextHorizonMs, group.nextHorizonMs ?? Infinity);
  totals.readBytes += group.readBytes;
  totals.keptBytes += group.sizeBytes;
  totals.recordsRead += group.recordsRead;
  totals.recordsKept += group.recordsKept;
}

function sourceOf(segment: Segment): SegmentSource {
  const { baseOffset, sizeBytes } = segment;
  return { path: segment.path(".log"), baseOffset, sizeBytes };
}

function lastOfProducers(log: PartitionLog): LastOfProducer[] {
  return Array.from(log.producers(), ({ producerId, epoch, marks }) => ({
    producerId,
    epoch,
    lastDataOffset: marks.at(-1)?.lastOffset ?? -1,
  }));
}

function tooSmall(bytesMax: number): RoundFailure {
  const message = `log.cleaner.dedupe.buffer.size gives a thread ${bytesMax} bytes, which do not hold the keys of one batch`;
  return { kind: "too-small", message };
}
