import { Prng } from "@millrace/base/prng";
import type { Disk } from "@millrace/base/world";
import { RecordingDisk } from "@millrace/simulator/recording-disk";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import type { LogConfig } from "../src/log-config.ts";
import type { PartitionLog } from "../src/log.ts";
import type { Offset } from "../src/types.ts";
import { Bench, readAll, smallRoom, topicIdOf, tryAppend, values, withoutLocks } from "./support.ts";
import type { BatchInput } from "./support.ts";

/*
 * R1: the power is lost at any moment, and what was promised is there. The recording disk knows what was synced; each image
 * is that, and of the rest a random subset of pages, sizes and names.
 */

/** What somebody was told, and what may no longer be expected. */
export type Promised =
  | {
      readonly kind: "appended";
      readonly topic: string;
      readonly batch: StoryBatch;
      readonly firstOffset: number;
    }
  /** The log's start moved: nothing before it comes back. */
  | { readonly kind: "started"; readonly topic: string; readonly offset: number }
  /** A cut begins: nothing from there on is promised any more; and it ended: nothing of it comes back. */
  | { readonly kind: "cutting"; readonly topic: string; readonly offset: number }
  | { readonly kind: "cut"; readonly topic: string; readonly offset: number; readonly gone: ReadonlySet<string> };

export const topics: readonly string[] = ["plain", "retained", "trimmed", "cut", "compacted"];

const config = { "segment.bytes": 24 * 1024, "index.interval.bytes": 1024, "file.delete.delay.ms": 100 };
const retained = { ...config, "retention.bytes": 30 * 1024, "retention.ms": -1 };
const compacted = { ...config, "cleanup.policy": ["compact"] };
const configOf = (topic: string): Partial<LogConfig> =>
  topic === "retained" ? retained : topic === "compacted" ? compacted : { ...config, preallocate: topic !== "plain" };

type StoryBatch = Omit<BatchInput, "records"> & { readonly records: readonly string[] };

/** Records of the compacted topic have keys, of which there are few. */
function keyOf(value: string): string {
  return `key-${Number(value.split(":")[0]) % 7}`;
}

function inputOf(topic: string, batch: StoryBatch): BatchInput {
  if (topic !== "compacted") return batch;
  const timestamp = Date.UTC(2026, 0, 1);
  const records = batch.records.map((value) => ({
    timestamp,
    key: Buffer.from(keyOf(value)),
    value: Buffer.from(value),
  }));
  return { ...batch, records };
}
/** Small files, so that they change places all the time; and none, where segments are synced themselves. */
export type JournalBytes = 0 | 131_072;
const baseLimits = {
  unsyncedBytesMax: 32 * 1024,
  eagerBytes: 4096,
  checkpointBytesMin: 1,
  checkpointIntervalMs: 50,
  retentionIntervalMs: 70,
};

/** Appends of all sizes to a few logs, with rolls, retention, cuts, checkpoints, slow syncs, clean stops and deaths of the process. */
export class Story {
  readonly disk: RecordingDisk<Promised>;
  readonly #prng: Prng;
  readonly #clock: VirtualClock;
  readonly #shared: Disk;
  readonly #journalBytes: JournalBytes;
  #bench!: Bench;
  #serial = 0;
  #epoch = 0;
  /** A slow disk: two groups get to be written and not synced. */
  #releaseSyncs: (() => void) | null = null;
  readonly #waiting = new Map<string, (Extract<Promised, { kind: "appended" }> & { readonly nextOffset: number })[]>();

  private constructor(prng: Prng, clock: VirtualClock, disk: RecordingDisk<Promised>, journalBytes: JournalBytes) {
    this.#journalBytes = journalBytes;
    this.#prng = prng;
    this.#clock = clock;
    this.disk = disk;
    this.#shared = withoutLocks(disk);
  }

  static async live(
    prng: Prng,
    options: { readonly journalBytes: JournalBytes; readonly isLying?: boolean; readonly steps?: number },
  ): Promise<Story> {
    const clock = new VirtualClock();
    const inner = new SimulatedDisk({ clock });
    await inner.makeDirectory("/data");
    const story = new Story(prng, clock, await RecordingDisk.over<Promised>(inner, "/data"), options.journalBytes);
    story.disk.faults.areSyncsLies = options.isLying ?? false;
    await story.#start();
    for (const topic of topics) await story.#bench.create(topic, configOf(topic));
    story.#watch();
    for (let step = 0; step < (options.steps ?? 60); step++) await story.#step();
    story.#releaseSyncs?.();
    await clock.settle();
    return story;
  }

