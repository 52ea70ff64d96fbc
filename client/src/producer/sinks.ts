import type { KafkaError } from "../errors.ts";
import type { Sink } from "./batch.ts";
import type { Delivered, SendResult } from "./options.ts";

type Resolve = (delivered: Delivered) => void;
type Reject = (error: unknown) => void;

let lastResolve: Resolve;
let lastReject: Reject;

/** One function for all promises: a closure for each would cost more than the record. */
function keep(resolve: Resolve, reject: Reject): void {
  lastResolve = resolve;
  lastReject = reject;
}

/** A record of `send`. */
export class SentRecord implements Sink {
  readonly promise: Promise<Delivered>;
  readonly #resolve: Resolve;
  readonly #reject: Reject;

  constructor() {
    this.promise = new Promise<Delivered>(keep);
    this.#resolve = lastResolve;
    this.#reject = lastReject;
  }

  delivered(partition: number, offset: number): void {
    this.#resolve({ partition, offset });
  }

  failed(error: KafkaError): void {
    this.#reject(error);
  }
}

/** The records of one `sendAll`. */
export class SentRecords {
  readonly promise: Promise<readonly SendResult[]>;
  readonly #resolve: (results: readonly SendResult[]) => void;
  readonly #results: SendResult[];
  #left: number;

  constructor(count: number) {
    const { promise, resolve } = Promise.withResolvers<readonly SendResult[]>();
    this.promise = promise;
    this.#resolve = resolve;
    this.#results = Array.from({ length: count });
    this.#left = count;
    if (count === 0) resolve([]);
  }

  sink(at: number): Sink {
    return {
      delivered: (partition, offset) => this.#settle(at, { partition, offset, error: null }),
      failed: (error, partition) => this.#settle(at, { partition: partition ?? -1, offset: -1, error }),
    };
  }

  #settle(at: number, result: SendResult): void {
    this.#results[at] = result;
    this.#left--;
    if (this.#left === 0) this.#resolve(this.#results);
  }
}

/** Of records for which somebody else answers. */
export const mute: Sink = { delivered: () => {}, failed: () => {} };
