import type { DiskFile } from "@millrace/base/world";
import { BATCH_HEADER_BYTES, BATCH_OVERHEAD_BYTES, BATCH_MAGIC, BatchField } from "kafka-protocol-ts/records/batch";
import { readInt64 } from "kafka-protocol-ts/records/int64";
import type { FilePosition, Offset } from "./types.ts";

const BLOCK_BYTES = 4096;
const block: Buffer = Buffer.allocUnsafe(BLOCK_BYTES);
let blockOwner = 0;
let walksMade = 0;

/** The chain of batches is broken: nothing that a log writes looks like this. */
export class BrokenChain extends Error {
  override readonly name = "BrokenChain";
  readonly position: FilePosition;
  constructor(position: number) {
    super(`no batch begins at byte ${position}`);
    this.position = position as FilePosition;
  }
}

/** What is to be looked at does not lie in memory: whoever must not wait for the disk reads it first, elsewhere. */
export class ColdRead extends Error {
  override readonly name = "ColdRead";
  /** In the segment; null where it is the segment's index. */
  readonly position: FilePosition | null;
  constructor(position: number | null) {
    super(position === null ? "the index is not in memory" : `byte ${position} is not in memory`);
    this.position = position as FilePosition | null;
  }
}

/**
 * From header to header through a part of a segment, on the calling thread: small reads of an index interval at most.
 * Small batches are read a block at a time, large ones a header at a time.
 */
export class HeaderWalk {
  /** Whose block it is that is in memory. */
  readonly #id: number = ++walksMade;
  readonly #file: DiskFile;
  readonly #end: number;
  readonly #mayWait: boolean;
  #blockStart = 0;
  #blockBytes = 0;
  #sizeBytes = 0;
  #isRepeated = false;
  position: FilePosition;
  baseOffset: Offset = -1 as Offset;
  nextOffset: Offset = -1 as Offset;

  /** Begins before the batch at `from`. One that may not wait for the disk throws ColdRead where it would have to. */
  constructor(
    file: DiskFile,
    from: FilePosition,
    end: number,
    { mayWait = true }: { readonly mayWait?: boolean } = {},
  ) {
    this.#mayWait = mayWait;
    this.#file = file;
    this.position = from;
    this.#end = end;
  }

  /** Where the present batch ends. */
  get nextPosition(): FilePosition {
    return (this.position + this.#sizeBytes) as FilePosition;
  }

  /** `next` comes to the present batch once more. */
  repeat(): this {
    this.#isRepeated = true;
    return this;
  }

  /** Goes on to the next batch; false at the end. Throws BrokenChain. */
  next(): boolean {
    if (this.#isRepeated) {
      this.#isRepeated = false;
      return true;
    }
    this.position = this.nextPosition;
    if (this.position >= this.#end) return false;
    const from = this.#blockStart;
    const isHere =
      blockOwner === this.#id && this.position >= from && this.position + BATCH_HEADER_BYTES <= from + this.#blockBytes;
    if (!isHere) this.#read();
    const at = this.position - this.#blockStart;
    if (this.#blockBytes - at < BATCH_HEADER_BYTES) throw new BrokenChain(this.position);
    const batchLength = block.readInt32BE(at + BatchField.batchLength);
    const lastOffsetDelta = block.readInt32BE(at + BatchField.lastOffsetDelta);
    this.#sizeBytes = batchLength + BATCH_OVERHEAD_BYTES;
    const isBatch =
      block[at + BatchField.magic] === BATCH_MAGIC &&
      this.#sizeBytes >= BATCH_HEADER_BYTES &&
      this.nextPosition <= this.#end &&
      lastOffsetDelta >= 0;
    if (!isBatch) throw new BrokenChain(this.position);
    this.baseOffset = readInt64(block, at) as Offset;
    this.nextOffset = (this.baseOffset + lastOffsetDelta + 1) as Offset;
    return true;
  }

  /** One block serves all: a walk never spans a turn, and seldom goes on after another one. */
  #read(): void {
    const isLarge = this.#sizeBytes > BLOCK_BYTES / 2;
    const wanted = Math.min(isLarge ? BATCH_HEADER_BYTES : BLOCK_BYTES, this.#end - this.position);
    if (!this.#mayWait && this.#file.isInMemory?.(this.position, wanted) === false) throw new ColdRead(this.position);
    blockOwner = this.#id;
    this.#blockBytes = this.#file.readNow(block.subarray(0, wanted), this.position);
    this.#blockStart = this.position;
  }
}
