import type { PartitionReading } from "../consumer/partition-reading.ts";
import type { FacadeBatch } from "./consumed-batch.ts";

/** A batch in work, under the right to its partition that it was taken with. */
export class BatchWork {
  readonly reading: PartitionReading;
  readonly batch: FacadeBatch;
  readonly #lease: PartitionReading["lease"];
  #isOver = false;

  constructor(reading: PartitionReading, batch: FacadeBatch) {
    this.reading = reading;
    this.batch = batch;
    this.#lease = reading.lease;
  }

  /** Sought elsewhere, or given up: there is no sense in going on. */
  get isVoid(): boolean {
    return this.isRevoked || this.reading.lease !== this.#lease;
  }

  /** What is done while the partition is being given up counts, until it is another's. */
  get mayResolve(): boolean {
    return !this.#isOver && this.reading.lease === this.#lease;
  }

  end(): void {
    this.#isOver = true;
  }

  get isRevoked(): boolean {
    return !this.reading.isOwned;
  }
}
