import { Deque } from "@millrace/base/deque";
import type { ConsumedRecord } from "../consumed-record.ts";

export type WorkOrder = "key" | "partition" | "none";

/**
 * Which records of a partition may be worked on at the same time. Those of one line (a key, or all of them) are worked on one
 * after the other, in their order; lines do not wait for each other.
 */
export class WorkQueue {
  readonly #order: WorkOrder;
  /** By keys, the line of each that is in work or ready; null: nobody waits behind it, as mostly. */
  readonly #lines = new Map<string, Deque<ConsumedRecord> | null>();
  readonly #ready = new Deque<ConsumedRecord>();
  /** All are one line, and one of it is in work. */
  #isTaken = false;
  #waitingCount = 0;
  #waitingBytes = 0;

  constructor(order: WorkOrder) {
    this.#order = order;
  }

  /** Those that wait: ready, or behind another of their line. */
  get waiting(): number {
    return this.#waitingCount;
  }

  /** Their keys and values as they were fetched, which stay in memory until somebody has worked on them. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  get hasReady(): boolean {
    return !this.#isTaken && !this.#ready.isEmpty;
  }

  add(record: ConsumedRecord): void {
    this.#waitingCount++;
    this.#waitingBytes += bytesOf(record);
    const line = this.#lineOf(record);
    const before = line === null ? undefined : this.#lines.get(line);
    if (line === null || before === undefined) {
      if (line !== null) this.#lines.set(line, null);
      this.#ready.push(record);
    } else if (before === null) {
      const behind = new Deque<ConsumedRecord>();
      behind.push(record);
      this.#lines.set(line, behind);
    } else before.push(record);
  }

  /** The next that may be worked on; null: all wait for others, or there is none. To be followed by `finished`. */
  take(): ConsumedRecord | null {
    if (this.#isTaken) return null;
    const record = this.#ready.shift() ?? null;
    if (record === null) return null;
    this.#waitingCount--;
    this.#waitingBytes -= bytesOf(record);
    this.#isTaken = this.#order === "partition";
    return record;
  }

  finished(record: ConsumedRecord): void {
    this.#isTaken = false;
    this.#next(record);
  }

  #next(record: ConsumedRecord): void {
    const line = this.#lineOf(record);
    if (line === null) return;
    const next = this.#lines.get(line)?.shift();
    if (next === undefined) this.#lines.delete(line);
    else this.#ready.push(next);
  }

  /** Takes out those that are to be given up, and gives them. */
  dropRevoked(): readonly ConsumedRecord[] {
    const dropped: ConsumedRecord[] = [];
    for (const line of this.#lines.values()) {
      for (let left = line?.length ?? 0; left > 0; left--) {
        const record = line?.shift();
        if (record === undefined) break;
        if (record.signal.aborted) dropped.push(record);
        else line?.push(record);
      }
    }
    for (let left = this.#ready.length; left > 0; left--) {
      const record = this.#ready.shift();
      if (record === undefined) break;
      if (!record.signal.aborted) this.#ready.push(record);
      else {
        dropped.push(record);
        this.#next(record);
      }
    }
    this.#waitingCount -= dropped.length;
    for (const record of dropped) this.#waitingBytes -= bytesOf(record);
    return dropped;
  }

  /** A record without a key has no order to keep but that of chance. */
  #lineOf({ rawKey }: ConsumedRecord): string | null {
    return this.#order !== "key" || rawKey === null ? null : rawKey.toString("latin1");
  }
}

function bytesOf({ rawKey, rawValue }: ConsumedRecord): number {
  return (rawKey?.length ?? 0) + (rawValue?.length ?? 0);
}
