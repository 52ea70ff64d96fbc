import type { Clock } from "@millrace/base/world";

/**
 * What replication of throttled replicas may move a second (KIP-73). What goes beyond is moved all the same, as a response is made of
 * whole batches, and is waited for afterwards.
 */
export class ReplicationQuota {
  readonly #clock: Clock;
  readonly #bytesPerSecond: () => number;
  #debtBytes = 0;
  #sinceMs: number;

  constructor(clock: Clock, bytesPerSecond: () => number) {
    this.#clock = clock;
    this.#bytesPerSecond = bytesPerSecond;
    this.#sinceMs = clock.monotonicMs();
  }

  record(bytes: number): void {
    this.#settle();
    this.#debtBytes += bytes;
  }

  /** Until more may be moved; 0: now. */
  get waitMs(): number {
    if (this.#debtBytes === 0) return 0;
    this.#settle();
    return this.#debtBytes === 0 ? 0 : Math.ceil((this.#debtBytes * 1000) / Math.max(1, this.#bytesPerSecond()));
  }

  #settle(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#debtBytes = Math.max(0, this.#debtBytes - (this.#bytesPerSecond() * (nowMs - this.#sinceMs)) / 1000);
    this.#sinceMs = nowMs;
  }
}

/** Whether a topic's list of `partition:broker` pairs names a replica; * names all. */
export function isThrottled(list: readonly string[], index: number, brokerId: number): boolean {
  return list.length > 0 && (list.includes("*") || list.includes(`${index}:${brokerId}`));
}
