import { assert } from "@millrace/base/assert";
import { Prng } from "@millrace/base/prng";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import type { RottenBit } from "@millrace/simulator/simulated-disk";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { encodeEndTransactionMarker } from "kafka-protocol-ts/records/control";
import type { Record } from "kafka-protocol-ts/records/record";
import type { LogConfig } from "../src/log-config.ts";
import type { PartitionLog } from "../src/log.ts";
import type { LeaderEpoch, Offset } from "../src/types.ts";
import { verifyDirectory } from "../src/verify.ts";
import type { Problem } from "../src/verify.ts";
import { committedRecords } from "./committed.ts";
import { append, Bench, compact, durable, readAll, withoutLocks } from "./support.ts";

/*
 * One bit of a log directory turns over while nobody has it open, in any of its files. Either nobody sees anything of it, or it is
 * named: by the start that refuses the directory or a log, by the read of the batch, or, of what no file's format protects, by
 * `millrace verify`.
 */

const config: Partial<LogConfig> = { "segment.bytes": 6000, "index.interval.bytes": 500 };
const compacted: Partial<LogConfig> = { ...config, "cleanup.policy": ["compact"] };
const configOf = (topic: string): Partial<LogConfig> => (topic === "compacted" ? compacted : config);
const topics: readonly string[] = ["plain", "transactions", "compacted"];
const start = Date.UTC(2026, 0, 1);

/** How the process ended that had the directory open. */
export type Ending = "clean" | "killed" | "killed without a journal";
export const endings: readonly Ending[] = ["clean", "killed", "killed without a journal"];
const limitsOf = (ending: Ending) => ({
  journalBytes: ending === "killed without a journal" ? 0 : 131_072,
  checkpointBytesMin: 1,
  checkpointIntervalMs: 1e9,
});

/** What a log answers. */
interface Answers {
  readonly range: string;
  readonly records: readonly string[];
  readonly committed: readonly string[];
  readonly byTime: readonly string[];
  readonly epochs: readonly string[];
  readonly producers: readonly string[];
}
export interface Scene {
  readonly ending: Ending;
  readonly disk: SimulatedDisk;
  readonly truth: ReadonlyMap<string, Answers>;
}

/** A directory with something of everything, two thirds of which lie below the recovery points. */
export async function makeScene(ending: Ending): Promise<Scene> {
  const clock = new VirtualClock();
  const disk = new SimulatedDisk({ clock });
  const bench = await Bench.open({ disk: withoutLocks(disk), clock, limits: limitsOf(ending), configOf });
  for (const topic of topics) await bench.create(topic, configOf(topic));
  const write = async (round: number): Promise<void> => {
    writePlain(bench.log("plain"), round);
    writeTransactions(bench.log("transactions"), round);
    writeKeys(bench.log("compacted"), round);
    for (const topic of topics) await durable(bench.log(topic));
  };
  for (let round = 0; round < 4; round++) await write(round);
  await compact(bench, bench.log("compacted"));
  await bench.log("plain").deleteRecordsBefore(3 as Offset);
  await clock.advance(100_000);
  await bench.directory.checkpoint();
  for (let round = 4; round < 6; round++) await write(round);
  if (ending === "clean") await bench.directory.close();
  const image = disk.afterProcessDeath();
  const truth = new Map<string, Answers>();
  const again = await open(image.afterProcessDeath(), ending);
  for (const topic of topics) truth.set(topic, await answersOf(again.log(topic)));
  return { ending, disk: image, truth };
}

function writePlain(log: PartitionLog, round: number): void {
  log.beginEpoch(round as LeaderEpoch);
  for (let index = 0; index < 8; index++) {
    const timestamp = start + round * 10_000 + index * 1000;
    const batch = { timestamp, producerId: 7, producerEpoch: 0, baseSequence: (round * 8 + index) * 2 };
    append(
      log,
      { ...batch, records: [`${round}.${index}`, `${round}.${index}: ${"x".repeat(300)}`] },
      {
        leaderEpoch: round as LeaderEpoch,
      },
    );
  }
}

function writeTransactions(log: PartitionLog, round: number): void {
  for (let index = 0; index < 6; index++) {
    const producerId = index % 3;
    const baseSequence = (round * 2 + Math.floor(index / 3)) * 2;
    const producer = { producerId, producerEpoch: 0, isTransactional: true, timestamp: start + round * 10_000 };
    append(log, { ...producer, baseSequence, records: [`${round}.${index}`, "y".repeat(200)] });
    if (index % 3 !== 2) continue;
    for (const ended of [1, 0, 2]) {
      const isCommit = (round + ended) % 2 === 0;
      const marker = { isCommit, coordinatorEpoch: 0, producerId: ended, producerEpoch: 0, timestamp: start };
      append(log, encodeEndTransactionMarker(marker), { origin: "coordinator" });
    }
  }
}

function writeKeys(log: PartitionLog, round: number): void {
  for (let index = 0; index < 10; index++) {
    const value = Buffer.from(`${round}.${index}: ${"z".repeat(200)}`);
    append(log, { records: [{ timestamp: start + round * 10_000, key: Buffer.from(`key-${index % 7}`), value }] });
  }
}

function open(disk: SimulatedDisk, ending: Ending): Promise<Bench> {
  return Bench.open({ disk, limits: limitsOf(ending), configOf, seed: 3 });
}

