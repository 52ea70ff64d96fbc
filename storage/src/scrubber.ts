import type { Logger } from "@millrace/base/logger";
import { DiskError } from "@millrace/base/world";
import type { Clock, Disk, DiskFile, Timer } from "@millrace/base/world";
import { scanBatches } from "./batch-scan.ts";
import type { ScanFault } from "./batch-scan.ts";
import type { PartitionLog } from "./log.ts";
import { OFFSET_ENTRY_BYTES } from "./offset-index.ts";
import type { Segment } from "./segment.ts";
import type { Offset } from "./types.ts";

export interface ScrubRules {
  /** 0 stands still. */
  readonly bytesPerSecond: number;
  /** Between the beginnings of two rounds. */
  readonly intervalMs: number;
}

export interface ScrubberOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly logger: Logger;
  logs(): Iterable<PartitionLog>;
  /** Asked again and again: they may change at any time. */
  rules(): ScrubRules;
}

/** Why a range is bad; unreadable: the disk does not give its bytes. */
type Fault = ScanFault | "unreadable";

/** Where the chain of good batches broke. */
interface Break {
  readonly fault: Fault;
  /** Where the bad batch begins. */
  readonly position: number;
  /** The first offset that is not vouched for. */
  readonly firstOffset: Offset;
}

/** A place from which batches are good again. */
interface Place {
  readonly position: number;
  readonly offset: Offset;
}

/**
 * One read, and the work of one turn: of the smallest batches there are, a few milliseconds with the checksum in JavaScript, half a
 * millisecond of common ones; at the default rate less than one hundredth of a core.
 */
const CHUNK_BYTES = 128 * 1024;
/** A segment with more bad ranges than this is bad from there on: each range costs every reader a look. */
const FAULTS_MAX = 64;
/** So soon a changed rule is seen, within a round and between two. */
const LOOK_MS = 1000;
const LOOK_BETWEEN_ROUNDS_MS = 60_000;

/**
 * Reads closed segments in the background, at a bounded rate, and makes each batch's checksum again, so that a bit that flipped is
 * found before somebody needs the record. What is bad is said, by file, position and offset, and is not served: readers of that
 * range get an error, and everything else of the log stays as it was.
 *
 * Only segments below the recovery point are looked at: nobody writes to them, and the journal has nothing of them. Each is read
 * through a file of its own, so that readers' open files keep their places, with a lease, so that retention removes its bytes
 * when the scrubber is done with it. What is bad is known in memory only: the first round begins with the start, and until it
 * comes by, readers find the same.
 *
 * What the page cache holds is checked there, not on the medium.
 */
export class Scrubber {
  readonly #options: ScrubberOptions;
  #running: Promise<void> | null = null;
  #isStopped = false;
  #wake: (() => void) | null = null;
  #timer: Timer | null = null;
  /** Bytes that were read before their time came. */
  #debtBytes = 0;
  #paidAtMs = 0;

  constructor(options: ScrubberOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** No file is open and no lease held when it resolves. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#wake?.();
    await this.#running;
  }

  // --- Rounds and pace ------------------------------------------------------------------------------------------------

  async #run(): Promise<void> {
    const { clock, rules } = this.#options;
    while (!this.#isStopped) {
      const beganMs = clock.monotonicMs();
      await this.#round();
      while (!this.#isStopped) {
        const restMs = beganMs + rules().intervalMs - clock.monotonicMs();
        if (restMs <= 0) break;
        await this.#sleep(Math.min(restMs, LOOK_BETWEEN_ROUNDS_MS));
      }
    }
  }

  async #round(): Promise<void> {
    const { clock, logger, logs } = this.#options;
    const beganMs = clock.monotonicMs();
    let [segments, bytes, badRanges] = [0, 0, 0];
    this.#paidAtMs = beganMs;
    for (const log of logs()) {
      let after = -1;
      for (;;) {
        await this.#pay();
        if (this.#isStopped) return;
        // Looked up anew each time: retention, a cut or compaction may have been here meanwhile.
        const segment = nextClosed(log, after);
        if (segment === null) break;
        after = segment.baseOffset;
        badRanges += await new SegmentScrub(this.#options, log, segment, (count) => this.#spend(count)).run();
        segments += 1;
        bytes += segment.sizeBytes;
      }
    }
    if (segments === 0 || this.#isStopped) return;
    const seconds = Math.round((clock.monotonicMs() - beganMs) / 1000);
    logger.info("closed segments were scrubbed", { segments, bytes, badRanges, seconds });
  }

  /** Before each read. Rejects when the scrubber stops. */
  async #spend(sizeBytes: number): Promise<void> {
    await this.#pay();
    if (this.#isStopped) throw new Stopped();
    this.#debtBytes += sizeBytes;
  }

  /** Waits until what was read is paid for with time. */
  async #pay(): Promise<void> {
    const { clock, rules } = this.#options;
    while (!this.#isStopped) {
      const { bytesPerSecond } = rules();
      const nowMs = clock.monotonicMs();
      this.#debtBytes = Math.max(0, this.#debtBytes - ((nowMs - this.#paidAtMs) / 1000) * bytesPerSecond);
      this.#paidAtMs = nowMs;
      if (bytesPerSecond > 0 && this.#debtBytes < 1) return;
      const waitMs = bytesPerSecond > 0 ? (this.#debtBytes / bytesPerSecond) * 1000 : LOOK_MS;
      await this.#sleep(Math.min(Math.max(waitMs, 1), LOOK_MS));
    }
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
      this.#timer = this.#options.clock.schedule(ms, resolve);
    });
  }
}