  async #start(): Promise<void> {
    const room = this.#prng.chance(0.5) ? { room: smallRoom } : {};
    const limits = { ...baseLimits, journalBytes: this.#journalBytes, ...room };
    const seed = this.#prng.between(1, 1e9);
    this.#bench = await Bench.open({ disk: this.#shared, clock: this.#clock, limits, configOf, seed });
    this.#waiting.clear();
    // A producer that was not answered begins anew.
    this.#epoch += 1;
    this.#watch();
  }

  #watch(): void {
    for (const log of this.#bench.directory.logs()) {
      log.onProgress = () => this.#promise(log);
    }
  }

  #promise(log: PartitionLog): void {
    const queue = this.#waiting.get(log.topic) ?? [];
    while ((queue[0]?.nextOffset ?? Infinity) <= log.durableOffset) {
      const appended = queue.shift();
      if (appended !== undefined) this.disk.mark(appended);
    }
  }

  async #step(): Promise<void> {
    const prng = this.#prng;
    const burst = prng.between(1, 6);
    for (let count = 0; count < burst; count++) this.#append(this.#bench.log(prng.pick(topics)));
    if (this.#releaseSyncs === null && prng.chance(0.3)) this.#releaseSyncs = this.disk.faults.holdSyncs();
    if (prng.chance(0.7)) await this.#clock.settle();
    if (this.#releaseSyncs !== null) {
      if (prng.chance(0.1)) void this.#bench.directory.checkpoint().catch(() => {});
      if (prng.chance(0.4)) await this.#letSyncsGo();
    }
    if (this.#releaseSyncs !== null) return;
    if (prng.chance(0.2)) await this.#clock.advance(prng.between(1, 120));
    if (prng.chance(0.05)) await this.#trim(this.#bench.log("trimmed"));
    if (prng.chance(0.05)) await this.#cut(this.#bench.log("cut"));
    if (prng.chance(0.1)) await this.#compact(this.#bench.log("compacted"));
    if (prng.chance(0.1)) this.#noteStart(this.#bench.log("retained"));
    if (prng.chance(0.05)) await this.#restart();
  }

  #append(log: PartitionLog): void {
    const { topic } = log;
    const records = Array.from(
      { length: this.#prng.between(1, 3) },
      () => `${this.#serial++}:${"x".repeat(this.#prng.between(0, 3000))}`,
    );
    const producerId = topics.indexOf(topic);
    const last = [...log.producers()].find((entry) => entry.producerId === producerId && entry.epoch === this.#epoch);
    const baseSequence = (last?.lastSequence ?? -1) + 1;
    const batch = { records, producerId, producerEpoch: this.#epoch, baseSequence };
    const result = tryAppend(log, inputOf(topic, batch));
    if (!result.ok) throw new Error(result.failure.message);
    const queue = this.#waiting.get(topic) ?? [];
    const { firstOffset, nextOffset } = result.value;
    queue.push({ kind: "appended", topic, batch, firstOffset, nextOffset });
    this.#waiting.set(topic, queue);
  }

  async #letSyncsGo(): Promise<void> {
    const isKilled = this.#prng.chance(0.3);
    // The process dies while syncs are under way: what they were for is with the system, and nobody was told.
    let isDying = isKilled;
    if (isKilled) for (let sync = 0; sync < 64; sync++) this.disk.faults.failNextSync({ matches: () => isDying });
    this.#releaseSyncs?.();
    this.#releaseSyncs = null;
    if (!isKilled) return;
    await this.#clock.settle();
    isDying = false;
    await this.#start();
  }

  async #trim(log: PartitionLog): Promise<void> {
    const offset = this.#prng.between(log.logStartOffset, log.durableOffset);
    const moved = await this.#settled(log.deleteRecordsBefore(offset as Offset));
    if (moved.ok) this.disk.mark({ kind: "started", topic: log.topic, offset });
  }

  /** What is appended meanwhile, and the end of the process, come into the middle of it. */
  async #compact(log: PartitionLog): Promise<void> {
    log.configure({ ...log.config, "millrace.compact.request": this.#bench.directory.compactedRequest(log) + 1 });
    this.#bench.directory.wakeCleaner();
    await this.#clock.advance(0);
  }

  #noteStart(log: PartitionLog): void {
    this.disk.mark({ kind: "started", topic: log.topic, offset: log.logStartOffset });
  }

  async #cut(log: PartitionLog): Promise<void> {
    await this.#clock.settle();
    const offset = this.#prng.between(Math.max(log.logStartOffset, log.logEndOffset - 12), log.logEndOffset);
    const before = values(await readAll(log));
    this.disk.mark({ kind: "cutting", topic: log.topic, offset });
    await this.#settled(log.truncateTo(offset as Offset));
    const kept = new Set(values(await readAll(log)));
    const gone = new Set(before.filter((value) => !kept.has(value)));
    this.disk.mark({ kind: "cut", topic: log.topic, offset: log.logEndOffset, gone });
    // The broker whose log was cut does not lead: its producers begin anew elsewhere.
    this.#epoch += 1;
  }

  async #settled<T>(work: Promise<T>): Promise<T> {
    await this.#clock.settle();
    return work;
  }

  async #restart(): Promise<void> {
    await this.#bench.directory.close();
    await this.#start();
  }
}

