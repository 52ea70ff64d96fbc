import { asBuffer, badData, tooLarge } from "./compression.ts";
import type { CompressionImplementation } from "./compression.ts";
import { copyLiterals, copyMatch, fourBytes, hashOf, hashTable } from "./matches.ts";
import { xxhash32 } from "./xxhash32.ts";

/** One LZ4 block, both ways: what a host's faster codec must offer. The frame around the blocks is ours. */
export interface Lz4BlockCodec {
  compress(bytes: Uint8Array): Uint8Array;
  /** An independent block that holds at most `maxBytes`, of which memory may be taken in advance. Throws on broken bytes. */
  decompress(block: Uint8Array, maxBytes: number): Buffer;
}

const MAGIC = 0x184d2204;
const VERSION = 1;
const BLOCK_MAX_BYTES = [65_536, 262_144, 1_048_576, 4_194_304] as const;
const FIRST_BLOCK_CODE = 4;
const UNCOMPRESSED_BIT = 0x8000_0000;
/** What Kafka's clients write: version 1, independent blocks of 64 KiB, no checksums but the header's, no content size. */
const WRITTEN_FLAGS = 0x60;
const WRITTEN_BLOCK_CODE = 4;
const WRITTEN_BLOCK_BYTES = 65_536;

interface FrameHeader {
  readonly areBlocksIndependent: boolean;
  readonly hasBlockChecksums: boolean;
  readonly hasContentChecksum: boolean;
  readonly blockBytesMax: number;
  readonly bytes: number;
}

/**
 * The LZ4 frame format. As in Kafka, one frame is read and what follows it is not looked at, and the header's checksum must be right.
 * Blocks that refer to earlier ones are read too; no client of Kafka writes them.
 */
export function lz4Codec(blocks: Lz4BlockCodec = pureLz4Blocks): CompressionImplementation {
  return {
    compress: (bytes) => compressFrame(blocks, asBuffer(bytes)),
    decompress: (bytes, maxBytes) => decompressFrame(blocks, asBuffer(bytes), maxBytes),
  };
}

function compressFrame(blocks: Lz4BlockCodec, bytes: Buffer): Buffer {
  const header = Buffer.allocUnsafe(7);
  header.writeUInt32LE(MAGIC, 0);
  header[4] = WRITTEN_FLAGS;
  header[5] = WRITTEN_BLOCK_CODE << 4;
  header[6] = headerChecksum(header, 6);
  const parts: Uint8Array[] = [header];
  for (let at = 0; at < bytes.length; at += WRITTEN_BLOCK_BYTES) {
    const plain = bytes.subarray(at, at + WRITTEN_BLOCK_BYTES);
    const block = blocks.compress(plain);
    const isSmaller = block.length < plain.length;
    const length = Buffer.allocUnsafe(4);
    length.writeUInt32LE(isSmaller ? block.length : (plain.length | UNCOMPRESSED_BIT) >>> 0);
    parts.push(length, isSmaller ? block : plain);
  }
  parts.push(Buffer.alloc(4));
  return Buffer.concat(parts);
}

function headerChecksum(bytes: Buffer, end: number): number {
  return (xxhash32(bytes, 4, end) >>> 8) & 0xff;
}

function readHeader(bytes: Buffer): FrameHeader {
  if (bytes.length < 7 || bytes.readUInt32LE(0) !== MAGIC) throw badData("no LZ4 frame");
  const flags = bytes[4] as number;
  const blockCode = (bytes[5] as number) >>> 4;
  if (flags >>> 6 !== VERSION) throw badData(`LZ4 frame of version ${flags >>> 6}`);
  if ((flags & 0x02) !== 0 || ((bytes[5] as number) & 0x8f) !== 0) throw badData("an LZ4 frame with reserved bits");
  if ((flags & 0x01) !== 0) throw badData("an LZ4 frame that needs a dictionary");
  const blockBytesMax = BLOCK_MAX_BYTES[blockCode - FIRST_BLOCK_CODE];
  if (blockBytesMax === undefined) throw badData(`LZ4 block size code ${blockCode}`);
  // The content's size is only a hint: what counts is what comes out.
  const checksumAt = (flags & 0x08) === 0 ? 6 : 14;
  if (bytes.length <= checksumAt) throw badData("an LZ4 frame ends inside its header");
  if (bytes[checksumAt] !== headerChecksum(bytes, checksumAt))
    throw badData("an LZ4 frame header with a wrong checksum");
  return {
    areBlocksIndependent: (flags & 0x20) !== 0,
    hasBlockChecksums: (flags & 0x10) !== 0,
    hasContentChecksum: (flags & 0x04) !== 0,
    blockBytesMax,
    bytes: checksumAt + 1,
  };
}