class Stopped extends Error {
  override readonly name = "Stopped";
}

/** The first segment behind `after` that never changes any more and still holds what somebody may read. */
function nextClosed(log: PartitionLog, after: number): Segment | null {
  if (log.failure !== null) return null;
  const segments = log.segments();
  for (let index = 0; index + 1 < segments.count; index++) {
    const segment = segments.at(index) as Segment;
    const nextOffset = (segments.at(index + 1) as Segment).baseOffset;
    if (nextOffset > log.recoveryPoint) return null;
    if (segment.baseOffset > after && nextOffset > log.logStartOffset && segment.sizeBytes > 0) return segment;
  }
  return null;
}

/** One segment, from its first batch to its last, over whatever is broken in between. */
class SegmentScrub {
  readonly #options: Pick<ScrubberOptions, "disk" | "logger">;
  readonly #log: PartitionLog;
  readonly #segment: Segment;
  readonly #sizeBytes: number;
  readonly #endOffset: Offset;
  readonly #spend: (sizeBytes: number) => Promise<void>;
  #badRanges = 0;

  constructor(
    options: Pick<ScrubberOptions, "disk" | "logger">,
    log: PartitionLog,
    segment: Segment,
    spend: (sizeBytes: number) => Promise<void>,
  ) {
    this.#options = options;
    this.#log = log;
    this.#segment = segment;
    this.#sizeBytes = segment.sizeBytes;
    this.#endOffset = endOf(log, segment) ?? segment.baseOffset;
    this.#spend = spend;
  }

