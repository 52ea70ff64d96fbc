import type { Clock } from "@millrace/base/world";

/** What has something to append. */
export interface Gatherer {
  appendGathered(): void;
}

/** Until when what was gathered is appended: `group.coordinator.append.linger.ms`. −1: while every turn brings more. */
export const adaptiveLinger = -1;
/** And no longer than this then: who waits for a commit waits for the disk as long. */
const ADAPTIVE_MS_MAX = 2.5;

/**
 * When shards append what they have gathered, all of them together: a batch costs several times as much as one more record in it, and so does
 * a callback at the end of a turn.
 *
 * With the adaptive linger a lone decision waits for the ends of two turns of the loop, some microseconds when nothing comes: the second
 * one has brought nothing more. Where each turn brings more decisions there is a load, and then they wait for each other.
 */
export class Gathering {
  readonly #clock: Clock;
  readonly #lingerMs: number;
  #gatherers: Gatherer[] = [];
  #beganMs = 0;
  #count = 0;
  #seenCount = 0;

  constructor(clock: Clock, lingerMs: number) {
    this.#clock = clock;
    this.#lingerMs = lingerMs;
  }

  /** It has gathered its first decision since it appended. */
  begin(gatherer: Gatherer): void {
    this.#count += 1;
    this.#gatherers.push(gatherer);
    if (this.#gatherers.length > 1) return;
    this.#beganMs = this.#clock.monotonicMs();
    this.#seenCount = 0;
    if (this.#lingerMs > 0) this.#clock.schedule(this.#lingerMs, () => this.#append());
    else this.#clock.afterTurn(() => this.#look());
  }

  /** It has gathered one more. */
  noteMore(): void {
    this.#count += 1;
  }

  #look(): void {
    const hasMore = this.#count > this.#seenCount;
    const mayWait = this.#lingerMs === adaptiveLinger && this.#clock.monotonicMs() - this.#beganMs < ADAPTIVE_MS_MAX;
    if (!hasMore || !mayWait) return this.#append();
    this.#seenCount = this.#count;
    this.#clock.afterTurn(() => this.#look());
  }

  #append(): void {
    const gatherers = this.#gatherers;
    this.#gatherers = [];
    this.#count = 0;
    for (const each of gatherers) each.appendGathered();
  }
}
