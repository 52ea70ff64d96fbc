import { MalformedMessage } from "../malformed.ts";
import { readVarint, readVarlong, varintEnd } from "./varint.ts";

/**
 * Goes from record to record in memory that is not compressed (any more), and says where the parts of each lie. It allocates
 * nothing, so that a compaction can look at each key of a large log:
 *
 *     const cursor = new RecordCursor();
 *     cursor.attach(bytes, start, end, batch.recordsCount);
 *     while (cursor.next()) look(bytes, cursor.keyStart, cursor.keyEnd);
 */
export class RecordCursor {
  #bytes: Uint8Array = new Uint8Array(0);
  #batchEnd = 0;
  #rest = 0;
  /** The present record, its length included, is `start` to `end`. */
  start = 0;
  end = 0;
  offsetDelta = 0;
  /** Milliseconds; saturated beyond ±2^53. */
  timestampDelta = 0;
  keyStart = 0;
  keyEnd = 0;
  hasKey = false;
  /** False for a tombstone. */
  hasValue = false;

  /** `start` to `end` of `bytes` hold `count` records. */
  attach(bytes: Uint8Array, start: number, end: number, count: number): void {
    this.#bytes = bytes;
    this.#batchEnd = end;
    this.#rest = count;
    this.end = start;
  }

  /** False behind the last record. Throws MalformedMessage where a record does not lie in the batch, or bytes follow the last. */
  next(): boolean {
    const bytes = this.#bytes;
    const batchEnd = this.#batchEnd;
    if (this.#rest <= 0) {
      if (this.end !== batchEnd || this.#rest < 0)
        throw new MalformedMessage(`${batchEnd - this.end} bytes follow the last record`);
      return false;
    }
    this.#rest -= 1;
    this.start = this.end;
    const length = readVarint(bytes, this.start, batchEnd);
    if (varintEnd < 0) throw new MalformedMessage("no readable record length in a batch");
    const end = varintEnd + length;
    if (length < 0 || end > batchEnd) throw new MalformedMessage(`a record of ${length} bytes runs past its batch`);
    // A byte of attributes comes first, which no version uses.
    this.timestampDelta = readVarlong(bytes, varintEnd + 1, end);
    if (varintEnd < 0) throw new MalformedMessage("no readable timestamp delta in a record");
    this.offsetDelta = readVarint(bytes, varintEnd, end);
    if (varintEnd < 0) throw new MalformedMessage("no readable offset delta in a record");
    const keyLength = readVarint(bytes, varintEnd, end);
    if (varintEnd < 0 || keyLength < -1) throw new MalformedMessage("no readable key length in a record");
    this.hasKey = keyLength >= 0;
    this.keyStart = varintEnd;
    this.keyEnd = varintEnd + Math.max(0, keyLength);
    const valueLength = readVarint(bytes, this.keyEnd, end);
    if (varintEnd < 0 || valueLength < -1 || varintEnd + valueLength > end)
      throw new MalformedMessage("no readable value in a record");
    this.hasValue = valueLength >= 0;
    this.end = end;
    return true;
  }
}