  /** Gives how many ranges are bad. */
  async run(): Promise<number> {
    const { disk, logger } = this.#options;
    const path = this.#segment.path(".log");
    this.#segment.retain();
    try {
      const file = await disk.open(path, "read");
      try {
        await this.#scrub(file);
      } finally {
        await file.close();
      }
    } catch (error) {
      if (error instanceof Stopped) return this.#badRanges;
      if (!(error instanceof DiskError)) throw error;
      // Whoever reads it is told the same. Of its bytes nothing is known.
      if (this.#isStill()) logger.error("a closed segment cannot be opened", { path, error });
    } finally {
      this.#segment.release();
    }
    return this.#badRanges;
  }

  async #scrub(file: DiskFile): Promise<void> {
    let place: Place = { position: 0, offset: this.#segment.baseOffset };
    for (;;) {
      const found = await this.#breakAfter(file, place);
      if (found === null || !this.#isStill()) return;
      this.#badRanges += 1;
      const isHopeless = this.#badRanges >= FAULTS_MAX;
      const next = isHopeless ? null : await this.#goodAgain(file, found);
      // It may have been removed or cut while the next good batch was looked for: then the fault is nobody's.
      if (!this.#isStill()) return;
      this.#tell(found, next?.offset ?? this.#endOffset, isHopeless);
      if (next === null) return;
      place = next;
    }
  }

  /** The catalogue has it, as it was when the scrub began. */
  #isStill(): boolean {
    return (
      this.#log.failure === null &&
      this.#segment.sizeBytes === this.#sizeBytes &&
      endOf(this.#log, this.#segment) === this.#endOffset
    );
  }

  #tell({ fault, position, firstOffset }: Break, nextOffset: Offset, isHopeless: boolean): void {
    const path = this.#segment.path(".log");
    const rest = isHopeless ? ", one of many: the rest of the segment is not looked at" : "";
    this.#options.logger.error("a closed segment is broken", { path, position, offset: firstOffset, fault });
    const why = `${path} position ${position} offset ${firstOffset}: ${fault}${rest}`;
    this.#log.quarantine({ firstOffset, nextOffset, why });
  }

  // --- Reading --------------------------------------------------------------------------------------------------------

  /** Null where all is well from there to the end. */
  async #breakAfter(file: DiskFile, from: Place): Promise<Break | null> {
    // The last two good batches' beginnings: a batch whose own offset is wrong is noticed at the next one.
    let last = from;
    let current = from;
    const reading = { isFailed: false };
    const paced = {
      read: async (into: Uint8Array, position: number): Promise<number> => {
        await this.#spend(into.length);
        try {
          return await file.read(into, position);
        } catch (error) {
          reading.isFailed = error instanceof DiskError;
          throw error;
        }
      },
    };
    try {
      const end = await scanBatches(paced, {
        from: from.position,
        to: this.#sizeBytes,
        nextOffset: from.offset,
        isCrcChecked: true,
        chunkBytes: CHUNK_BYTES,
        visit: (batch, position) => {
          last = current;
          current = { position: position + batch.sizeBytes, offset: (batch.lastOffset + 1) as Offset };
        },
      });
      if (end.fault === null) {
        return end.nextOffset <= this.#endOffset ? null : misplaced(last);
      }
      const isCulpritBefore = end.fault === "bad-offset" && (await this.#baseAt(file, current)) > last.offset;
      if (isCulpritBefore) return misplaced(last);
      return { fault: end.fault, position: current.position, firstOffset: current.offset };
    } catch (error) {
      if (!reading.isFailed) throw error;
      return { fault: "unreadable", position: current.position, firstOffset: current.offset };
    }
  }

  async #baseAt(file: DiskFile, { position }: Place): Promise<number> {
    const good = await this.#batchAt(file, position);
    return good?.offset ?? -1;
  }

  /** The next place at which a batch is whole: where the bad one says that it ends, or where the index knows of one. */
  async #goodAgain(file: DiskFile, { position, firstOffset }: Break): Promise<Place | null> {
    const claimed = await this.#claimedEnd(file, position);
    if (claimed === this.#sizeBytes) return null;
    const isAfter = (place: Place | null): place is Place =>
      place !== null && place.offset > firstOffset && place.offset < this.#endOffset;
    const next = claimed === null ? null : await this.#batchAt(file, claimed);
    if (isAfter(next)) return next;
    for (const candidate of await this.#indexedAfter(position)) {
      const found = await this.#batchAt(file, candidate);
      if (isAfter(found)) return found;
    }
    return null;
  }

  async #claimedEnd(file: DiskFile, position: number): Promise<number | null> {
    let end: number | null = null;
    await this.#scanOne(file, position, false, (sizeBytes) => {
      end = position + sizeBytes;
    });
    return end;
  }

  /** A whole batch that begins there, or null. */
  async #batchAt(file: DiskFile, position: number): Promise<Place | null> {
    let offset: Offset | null = null;
    await this.#scanOne(file, position, true, (_, baseOffset) => {
      offset = baseOffset;
    });
    return offset === null ? null : { position, offset };
  }

  async #scanOne(
    file: DiskFile,
    position: number,
    isCrcChecked: boolean,
    visit: (sizeBytes: number, baseOffset: Offset) => void,
  ): Promise<void> {
    await this.#spend(Math.max(0, Math.min(CHUNK_BYTES, this.#sizeBytes - position)));
    let isFirst = true;
    try {
      await scanBatches(file, {
        from: position,
        to: this.#sizeBytes,
        nextOffset: 0 as Offset,
        isCrcChecked,
        chunkBytes: CHUNK_BYTES,
        visit: ({ sizeBytes, baseOffset }) => {
          if (!isFirst) return false;
          isFirst = false;
          visit(sizeBytes, baseOffset as Offset);
          return true;
        },
      });
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
    }
  }

  /** Where batches begin that have an entry in the offset index. Its bytes are only believed where a whole batch is found there. */
  async #indexedAfter(position: number): Promise<number[]> {
    const { disk } = this.#options;
    const path = this.#segment.path(".index");
    const positions: number[] = [];
    try {
      if ((await disk.stat(path)) === null) return positions;
      const bytes = await disk.readFile(path);
      for (let at = 0; at + OFFSET_ENTRY_BYTES <= bytes.length; at += OFFSET_ENTRY_BYTES) {
        const candidate = bytes.readInt32BE(at + 4);
        if (candidate > (positions.at(-1) ?? position)) positions.push(candidate);
      }
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
    }
    return positions;
  }
}

/** The batch there is whole, and lies at an offset that it cannot have. */
function misplaced({ position, offset }: Place): Break {
  return { fault: "bad-offset", position, firstOffset: offset };
}

/** Where a closed segment ends; null where the log does not have it any more. */
function endOf(log: PartitionLog, segment: Segment): Offset | null {
  const segments = log.segments();
  const index = segments.indexOf(segment.baseOffset);
  return segments.at(index) === segment ? (segments.at(index + 1)?.baseOffset ?? null) : null;
}
