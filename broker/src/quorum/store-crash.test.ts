import { expect, test } from "vitest";
import { Prng } from "@millrace/base/prng";
import type { Disk, DiskFile } from "@millrace/base/world";
import { RecordingDisk } from "@millrace/simulator/recording-disk";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { carryOut, data, nextCall, openStore, point, stateAfter, told } from "../../test/quorum-store.ts";
import type { Call } from "../../test/quorum-store.ts";
import type { StoredState } from "./store.ts";

/* What fails names its seed: `STORE_SEED=7 npx vitest run --project broker store-crash` brings one back. */

const seedGiven = process.env["STORE_SEED"];

function seeds(count: number): readonly number[] {
  return seedGiven === undefined ? Array.from({ length: count }, (_, index) => index + 1) : [Number(seedGiven)];
}

const frames = [Buffer.from("begin")];
const first: StoredState = { hardState: { term: 0, votedFor: null }, snapshot: point(0, 0), entries: [], frames };

/** What the disk must hold after each call, from before the first on; a mark is set when a call resolves. */
interface Run {
  readonly disk: RecordingDisk<number>;
  readonly states: readonly (StoredState | null)[];
}

async function live(
  prng: Prng,
  { calls, lies = false }: { readonly calls: number; readonly lies?: Lie },
): Promise<Run> {
  const disk = await RecordingDisk.over<number>(new SimulatedDisk(), ".");
  disk.faults.areSyncsLies = lies;
  let { store } = await openStore(disk);
  await store.format(first.snapshot, frames);
  const states: (StoredState | null)[] = [null, first];
  disk.mark(1);
  for (let state = first; states.length < calls;) {
    const call = nextCall(state, prng);
    await carryOut(store, call);
    state = stateAfter(state, call);
    states.push(state);
    disk.mark(states.length - 1);
    const found = { ...store.state, frames: state.frames };
    expect(told(found), "what the store says").toBe(told(state));
    if (prng.chance(0.1)) {
      await store.close();
      const again = await openStore(disk);
      expect(told(again.state), "a start without a crash").toBe(told(state));
      ({ store } = again);
    }
  }
  await store.close();
  return { disk, states };
}

type Lie = boolean | ((path: string) => boolean);

/** Which of the promises a loss of power at some position breaks; null: none. */
async function judge(run: Run, position: number, image: SimulatedDisk, prng: Prng): Promise<string | null> {
  const resolved = run.disk.marksUntil(position).at(-1)?.label ?? 0;
  const allowed = [run.states[resolved] ?? null, run.states[resolved + 1] ?? run.states[resolved] ?? null];
  const where = `at event ${position}, after call ${resolved}`;
  const recorded = prng.chance(0.2) ? await RecordingDisk.over(image, ".") : null;
  try {
    const { store, state } = await openStore(recorded ?? image);
    const found = told(state);
    if (!allowed.some((each) => told(each) === found)) {
      return `${where}: ${found}\nis neither ${allowed.map(told).join("\nnor ")}`;
    }
    // What was found is a promise from now on.
    const dead = image.afterPowerLoss(prng);
    if (told((await openStore(dead)).state) !== found) return `${where}: a second loss of power takes what was found`;
    if (state === null) return null;
    const term = state.hardState.term + 1;
    const entries = [data(state.snapshot.index + state.entries.length + 1, term)];
    const hardState = { term, votedFor: "z" };
    if (!(await store.persist(hardState, entries)).ok) return `${where}: the log does not go on`;
    const after = { ...state, hardState, entries: [...state.entries, ...entries] };
    const again = await openStore(image.afterPowerLoss(prng));
    if (told(again.state) !== told(after)) return `${where}: what was persisted after it is lost`;
    // In the middle of the start, too.
    for (const { disk } of recorded?.powerLosses(Array(recorded.position).keys(), prng) ?? []) {
      const second = told((await openStore(disk)).state);
      if (second !== found && second !== told(after))
        return `${where}: a loss of power in the start takes what was found`;
    }
    return null;
  } catch (error) {
    return `${where}: ${String(error)}`;
  }
}

