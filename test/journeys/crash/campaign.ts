import { InlineWorkers } from "@millrace/base/inline-workers";
import { nodeWorld } from "@millrace/base/node/node-world";
import { Prng } from "@millrace/base/prng";
import type { Disk, World } from "@millrace/base/world";
import { startBroker } from "@millrace/broker/broker";
import { FramePool } from "@millrace/broker/network/frame-pool";
import { RecordingDisk } from "@millrace/simulator/recording-disk";
import { SeededRandom } from "@millrace/simulator/seeded-random";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { SimulatedNetwork } from "@millrace/simulator/simulated-network";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { installNodeAccelerators } from "kafka-protocol-ts/node";
import { LogBook } from "../fixture.ts";
import { RawClient } from "../raw-client.ts";
import { Expectation } from "./expectation.ts";
import { inspect } from "./inspection.ts";
import type { Violation } from "./inspection.ts";
import type { Mark } from "./marks.ts";
import { SlowDisk } from "./slow-disk.ts";
import { Workload } from "./workload.ts";

export interface CampaignOptions {
  readonly seed: number;
  /** How many crashes are tried. */
  readonly points: number;
  /** Requests of each producer, in each of two sessions. */
  readonly requests?: number;
  /** A directory of the real disk, for a run in real time over TCP; without it disk, clock and network are simulated. */
  readonly directory?: string;
  /** A fault that is built in: the campaign has to find it. */
  readonly plant?: (recording: RecordingDisk<Mark>) => void;
  readonly config?: Readonly<Record<string, string>>;
  /** Stop when so many crashes have gone wrong. */
  readonly failuresMax?: number;
}

export interface CampaignReport {
  readonly points: number;
  /** Of these, how many crashed a second time while they recovered. */
  readonly secondCrashes: number;
  readonly events: number;
  readonly marks: Readonly<Record<string, number>>;
  readonly failures: readonly CrashFailure[];
}

export interface CrashFailure {
  readonly position: number;
  /** Where in the recovery the power went a second time; null where it did not. */
  readonly secondPosition: number | null;
  readonly violations: readonly Violation[];
}

/**
 * Records what a real broker does to its disk while clients are at work, takes the power away at many points, starts the
 * real broker on what each of them leaves, and checks that everything is there that clients had been told by then. Every
 * fourth time the power goes again while the broker recovers or has just recovered.
 */
export async function crashCampaign(options: CampaignOptions): Promise<CampaignReport> {
  installNodeAccelerators();
  const prng = new Prng(options.seed);
  const root = options.directory ?? "/data";
  const config: Readonly<Record<string, string>> = {
    listeners: "PLAINTEXT://127.0.0.1:0",
    "log.dirs": root,
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "2",
    "millrace.unsynced.bytes.max": `${prng.pick([65_536, 262_144, 67_108_864])}`,
    // None, one that changes its files all the time, and the usual one.
    "millrace.journal.bytes": `${prng.pick([0, 262_144, 134_217_728])}`,
    "log.retention.check.interval.ms": options.directory === undefined ? "5000" : "200",
    "metadata.log.max.record.bytes.between.snapshots": "3000",
    ...options.config,
  };
  const run = { root, config, seed: options.seed, prng: prng.fork(), requests: options.requests ?? 40 };
  const recorded =
    options.directory === undefined ? await recordSimulated(run, options.plant) : await recordReal(run, options.plant);
  return tryCrashes({ ...recorded, root, config }, prng.fork(), options);
}

// --- Recording -------------------------------------------------------------------------------------------------------

interface Run {
  readonly root: string;
  readonly config: Readonly<Record<string, string>>;
  readonly seed: number;
  readonly prng: Prng;
  readonly requests: number;
}

interface Recorded {
  readonly recording: RecordingDisk<Mark>;
  readonly endMs: number;
}

type Plant = CampaignOptions["plant"];

async function recordSimulated(run: Run, plant: Plant): Promise<Recorded> {
  const clock = new VirtualClock();
  const slow = new SlowDisk(new SimulatedDisk({ clock }), { clock, prng: run.prng.fork(), syncMsMax: 12 });
  const recording = await driven(clock, RecordingDisk.over<Mark>(slow, run.root));
  plant?.(recording);
  const world: World = {
    clock,
    disk: recording,
    network: new SimulatedNetwork({ clock }),
    random: new SeededRandom(run.seed),
    workers: new InlineWorkers(),
  };
  await driven(clock, work(run, world, recording, { thinkMsMax: 40, idleMs: 8_000 }));
  return { recording, endMs: clock.now() };
}

async function recordReal(run: Run, plant: Plant): Promise<Recorded> {
  const real = nodeWorld();
  const recording = await RecordingDisk.over<Mark>(real.disk, run.root);
  plant?.(recording);
  await work(run, { ...real, disk: recording }, recording, { thinkMsMax: 4, idleMs: 100 });
  await real.workers.close();
  return { recording, endMs: real.clock.now() };
}