async function answersOf(log: PartitionLog): Promise<Answers> {
  const texts = (records: readonly Record[]): string[] =>
    records.map(({ offset, timestamp, key, value }) => `${offset} ${timestamp} ${String(key)}=${String(value)}`);
  const byTime: string[] = [];
  for (let time = start; time < start + 70_000; time += 3500) {
    const found = await log.recordAtOrAfter(time);
    byTime.push(found.ok ? `${time}: ${found.value?.offset} ${found.value?.timestamp}` : found.failure);
  }
  return {
    range: `${log.logStartOffset}..${log.logEndOffset} ${log.lastStableOffset}`,
    records: texts(await readAll(log, log.logStartOffset, 2048)),
    committed: texts(await committedRecords(log)),
    byTime,
    epochs: Array.from({ length: 6 }, (_, epoch) => JSON.stringify(log.endOffsetForEpoch(epoch))),
    // Of a snapshot the last batch of a producer is known, of a log that was read once more the last five.
    producers: Array.from(log.producers(), (each) => `${each.producerId} ${each.epoch} ${each.lastSequence}`),
  };
}

/** refused: the directory; offline: a log; failed: a read; different: an answer is another one. */
type Consequence = "refused" | "offline" | "failed" | "different";

interface Finding {
  readonly kind: Consequence;
  /** Null where it is the whole directory. */
  readonly topic: string | null;
  /** Of an answer. */
  readonly subject: string | null;
  readonly detail: string;
}

/**
 * What may be seen of a bit, by the file that it lies in; of the others nothing may be. Kafka's formats have no checksum for what
 * is "different" here.
 */
const bounds: readonly {
  readonly file: RegExp;
  readonly consequences: readonly Consequence[];
  readonly subject?: string;
}[] = [
  { file: /\.log$/, consequences: ["failed", "offline"] },
  { file: /\/partition\.metadata$/, consequences: ["failed"] },
  { file: /\/(meta\.properties|millrace\.format)$/, consequences: ["refused"] },
  { file: /\/recovery-point-offset-checkpoint$/, consequences: ["offline"] },
  { file: /\.txnindex$/, consequences: ["different"], subject: "committed" },
  { file: /\/leader-epoch-checkpoint$/, consequences: ["different"], subject: "epochs" },
  { file: /\/log-start-offset-checkpoint$/, consequences: ["different"] },
];

export interface Rot {
  readonly rotten: RottenBit;
  readonly findings: readonly Finding[];
  /** What must not be, in words; null where all is as it should be. */
  readonly wrong: string | null;
}

export async function rot(scene: Scene, seed: number): Promise<Rot> {
  const disk = scene.disk.afterProcessDeath();
  const rotten = disk.rot("/data", new Prng(seed));
  assert(rotten !== null, "there is a file");
  const { problems } = await verifyDirectory(disk.afterProcessDeath(), "/data");
  const findings = await findingsOf(disk, scene);
  const wrong = findings.map((finding) => judge(finding, rotten, scene, problems)).find((each) => each !== null);
  return { rotten, findings, wrong: wrong ?? null };
}

async function findingsOf(disk: SimulatedDisk, { ending, truth }: Scene): Promise<readonly Finding[]> {
  let bench: Bench;
  try {
    bench = await open(disk, ending);
  } catch (error) {
    return [{ kind: "refused", topic: null, subject: null, detail: String(error) }];
  }
  const findings: Finding[] = [];
  for (const topic of topics) {
    const offline = bench.report.offline.find((each) => each.topic === topic);
    if (offline !== undefined) {
      findings.push({ kind: "offline", topic, subject: null, detail: offline.message });
      continue;
    }
    try {
      const answers = Object.entries(await answersOf(bench.log(topic)));
      const expected = truth.get(topic);
      for (const [subject, found] of answers) {
        const detail = difference([found].flat(), [expected?.[subject as keyof Answers] ?? ""].flat());
        if (detail !== null) findings.push({ kind: "different", topic, subject, detail });
      }
    } catch (error) {
      findings.push({ kind: "failed", topic, subject: null, detail: String(error) });
    }
  }
  return findings;
}

function judge(
  { kind, topic, subject, detail }: Finding,
  { path }: RottenBit,
  { ending }: Scene,
  problems: readonly Problem[],
): string | null {
  const text = `${kind} ${topic ?? ""} ${subject ?? ""}: ${detail}`;
  const isOwn = topic === null || path.startsWith(`/data/${topic}-0/`) || !path.includes("-0/");
  if (!isOwn) return `another log: ${text}`;
  const isNamed = problems.some((problem) => problem.path === path);
  // What was not noted as durable yet is a torn tail where it is not whole, and its bytes outside the checksum are believed.
  if (path.endsWith(".log") && kind === "different" && ending !== "clean") return null;
  const bound = bounds.find(({ file }) => file.test(path));
  if (bound === undefined || !bound.consequences.includes(kind)) return text;
  if (bound.subject !== undefined && bound.subject !== subject) return text;
  if (kind === "refused" && !detail.includes("/data")) return `the directory is not named: ${text}`;
  if (kind === "offline" && !detail.includes(nameOf(path))) return `the file is not named: ${text}`;
  const mustBeNamed = kind === "different" && bound.subject !== undefined && ending === "clean";
  return mustBeNamed && !isNamed ? `not found by verify: ${text}` : null;
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function difference(found: readonly string[], expected: readonly string[]): string | null {
  const index = Array.from({ length: Math.max(found.length, expected.length) }, (_, at) => at).find(
    (at) => found[at] !== expected[at],
  );
  return index === undefined ? null : `${found[index]?.slice(0, 60)}, not ${expected[index]?.slice(0, 60)}`;
}
