import type { TimeMs } from "@millrace/base/units";
import type { Clock, Timer } from "@millrace/base/world";
import type { Prng } from "@millrace/base/prng";
import type { VirtualClock } from "../virtual-clock.ts";

type Source = "timer" | "input";

/**
 * One life of a process: what reaches it from outside, timers, input and answers of the disk, comes through `enter`. A process
 * that is paused (SIGSTOP) gets all of that when it goes on; one that is dead gets nothing any more.
 */
export class Process {
  readonly name: string;
  readonly clock: Clock;
  readonly #world: VirtualClock;
  #state: "running" | "paused" | "waking" | "dead" = "running";
  #waiting: { readonly source: Source; call(): void }[] = [];

  /** @param wallSkewMs is how far its wall clock is ahead. */
  constructor(name: string, world: VirtualClock, wallSkewMs = 0) {
    this.name = name;
    this.#world = world;
    this.clock = new ProcessClock(this, world, wallSkewMs);
  }

  get isDead(): boolean {
    return this.#state === "dead";
  }
  get isPaused(): boolean {
    return this.#state === "paused" || this.#state === "waking";
  }

  enter(source: Source, call: () => void): void {
    if (this.#state === "running") call();
    else if (this.#state !== "dead") this.#waiting.push({ source, call });
  }

  kill(): void {
    this.#state = "dead";
    this.#waiting = [];
  }

  pause(): void {
    if (this.#state === "running") this.#state = "paused";
  }

  /** What has waited comes one after the other, and what is new behind it: timers first, or input first. */
  goOn(prng: Prng): void {
    if (this.#state !== "paused") return;
    this.#state = "waking";
    const first: Source = prng.chance(0.5) ? "timer" : "input";
    const isFirst = ({ source }: { readonly source: Source }): boolean => source === first;
    this.#waiting = [...this.#waiting.filter(isFirst), ...this.#waiting.filter((each) => !isFirst(each))];
    this.#wake();
  }

  #wake(): void {
    if (this.#state !== "waking") return;
    const next = this.#waiting.shift();
    if (next === undefined) {
      this.#state = "running";
      return;
    }
    next.call();
    this.#world.schedule(0, () => this.#wake());
  }

  /** Settles after so long, if the process lives then, and never if not. */
  after(delayMs: number, source: Source = "input"): Promise<void> {
    return new Promise((resolve) => this.#world.schedule(delayMs, () => this.enter(source, resolve)));
  }
}

class ProcessClock implements Clock {
  readonly #process: Process;
  readonly #world: VirtualClock;
  readonly #wallSkewMs: number;

  constructor(process: Process, world: VirtualClock, wallSkewMs: number) {
    this.#process = process;
    this.#world = world;
    this.#wallSkewMs = wallSkewMs;
  }

  now(): TimeMs {
    return (this.#world.now() + this.#wallSkewMs) as TimeMs;
  }

  monotonicMs(): number {
    return this.#world.monotonicMs();
  }

  schedule(delayMs: number, callback: () => void): Timer {
    if (this.#process.isDead) return { cancel: () => {} };
    let isCancelled = false;
    const timer = this.#world.schedule(delayMs, () =>
      this.#process.enter("timer", () => {
        if (!isCancelled) callback();
      }),
    );
    return {
      cancel: () => {
        isCancelled = true;
        timer.cancel();
      },
    };
  }

  afterTurn(callback: () => void): void {
    this.#world.afterTurn(() => this.#process.enter("timer", callback));
  }
}
