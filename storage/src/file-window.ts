import type { DiskFile } from "@millrace/base/world";
import { BATCH_HEADER_BYTES, BatchField } from "kafka-protocol-ts/records/batch";
import { crc32c } from "kafka-protocol-ts/records/crc32c";

/** What is needed of a file to read it. */
export type Readable = Pick<DiskFile, "read">;

/** A part of a file in memory, which moves forward. */
export class FileWindow {
  readonly #file: Readable;
  /** Where it ends, or where nobody reads on. */
  readonly end: number;
  #bytes: Buffer;
  #start = 0;
  #length = 0;

  constructor(file: Readable, end: number, sizeBytes: number) {
    this.#file = file;
    this.end = end;
    this.#bytes = Buffer.allocUnsafe(Math.max(BATCH_HEADER_BYTES, Math.min(sizeBytes, end)));
  }

  /** These bytes where all of them are in memory, else null. */
  here(position: number, sizeBytes: number): Buffer | null {
    const from = position - this.#start;
    return from >= 0 && from + sizeBytes <= this.#length ? this.#bytes.subarray(from, from + sizeBytes) : null;
  }

  /** All of these bytes; fewer only where the file ends earlier than was said. */
  async at(position: number, sizeBytes: number): Promise<Buffer> {
    if (this.here(position, sizeBytes) === null) {
      if (sizeBytes > this.#bytes.length) this.#bytes = Buffer.allocUnsafe(sizeBytes);
      await this.#load(position);
    }
    const from = position - this.#start;
    return this.#bytes.subarray(from, Math.min(from + sizeBytes, this.#length));
  }

  /** As many of these bytes as are in memory, at least one. */
  async upTo(position: number, sizeBytesMax: number): Promise<Buffer> {
    if (position < this.#start || position >= this.#start + this.#length) await this.#load(position);
    const from = position - this.#start;
    const bytes = this.#bytes.subarray(from, Math.min(from + sizeBytesMax, this.#length));
    // A file that became shorter meanwhile: zeros end the loop, and no checksum is right.
    return bytes.length > 0 ? bytes : Buffer.alloc(sizeBytesMax);
  }

  async #load(position: number): Promise<void> {
    this.#length = 0;
    const wanted = Math.min(this.#bytes.length, this.end - position);
    this.#length = await this.#file.read(this.#bytes.subarray(0, wanted), position);
    this.#start = position;
  }
}

/** Of the part of a batch that its checksum covers. */
export async function batchCrcOf(window: FileWindow, position: number, sizeBytes: number): Promise<number> {
  let crc = 0;
  let at = position + BatchField.attributes;
  const end = position + sizeBytes;
  while (at < end) {
    const bytes = await window.upTo(at, end - at);
    crc = crc32c(bytes, crc);
    at += bytes.length;
  }
  return crc;
}
