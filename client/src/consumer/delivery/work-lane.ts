import type { Consumption } from "../consumption.ts";
import type { ConsumedRecord } from "../consumed-record.ts";
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

/** What a lane tells its runner. */
export interface LaneListener {
  /** Its partition was given up, or sought elsewhere; what waited of it is dropped. */
  onRevoked(lane: WorkLane): void;
  /** A record that its serdes took their time for is among those that wait, or is nobody's any more. */
  onDecoded(lane: WorkLane): void;
  /** A record cannot be read, and nobody takes it. */
  onUnreadable(error: unknown): void;
}

/** How far `fill` has come: it has its share, its chunk is through before that, or a serde takes its time. */
export type Filled = "enough" | "through" | "decoding";

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
  readonly #listener: LaneListener;
  readonly #onRevoked: () => void;
  #reader: ChunkReader | null = null;
  /** A record of it is being decoded, and nothing behind that is read meanwhile: records keep their order. */
  #isDecoding = false;
  /** Of which it hears when it ends: one listener for all of its chunks. */
  #lease: Lease | null = null;
  #share: Share = { count: 1, bytes: 1 };

  constructor(
    reading: PartitionReading,
    {
      consumption,
      order,
      listener,
    }: { readonly consumption: Consumption; readonly order: WorkOrder; readonly listener: LaneListener },
  ) {
    this.reading = reading;
    this.work = new WorkQueue(order);
    this.#consumption = consumption;
    this.#listener = listener;
    this.#onRevoked = () => {
      for (const record of this.work.dropRevoked()) record.abandon();
      // What is read elsewhere does not wait for a record that is nobody's.
      if (this.#isDecoding) this.#letGo();
      listener.onRevoked(this);
    };
  }

  /** There is more in hand than waits, and room for it. */
  get wantsMore(): boolean {
    return this.#reader !== null && !this.#isDecoding && this.#hasRoom;
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

  /** Until it has its share, or has to wait: then `onDecoded` follows, and no other partition waits for it. */
  fill(decoder: Decoder, share: Share): Filled {
    this.#share = share;
    while (this.#reader !== null && this.#hasRoom) {
      const record = this.#reader.next(decoder);
      if (record instanceof Promise) {
        this.#isDecoding = true;
        void this.#decoded(record, this.#reader);
        return "decoding";
      }
      if (record === undefined) {
        this.#letGo();
        return "through";
      }
      if (record !== null) this.work.add(record);
    }
    return "enough";
  }

  async #decoded(decoding: Promise<ConsumedRecord | null>, reader: ChunkReader): Promise<void> {
    const isOurs = (): boolean => this.#reader === reader && !reader.isVoid;
    try {
      const record = await decoding;
      if (!isOurs()) record?.abandon();
      else if (record !== null) this.work.add(record);
    } catch (error) {
      // Of what was given up the next owner finds out.
      if (isOurs()) this.#listener.onUnreadable(error);
    }
    if (this.#reader === reader) this.#isDecoding = false;
    this.#listener.onDecoded(this);
  }

  /** What was not read yet; not while a record before it is being decoded. */
  giveBack(): void {
    if (this.#isDecoding) return;
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
    this.#isDecoding = false;
    this.#consumption.release(this.reading);
  }
}