/** What is missing or wrong on an image, in words; null when nothing is. */
export async function judge(
  image: Disk,
  promised: readonly Promised[],
  { journalBytes, counts }: { readonly journalBytes: JournalBytes; readonly counts?: CrashCounts | undefined },
): Promise<string | null> {
  const limits = { ...baseLimits, journalBytes };
  const bench = await Bench.open({ disk: image, limits, configOf, seed: 2 });
  if (counts !== undefined) {
    counts.crashes += 1;
    counts.promises += promised.length;
    counts.replayedBytes += bench.report.replayedBytes;
    counts.recoveredBytes += bench.report.recoveredBytes;
    if (bench.report.cutBytes > 0) counts.imagesWithCuts += 1;
  }
  const [offline] = bench.report.offline;
  if (offline !== undefined) return `offline: ${offline.message}`;
  for (const topic of topics) {
    const mine = promised.filter((each) => each.topic === topic);
    const log = bench.directory.find(topic, 0, topicIdOf(topic));
    if (log === undefined) {
      if (mine.length > 0) return `log ${topic} is missing`;
      continue;
    }
    const wrong = (await judgeLog(log, mine, counts)) ?? (await judgeGoingOn(bench, log));
    if (wrong !== null) return `log ${topic}: ${wrong}`;
  }
  await bench.directory.close();
  const again = await Bench.open({ disk: image, limits, configOf });
  return again.report.isClean && again.report.offline.length === 0
    ? null
    : "the start after the recovery was not clean";
}

/** Of each key the newest record that was promised is there, or a newer one; what is there is what was written. */
async function judgeCompacted(
  log: PartitionLog,
  promised: readonly Promised[],
  counts: CrashCounts | undefined,
): Promise<string | null> {
  const found = await readAll(log, log.logStartOffset, 8192);
  if (counts !== undefined && found.length < log.logEndOffset - log.logStartOffset) counts.compactedImages += 1;
  if (found.some(({ offset }, index) => index > 0 && offset <= (found[index - 1]?.offset ?? -1)))
    return "its offsets do not rise";
  const newest = new Map(found.map(({ key, offset }) => [String(key), offset]));
  const byOffset = new Map(found.map(({ offset, value }) => [offset, String(value)]));
  const appended = promised.filter((each) => each.kind === "appended");
  for (const { batch, firstOffset } of appended) {
    for (const [index, value] of batch.records.entries()) {
      const offset = firstOffset + index;
      const there = byOffset.get(offset);
      if (there !== undefined && there !== value) return `offset ${offset} holds something else`;
      if ((newest.get(keyOf(value)) ?? -1) < offset) return `offset ${offset} is lost, and its key has nothing newer`;
    }
  }
  const last = appended.at(-1);
  return last === undefined ? null : judgeRetry(log, last);
}

