import type { Clock } from "@millrace/base/world";
import type { Partition } from "./partition.ts";

/** So long a leader that is new is ready for a follower that has not come yet. */
const EXPECTED_MS = 2_000;

/**
 * A follower names a partition with its next fetch, and may have one parked here when this broker becomes its leader: for as long as a
 * long poll takes nothing would be replicated. So that one is answered, and until the follower has come with the new partition its fetches
 * are parked for a moment only.
 */
export class ExpectedFollowers {
  readonly #clock: Clock;
  /** By broker: the partitions that it has not fetched, and until when that is expected. */
  readonly #expected = new Map<number, Map<Partition, number>>();
  /** By broker: ends what it has parked. */
  readonly #parked = new Map<number, Set<() => void>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A leadership has begun. */
  expect(partition: Partition): void {
    const untilMs = this.#clock.monotonicMs() + EXPECTED_MS;
    for (const { brokerId } of partition.leadership?.remotes() ?? []) {
      let ofBroker = this.#expected.get(brokerId);
      if (ofBroker === undefined) this.#expected.set(brokerId, (ofBroker = new Map()));
      ofBroker.set(partition, untilMs);
      for (const wake of this.#parked.get(brokerId) ?? []) wake();
    }
  }

  isExpected(brokerId: number): boolean {
    const ofBroker = this.#expected.get(brokerId);
    if (ofBroker === undefined) return false;
    const nowMs = this.#clock.monotonicMs();
    for (const [partition, untilMs] of ofBroker) {
      const remote = partition.leadership?.remote(brokerId);
      const isToCome = remote !== undefined && remote.lastFetchMs < 0 && nowMs < untilMs;
      if (!isToCome) ofBroker.delete(partition);
    }
    if (ofBroker.size === 0) this.#expected.delete(brokerId);
    return ofBroker.size > 0;
  }

  /** Calls when something new is expected of the broker, until the function that is returned is called. */
  whileParked(brokerId: number, wake: () => void): () => void {
    let ofBroker = this.#parked.get(brokerId);
    if (ofBroker === undefined) this.#parked.set(brokerId, (ofBroker = new Set()));
    ofBroker.add(wake);
    return () => {
      ofBroker.delete(wake);
      if (ofBroker.size === 0 && this.#parked.get(brokerId) === ofBroker) this.#parked.delete(brokerId);
    };
  }
}
