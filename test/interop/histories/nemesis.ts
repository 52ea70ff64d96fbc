import { setTimeout as sleep } from "node:timers/promises";
import type { Prng } from "@millrace/base/prng";
import type { Target } from "../target.ts";
import { sessionTimeoutMs, type Slot } from "./plan.ts";
import type { Worker } from "./worker.ts";

/** The clients' processes that a nemesis has in its hands. */
export interface Cast {
  /** Who works in a place now; none while it is empty. */
  readonly workers: ReadonlyMap<Slot, Worker>;
  /** Another takes the place; who has it is the caller's to end. */
  hire(slot: Slot): Worker;
}

export const faultNames = ["kill broker", "pause broker", "kill worker", "pause worker", "zombie"] as const;
export type FaultName = (typeof faultNames)[number];

/** Done and healed again; tells what it was. */
export type Fault = (cast: Cast, prng: Prng) => Promise<string>;
export type Faults = Readonly<Record<string, Fault>>;

/**
 * What each does, one at a time, until it is healed again. Pauses are now short, so that requests wait, now so long that
 * requests time out and sessions end.
 */
export const brokerFaults = (target: Target): Readonly<Record<"kill broker" | "pause broker", Fault>> => ({
  "kill broker": async (_, prng) => {
    await target.kill();
    const downMs = prng.between(0, 800);
    await sleep(downMs);
    const startedMs = await target.start();
    return `down for ${downMs} ms and ${Math.round(startedMs)} ms of start`;
  },
  "pause broker": async (_, prng) => {
    const pauseMs = pauseOf(prng, 4_500);
    using _frozen = target.freeze();
    await sleep(pauseMs);
    return `${pauseMs} ms`;
  },
});

export const workerFaults: Readonly<Record<"kill worker" | "pause worker" | "zombie", Fault>> = {
  "kill worker": async (cast, prng) => {
    const [slot, worker] = pickWorker(cast, prng);
    await worker.kill();
    const emptyMs = prng.between(0, 1_500);
    await sleep(emptyMs);
    cast.hire(slot);
    return `${worker.name}, ${emptyMs} ms without another`;
  },
  "pause worker": async (cast, prng) => {
    const [, worker] = pickWorker(cast, prng);
    const pauseMs = pauseOf(prng, sessionTimeoutMs + 2_500);
    worker.freeze();
    await sleep(pauseMs);
    worker.thaw();
    return `${worker.name} for ${pauseMs} ms`;
  },
  // While the first is paused a second has its transactional ids; then both are there, and at last the first is killed.
  zombie: async (cast, prng) => {
    const [slot, worker] = pickWorker(cast, prng);
    const [aloneMs, bothMs] = [prng.between(500, 4_000), prng.between(1_000, 4_000)];
    worker.freeze();
    const second = cast.hire(slot);
    await sleep(aloneMs);
    worker.thaw();
    await sleep(bothMs);
    await worker.kill();
    return `${worker.name} beside ${second.name}: paused for ${aloneMs} ms, then ${bothMs} ms of both`;
  },
};

export function pauseOf(prng: Prng, longMs: number): number {
  return prng.chance(0.6) ? prng.between(50, 1_000) : prng.between(longMs - 1_500, longMs);
}

function pickWorker({ workers }: Cast, prng: Prng): [Slot, Worker] {
  return prng.pick([...workers]);
}

/** One fault after the other until it is told to stop. The same seed gives the same faults, not the same run. */
export async function torment(
  cast: Cast,
  options: {
    readonly prng: Prng;
    readonly faults: Faults;
    readonly untilMs: number;
    readonly note: (line: string) => void;
  },
): Promise<void> {
  const { prng, faults, untilMs, note } = options;
  const names = Object.keys(faults);
  while (names.length > 0) {
    const calmMs = prng.between(300, 2_500);
    if (performance.now() + calmMs > untilMs) break;
    await sleep(calmMs);
    const name = prng.pick(names);
    note(`${name}: ${await faults[name]?.(cast, prng)}`);
  }
  await sleep(Math.max(0, untilMs - performance.now()));
}