function decompressFrame(blocks: Lz4BlockCodec, bytes: Buffer, maxBytes: number): Buffer {
  const header = readHeader(bytes);
  const out = new BoundedOutput(blocks, maxBytes);
  for (let at = header.bytes; ;) {
    if (bytes.length - at < 4) throw badData("an LZ4 frame ends without its end mark");
    const word = bytes.readUInt32LE(at);
    at += 4;
    if (word === 0) return checkContent(header, bytes, at, out.finish());
    const isCompressed = word < UNCOMPRESSED_BIT;
    const length = isCompressed ? word : word - UNCOMPRESSED_BIT;
    const end = at + length;
    if (length > header.blockBytesMax)
      throw badData(`an LZ4 block of ${length} bytes, more than ${header.blockBytesMax}`);
    if (end + (header.hasBlockChecksums ? 4 : 0) > bytes.length)
      throw badData(`an LZ4 block of ${length} bytes runs past its frame`);
    if (header.hasBlockChecksums && xxhash32(bytes, at, end) !== bytes.readUInt32LE(end)) {
      throw badData("an LZ4 block with a wrong checksum");
    }
    const block = bytes.subarray(at, end);
    if (isCompressed) out.decompress(block, header);
    else out.add(block);
    at = end + (header.hasBlockChecksums ? 4 : 0);
  }
}

function checkContent(header: FrameHeader, bytes: Buffer, at: number, content: Buffer): Buffer {
  if (!header.hasContentChecksum) return content;
  if (bytes.length - at < 4) throw badData("an LZ4 frame ends without its checksum");
  if (xxhash32(content) !== bytes.readUInt32LE(at)) throw badData("an LZ4 frame with a wrong content checksum");
  return content;
}

/** Kafka's own clients write blocks of at most this much: with them a native codec may take the memory at once. */
const SMALL_BLOCK_BYTES = 65_536;
/** Measuring a block shorter than this costs less than the memory that it saves. */
const MEASURED_BYTES_MAX = 8_192;

/** What comes out of a frame: never past the limit. A block is measured before memory is spent on it, unless it can only be small. */
class BoundedOutput {
  readonly #blocks: Lz4BlockCodec;
  readonly #maxBytes: number;
  #bytes: Buffer = Buffer.alloc(0);
  #length = 0;

  constructor(blocks: Lz4BlockCodec, maxBytes: number) {
    this.#blocks = blocks;
    this.#maxBytes = maxBytes;
  }

  /** Most frames have one block, whose bytes then are the result as they are. */
  add(bytes: Buffer): void {
    this.#checkRoom(bytes.length);
    if (this.#length === 0) {
      this.#bytes = bytes;
    } else {
      this.#reserve(bytes.length);
      this.#bytes.set(bytes, this.#length);
    }
    this.#length += bytes.length;
  }