test.for(seeds(12))(
  "a loss of power anywhere leaves what had resolved, and nothing that was not asked for (seed %i)",
  async (seed) => {
    const prng = new Prng(seed);
    const run = await live(prng, { calls: 25 });
    const wrong: string[] = [];
    for (const { position, disk } of run.disk.powerLosses(Array(run.disk.position + 1).keys(), prng)) {
      const found = await judge(run, position, disk, prng);
      if (found !== null) wrong.push(found);
    }
    expect(wrong, `STORE_SEED=${seed}`).toEqual([]);
  },
);

test.for([
  ["of logs", (path: string) => path.endsWith(".log")],
  ["of what becomes a log", (path: string) => path.endsWith(".log.tmp")],
  ["of what becomes a snapshot", (path: string) => /snapshot\.(?:tmp|part)$/.test(path)],
  ["of names", (path: string) => path === "data/metadata"],
] as const)("the test finds a store that does no sync %s", async ([, lies]) => {
  const wrong: string[] = [];
  for (let seed = 1; seed <= 10 && wrong.length === 0; seed++) {
    const prng = new Prng(seed);
    const run = await live(prng, { calls: 25, lies });
    for (const { position, disk } of run.disk.powerLosses(Array(run.disk.position + 1).keys(), prng)) {
      const found = await judge(run, position, disk, prng);
      if (found !== null) wrong.push(found);
    }
  }
  expect(wrong.length).toBeGreaterThan(0);
});

/** A process that is killed in the middle of anything: what it had asked of the disk is done, its next wish never is. */
class MortalDisk {
  readonly disk: Disk;
  #left: number;
  #died: () => void = () => {};
  readonly death: Promise<"dead"> = new Promise((resolve) => (this.#died = () => resolve("dead")));

  constructor(inner: Disk, operations: number) {
    this.#left = operations;
    this.disk = this.#mortal(inner);
  }

  #mortal<T extends Disk | DiskFile>(inner: T): T {
    return new Proxy(inner, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        return async (...args: readonly unknown[]): Promise<unknown> => {
          if (this.#left-- <= 0) {
            this.#died();
            return new Promise(() => {});
          }
          const result: unknown = await Reflect.apply(value, target, args);
          return name === "open" ? this.#mortal(result as DiskFile) : result;
        };
      },
    });
  }
}

test.for(seeds(24))("what is found after the process died is durable from then on (seed %i)", async (seed) => {
  const prng = new Prng(seed);
  let disk = new SimulatedDisk();
  let state: StoredState | null = null;
  for (let life = 0; life < 60; life++) {
    if (life % 20 === 0) {
      [disk, state] = [new SimulatedDisk(), null];
      // Whoever claims the data directory has made it, and made it durable.
      await disk.makeDirectory("data");
      await disk.syncDirectory(".");
    }
    const mortal = new MortalDisk(disk, prng.between(0, 40));
    let allowed = [told(state)];
    const work = async (): Promise<void> => {
      const { store } = await openStore(mortal.disk);
      for (let calls = 0; calls < 5; calls++) {
        const call: Call | null = state === null ? null : nextCall(state, prng);
        const next: StoredState = state === null || call === null ? first : stateAfter(state, call);
        allowed = [told(state), told(next)];
        if (call === null) await store.format(first.snapshot, frames);
        else await carryOut(store, call);
        state = next;
        allowed = [told(state)];
      }
    };
    await Promise.race([work(), mortal.death]);
    const where = `STORE_SEED=${seed}, life ${life}`;
    // One who only looks, and dies as well.
    const second = new MortalDisk(disk, prng.between(0, 12));
    await Promise.race([openStore(second.disk), second.death]);
    expect(allowed, `${where}, in the start`).toContain(told((await openStore(disk.afterPowerLoss(prng))).state));
    const again = await openStore(disk);
    expect(allowed, where).toContain(told(again.state));
    const image = disk.afterPowerLoss(prng);
    expect(told((await openStore(image)).state), `${where}, without power`).toBe(told(again.state));
    await again.store.close();
    ({ state } = again);
  }
});
