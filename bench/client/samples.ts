import { firstTimestamp, keyBytes } from "./plan.ts";

export interface SampleRecord {
  readonly key: Buffer;
  readonly value: Buffer;
}

const poolSize = 4_096;

/** Records to send: always the same, of bytes that no codec makes smaller, with keys that spread them over partitions. */
export class RecordPool {
  readonly #keys: readonly Buffer[];
  readonly #values: readonly Buffer[];
  #next = 0;
  /** How many were given, since the start. */
  taken = 0;

  constructor(valueBytes: number) {
    const random = new Bytes();
    this.#keys = Array.from({ length: poolSize }, (_, index) => Buffer.from(`key-${index}`.padEnd(keyBytes, "-")));
    this.#values = Array.from({ length: poolSize }, () => random.next(valueBytes));
  }

  key(): Buffer {
    this.taken++;
    this.#next = (this.#next + 1) % poolSize;
    return this.#keys[this.#next] as Buffer;
  }

  /** Of the record whose key was asked for last. */
  value(): Buffer {
    return this.#values[this.#next] as Buffer;
  }
}

class Bytes {
  #state = 4711;

  next(length: number): Buffer {
    const bytes = Buffer.alloc(length);
    for (let at = 0; at < length; at++) {
      this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0;
      bytes[at] = this.#state >>> 24;
    }
    return bytes;
  }
}

/** What was read: each part of each record goes into a sum, so that clients can be compared, and nothing is left unread. */
export class Tally {
  readonly #warmUpRecords: number;
  readonly #records: number;
  readonly #onBegin: () => void;
  readonly #onEnd: () => void;
  count = 0;
  checksum = 0;

  constructor(
    plan: { readonly warmUpRecords: number; readonly records: number },
    on: { readonly begin: () => void; readonly end: () => void },
  ) {
    this.#warmUpRecords = plan.warmUpRecords;
    this.#records = plan.records;
    this.#onBegin = on.begin;
    this.#onEnd = on.end;
  }

  get isFull(): boolean {
    return this.count >= this.#records;
  }

  /** No object is made for it: this is within the loop that is measured. */
  add(key: Buffer, value: Buffer, offset: number, timestamp: number, headers: number): void {
    this.checksum += checksumOf(key, value, offset, timestamp, headers);
    this.count++;
    if (this.count === this.#warmUpRecords) this.#onBegin();
    else if (this.count === this.#records) this.#onEnd();
  }
}

export function checksumOf(key: Buffer, value: Buffer, offset: number, timestamp: number, headers: number): number {
  const ends = (key[key.length - 1] as number) + (value[0] as number) + (value[value.length - 1] as number);
  return ends + key.length + value.length + offset + (timestamp - firstTimestamp) + headers;
}