/** Two sessions of clients, and a stop in between and at the end. */
async function work(
  run: Run,
  world: World,
  recording: RecordingDisk<Mark>,
  pace: { readonly thinkMsMax: number; readonly idleMs: number },
): Promise<void> {
  const { prng, requests, config } = run;
  const workload = new Workload({
    ...{ prng, requests, clock: world.clock },
    ...pace,
    mark: (mark) => recording.mark(mark),
  });
  for (let session = 0; session < 2; session++) {
    const log = new LogBook();
    const framePool = new FramePool({ isOverwriting: true });
    const broker = await startBroker({ config, world, logger: log, framePool });
    try {
      await workload.session(async () => RawClient.connect(broker.address, { network: world.network }));
    } catch (error) {
      throw new Error(`the recorded run failed: ${String(error)}\n${log.text(20)}`, { cause: error });
    } finally {
      await broker.stop();
    }
  }
}

/** Moves virtual time as long as the work needs it. */
async function driven<T>(clock: VirtualClock, work: Promise<T>): Promise<T> {
  let isDone = false;
  const watched = work.finally(() => {
    isDone = true;
  });
  watched.catch(() => {});
  await clock.runUntil(() => isDone, { withinMs: 24 * 3_600_000 });
  return watched;
}

// --- Crashes ---------------------------------------------------------------------------------------------------------

interface Recording extends Recorded {
  readonly root: string;
  readonly config: Readonly<Record<string, string>>;
}

async function tryCrashes(run: Recording, prng: Prng, options: CampaignOptions): Promise<CampaignReport> {
  const { recording } = run;
  const failures: CrashFailure[] = [];
  const positions = crashPositions(recording, prng, options.points);
  let points = 0;
  let secondCrashes = 0;
  for (const { position, disk } of recording.powerLosses(positions, prng.fork())) {
    points++;
    const crash = new Crash(run, position, prng.fork());
    const isTwice = points % 4 === 0;
    if (isTwice) secondCrashes++;
    const failure = isTwice ? await crash.recoverTwice(disk) : await crash.recover(disk);
    if (failure !== null) failures.push(failure);
    if (failures.length >= (options.failuresMax ?? 5)) break;
  }
  const marks = Object.fromEntries(
    [...Map.groupBy(recording.marks, ({ label }) => label.kind)].map(([kind, some]) => [kind, some.length]),
  );
  return { points, secondCrashes, events: recording.position, marks, failures };
}

/** Half of them anywhere, half at the very moment in which a client was told something: that is when most is promised. */
function crashPositions(recording: RecordingDisk<Mark>, prng: Prng, count: number): readonly number[] {
  const told = recording.marks.filter(({ label }) => !label.kind.endsWith("ing")).map(({ position }) => position);
  const positions = Array.from({ length: count }, (_, index) =>
    index % 2 === 0 ? prng.between(0, recording.position) : prng.pick(told),
  );
  return positions.sort((a, b) => a - b);
}

const firstInspectorBatch = 1_000_000;

class Crash {
  readonly #run: Recording;
  readonly #position: number;
  readonly #prng: Prng;

  constructor(run: Recording, position: number, prng: Prng) {
    this.#run = run;
    this.#position = position;
    this.#prng = prng;
  }

  async recover(disk: Disk): Promise<CrashFailure | null> {
    const marks = this.#marks();
    const violations = await this.#inspect(disk, marks, { firstBatch: firstInspectorBatch });
    return this.#failure(null, violations);
  }

  async recoverTwice(disk: Disk): Promise<CrashFailure | null> {
    const before = this.#marks();
    const recording = await RecordingDisk.over<Mark>(disk, this.#run.root);
    const violations = await this.#inspect(recording, before, {
      firstBatch: firstInspectorBatch,
      mark: (mark) => recording.mark(mark),
    });
    if (violations.length > 0) return this.#failure(null, violations);
    const position = this.#prng.between(0, recording.position);
    const after = [...before, ...recording.marksUntil(position).map(({ label }) => label)];
    const again = recording.afterPowerLoss(this.#prng, position);
    return this.#failure(position, await this.#inspect(again, after, { firstBatch: 2 * firstInspectorBatch }));
  }

  #marks(): readonly Mark[] {
    return this.#run.recording.marksUntil(this.#position).map(({ label }) => label);
  }

  #inspect(
    disk: Disk,
    marks: readonly Mark[],
    options: { readonly firstBatch: number; readonly mark?: (mark: Mark) => void },
  ): Promise<readonly Violation[]> {
    const { root, config, endMs } = this.#run;
    const expected = new Expectation(marks);
    return inspect({ disk, root, config, expected, seed: this.#prng.uint32(), startMs: endMs, ...options });
  }

  #failure(secondPosition: number | null, violations: readonly Violation[]): CrashFailure | null {
    return violations.length === 0 ? null : { position: this.#position, secondPosition, violations };
  }
}