async function judgeLog(
  log: PartitionLog,
  promised: readonly Promised[],
  counts: CrashCounts | undefined,
): Promise<string | null> {
  if (log.topic === "compacted") return judgeCompacted(log, promised, counts);
  const records = await readAll(log, log.logStartOffset, 8192);
  const byOffset = new Map(records.map((record) => [record.offset, record.value?.toString()]));
  if (records.some((record, index) => record.offset !== log.logStartOffset + index)) return "there is a hole";
  if (log.logStartOffset + records.length !== log.logEndOffset)
    return `it ends at ${log.logEndOffset} and holds ${records.length}`;
  let expected: Extract<Promised, { kind: "appended" }>[] = [];
  let gone: ReadonlySet<string> = new Set();
  for (const each of promised) {
    if (each.kind === "appended") expected.push(each);
    else if (each.kind === "started" && log.logStartOffset < each.offset)
      return `its start went back below ${each.offset}`;
    else if (each.kind === "cutting")
      expected = expected.filter((one) => one.firstOffset + one.batch.records.length <= each.offset);
    else if (each.kind === "cut") gone = gone.union(each.gone);
  }
  const back = [...byOffset.values()].find((value) => value !== undefined && gone.has(value));
  if (back !== undefined) return `${back.slice(0, 10)} was cut off and came back`;
  for (const { batch, firstOffset } of expected) {
    for (const [index, value] of batch.records.entries()) {
      const offset = firstOffset + index;
      if (offset >= log.logStartOffset && byOffset.get(offset) !== value) return `offset ${offset} is lost`;
    }
  }
  const last = expected.at(-1);
  return last === undefined || last.firstOffset < log.logStartOffset ? null : judgeRetry(log, last);
}

/** A producer that sends its last batch once more gets the first offset again, or is refused; it never doubles the batch. */
function judgeRetry(log: PartitionLog, last: Extract<Promised, { kind: "appended" }>): string | null {
  const result = tryAppend(log, inputOf(log.topic, last.batch));
  if (!result.ok)
    return ["sequence-gap", "stale-producer-epoch"].includes(result.failure.kind) ? null : result.failure.message;
  if (!result.value.isDuplicate) return `the batch at offset ${last.firstOffset} was taken twice`;
  return result.value.firstOffset === last.firstOffset
    ? null
    : `a duplicate of ${last.firstOffset} was answered with ${result.value.firstOffset}`;
}

async function judgeGoingOn(bench: Bench, log: PartitionLog): Promise<string | null> {
  const result = tryAppend(log, { records: ["after"] });
  if (!result.ok) return result.failure.message;
  await bench.clock.settle();
  const [found] = values(await readAll(log, result.value.firstOffset));
  return found === "after" ? null : "it does not go on";
}

/** What the images of many crashes were like: a test that never sees a torn tail proves nothing. */
export interface CrashCounts {
  crashes: number;
  promises: number;
  replayedBytes: number;
  recoveredBytes: number;
  imagesWithCuts: number;
  /** In which compaction has taken something. */
  compactedImages: number;
}

export function noCrashes(): CrashCounts {
  return { crashes: 0, promises: 0, replayedBytes: 0, recoveredBytes: 0, imagesWithCuts: 0, compactedImages: 0 };
}

/** Lives through a story and judges what crashes at random moments leave of it. Gives what went wrong, each with the way back to it. */
export async function crashSeed(seed: number, crashes: number, counts?: CrashCounts): Promise<string[]> {
  const prng = new Prng(seed);
  const journalBytes = seed % 3 === 0 ? 0 : 131_072;
  const { disk } = await Story.live(prng, { journalBytes });
  // Half of the moments are those at which something was written and not yet synced.
  const afterWrites = disk.events.flatMap(({ kind }, index) => (kind === "write" ? [index + 1] : []));
  const positions = Array.from({ length: crashes }, (_, index) =>
    index % 2 === 0 ? prng.pick(afterWrites) : prng.between(0, disk.position),
  ).sort((a, b) => a - b);
  const found: string[] = [];
  for (const { position, disk: image } of disk.powerLosses(positions, prng)) {
    const promised = disk.marksUntil(position).map(({ label }) => label);
    const wrong = await judge(image, promised, { journalBytes, counts }).catch(
      (error: unknown) => `threw ${String(error)}`,
    );
    if (wrong !== null) found.push(`seed ${seed}, crash after event ${position} of ${disk.position}: ${wrong}`);
  }
  return found;
}
