import type { Consumption } from "../consumption.ts";
import type { PartitionReading } from "../partition-reading.ts";
import type { ChunkReader } from "./chunk-reader.ts";
import type { Lease } from "../lease.ts";
import type { Decoder } from "./decoder.ts";
import { WorkQueue } from "./work-queue.ts";
import type { WorkOrder } from "./work-queue.ts";

/** What may wait of one partition. */
export interface Share {
  readonly count: number;
  /** Passed by the last record. */
  readonly bytes: number;
}

/** What a runner has in hand of one partition: a chunk that it reads, and records of it that wait for a handler. */
export class WorkLane {
  readonly reading: PartitionReading;
  readonly work: WorkQueue;
  /** It stands among those whose records may be worked on; among those with room for more. */
  isReady = false;
  isHungry = false;
  /** Whether it was paused when that was looked at last. */
  hasPaused = false;
  inWork = 0;
  readonly #consumption: Consumption;
  readonly #onRevoked: () => void;
  #reader: ChunkReader | null = null;
  /** Of which it hears when it ends: one listener for all of its chunks. */
  #lease: Lease | null = null;
  #share: Share = { count: 1, bytes: 1 };

  constructor(
    reading: PartitionReading,
    {
      consumption,
      order,
      onRevoked,
    }: {
      readonly consumption: Consumption;
      readonly order: WorkOrder;
      readonly onRevoked: (lane: WorkLane) => void;
    },
  ) {
    this.reading = reading;
    this.work = new WorkQueue(order);
    this.#consumption = consumption;
    this.#onRevoked = () => {
      for (const record of this.work.dropRevoked()) record.abandon();
      onRevoked(this);
    };
  }

  /** There is more in hand than waits, and room for it. */
  get wantsMore(): boolean {
    return this.#reader !== null && this.#hasRoom;
  }

  get #hasRoom(): boolean {
    return this.work.waiting < this.#share.count && this.work.waitingBytes < this.#share.bytes;
  }

  /** Its partition was given up, and nothing of it is in hand. */
  get isOver(): boolean {
    return !this.reading.isOwned && this.#reader === null && this.work.waiting === 0 && this.inWork === 0;
  }

  /** Another chunk: until it is through, no other is taken of this partition. */
  begin(reader: ChunkReader): void {
    this.#reader = reader;
    this.#consumption.hold(this.reading);
    const { lease } = reader.source;
    if (lease === this.#lease) return;
    this.#lease = lease;
    lease.signal.addEventListener("abort", this.#onRevoked, { once: true });
  }

  /** Until it has its share; true when the chunk is through before. */
  async fill(decoder: Decoder, share: Share): Promise<boolean> {
    this.#share = share;
    while (this.#reader !== null && this.#hasRoom) {
      let record = this.#reader.next(decoder);
      if (record instanceof Promise) record = await record;
      if (record === undefined) {
        this.#letGo();
        return true;
      }
      if (record !== null) this.work.add(record);
    }
    return false;
  }

  /** What was not read yet. */
  giveBack(): void {
    const rest = this.#reader?.rest() ?? null;
    if (rest !== null) this.#consumption.giveBack(rest);
    this.#letGo();
  }

  /** Nobody works on what waits any more. */
  abandon(): void {
    for (let record = this.work.take(); record !== null; record = this.work.take()) {
      record.abandon();
      this.work.finished(record);
    }
    this.#letGo();
  }

  #letGo(): void {
    if (this.#reader === null) return;
    this.#reader = null;
    this.#consumption.release(this.reading);
  }
}