  decompress(block: Buffer, header: FrameHeader): void {
    const isPure = this.#blocks === pureLz4Blocks || !header.areBlocksIndependent;
    const isSmallFrame = header.blockBytesMax <= SMALL_BLOCK_BYTES && block.length >= MEASURED_BYTES_MAX;
    if (!isPure && isSmallFrame && this.#room >= SMALL_BLOCK_BYTES) {
      this.add(decompressBy(this.#blocks, block, SMALL_BLOCK_BYTES));
      return;
    }
    const length = lengthOfBlock(block);
    if (length > header.blockBytesMax)
      throw badData(`an LZ4 block holds ${length} bytes, more than ${header.blockBytesMax}`);
    this.#checkRoom(length);
    if (!isPure) {
      this.add(decompressBy(this.#blocks, block, length));
      return;
    }
    this.#reserve(length);
    decompressBlock(block, this.#bytes, this.#length, header.areBlocksIndependent ? this.#length : 0);
    this.#length += length;
  }

  finish(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  get #room(): number {
    return this.#maxBytes - this.#length;
  }

  #checkRoom(moreBytes: number): void {
    if (moreBytes > this.#room) throw tooLarge("LZ4 data", this.#maxBytes);
  }

  #reserve(moreBytes: number): void {
    const needed = this.#length + moreBytes;
    if (needed <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(needed, Math.min(this.#maxBytes, this.#length * 2)));
    this.#bytes.copy(grown, 0, 0, this.#length);
    this.#bytes = grown;
  }
}

function decompressBy(blocks: Lz4BlockCodec, block: Buffer, maxBytes: number): Buffer {
  try {
    return blocks.decompress(block, maxBytes);
  } catch (cause) {
    throw badData("a broken LZ4 block", cause);
  }
}

export const pureLz4Blocks: Lz4BlockCodec = {
  compress: compressBlock,
  decompress: (block) => {
    const out = Buffer.allocUnsafe(lengthOfBlock(block));
    decompressBlock(block, out, 0, 0);
    return out;
  },
};

/** How long a block becomes: its lengths are added up and nothing is copied. Finds every fault but a wrong distance. */
function lengthOfBlock(block: Uint8Array): number {
  const end = block.length;
  let length = 0;
  let at = 0;
  while (at < end) {
    const token = block[at++] as number;
    let literals = token >>> 4;
    if (literals === 15) {
      let more = 255;
      while (more === 255) {
        if (at >= end) throw badData("an LZ4 block ends inside a length");
        more = block[at++] as number;
        literals += more;
      }
    }
    at += literals;
    length += literals;
    // The last sequence has literals only.
    if (at === end) return length;
    at += 2;
    let matched = token & 15;
    if (matched === 15) {
      let more = 255;
      while (more === 255) {
        if (at >= end) throw badData("an LZ4 block ends inside a length");
        more = block[at++] as number;
        matched += more;
      }
    }
    length += matched + 4;
  }
  throw badData("an LZ4 block ends inside a sequence");
}

/** One block that was measured, into `out`; matches may reach back to `historyFrom`. */
function decompressBlock(block: Uint8Array, out: Buffer, start: number, historyFrom: number): void {
  const end = block.length;
  let position = start;
  let at = 0;
  while (at < end) {
    const token = block[at++] as number;
    let literals = token >>> 4;
    if (literals === 15) {
      let more = 255;
      while (more === 255) {
        more = block[at++] as number;
        literals += more;
      }
    }
    copyLiterals(out, position, block, at, literals);
    at += literals;
    position += literals;
    if (at === end) return;

    const distance = (block[at] as number) | ((block[at + 1] as number) << 8);
    at += 2;
    let matched = (token & 15) + 4;
    if (matched === 19) {
      let more = 255;
      while (more === 255) {
        more = block[at++] as number;
        matched += more;
      }
    }
    if (distance === 0 || position - distance < historyFrom) throw badData("an LZ4 match reaches before the data");
    copyMatch(out, position, distance, matched);
    position += matched;
  }
}

/** The format's own rules for an end: the last five bytes are literals, and no match begins in the last twelve. */
const LAST_LITERALS = 5;
const MATCH_END_DISTANCE = 12;

/** Greedy, one block of at most 64 KiB. */
function compressBlock(bytes: Uint8Array): Uint8Array {
  const length = bytes.length;
  const out = Buffer.allocUnsafe(length + Math.ceil(length / 255) + 16);
  let to = 0;
  let literalsFrom = 0;
  let at = 0;
  let misses = 0;
  hashTable.fill(-1);
  const lastMatchStart = length - MATCH_END_DISTANCE;
  const matchEnd = length - LAST_LITERALS;
  while (at <= lastMatchStart) {
    const word = fourBytes(bytes, at);
    const slot = hashOf(word);
    const candidate = hashTable[slot] as number;
    hashTable[slot] = at;
    if (candidate < 0 || at - candidate > 0xffff || fourBytes(bytes, candidate) !== word) {
      // What does not compress is passed over faster and faster.
      at += 1 + (misses++ >>> 6);
      continue;
    }
    misses = 0;
    let matched = 4;
    while (at + matched < matchEnd && bytes[candidate + matched] === bytes[at + matched]) matched += 1;
    to = writeSequence(out, to, bytes, literalsFrom, at, matched - 4);
    const distance = at - candidate;
    out[to++] = distance & 0xff;
    out[to++] = distance >>> 8;
    to = writeRest(out, to, matched - 4);
    at += matched;
    literalsFrom = at;
  }
  to = writeSequence(out, to, bytes, literalsFrom, length, 0);
  return out.subarray(0, to);
}

/** Token and literals. */
function writeSequence(
  out: Buffer,
  start: number,
  bytes: Uint8Array,
  from: number,
  end: number,
  matchCode: number,
): number {
  const literals = end - from;
  out[start] = (Math.min(literals, 15) << 4) | Math.min(matchCode, 15);
  const to = writeRest(out, start + 1, literals);
  copyLiterals(out, to, bytes, from, literals);
  return to + literals;
}

/** What of a length does not fit into the token's four bits. */
function writeRest(out: Buffer, start: number, length: number): number {
  if (length < 15) return start;
  let to = start;
  let rest = length - 15;
  for (; rest >= 255; rest -= 255) out[to++] = 255;
  out[to++] = rest;
  return to;
}
