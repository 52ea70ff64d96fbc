import { asBuffer, badData, tooLarge } from "./compression.ts";
import type { CompressionImplementation } from "./compression.ts";
import { copyLiterals, copyMatch, fourBytes, hashOf, hashTable } from "./matches.ts";

/** One raw Snappy block, both ways: what a host's faster codec must offer. */
export interface SnappyBlockCodec {
  compress(bytes: Uint8Array): Uint8Array;
  /** `length` is what the block's preamble says, already found to be within limits. Throws on broken bytes. */
  decompress(block: Uint8Array, length: number): Buffer;
}

/**
 * Java frames Snappy in its own way (xerial): sixteen bytes of header, then blocks, each with its length in front.
 * Kafka's clients read both this and one raw block, so both are read here; the framed form is written.
 */
const MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
const FRAME_HEADER_BYTES = 16;
const FRAME_VERSION = 1;
/** A stream may have another stream behind it: its magic then stands where a block's length would. */
const MAGIC_AS_LENGTH: number = MAGIC.readInt32BE(0);
const BLOCK_BYTES = 32_768;
/** A copy of 64 bytes takes three: a block that claims to grow more than this lies. */
const GROWTH_MAX = 22;

export function snappyCodec(blocks: SnappyBlockCodec = pureSnappyBlocks): CompressionImplementation {
  return {
    compress: (bytes) => compressFramed(blocks, asBuffer(bytes)),
    decompress: (bytes, maxBytes) => {
      const source = asBuffer(bytes);
      const isFramed =
        source.length >= FRAME_HEADER_BYTES && source.compare(MAGIC, 0, MAGIC.length, 0, MAGIC.length) === 0;
      return isFramed ? decompressFramed(blocks, source, maxBytes) : decompressBlock(blocks, source, maxBytes);
    },
  };
}

function compressFramed(blocks: SnappyBlockCodec, bytes: Buffer): Buffer {
  const header = Buffer.alloc(FRAME_HEADER_BYTES);
  MAGIC.copy(header);
  header.writeInt32BE(FRAME_VERSION, 8);
  header.writeInt32BE(FRAME_VERSION, 12);
  const parts: Uint8Array[] = [header];
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
    const block = blocks.compress(bytes.subarray(at, at + BLOCK_BYTES));
    const length = Buffer.allocUnsafe(4);
    length.writeInt32BE(block.length);
    parts.push(length, block);
  }
  return Buffer.concat(parts);
}

function decompressBlock(blocks: SnappyBlockCodec, block: Buffer, maxBytes: number): Buffer {
  const length = claimedLength(block);
  if (length > maxBytes) throw tooLarge("Snappy data", maxBytes);
  return decoded(blocks, block, length);
}

/** Two rounds: the first only adds the lengths, so that nothing is spent on a stream that is too long or broken. */
function decompressFramed(blocks: SnappyBlockCodec, bytes: Buffer, maxBytes: number): Buffer {
  let total = 0;
  let blockCount = 0;
  for (const block of framedBlocks(bytes)) {
    total += claimedLength(block);
    blockCount += 1;
    if (total > maxBytes) throw tooLarge("Snappy data", maxBytes);
  }
  if (blockCount === 1) {
    for (const block of framedBlocks(bytes)) return decoded(blocks, block, total);
  }
  const out = Buffer.allocUnsafe(total);
  let at = 0;
  for (const block of framedBlocks(bytes)) {
    const plain = decoded(blocks, block, claimedLength(block));
    out.set(plain, at);
    at += plain.length;
  }
  return out;
}

function* framedBlocks(bytes: Buffer): Generator<Buffer, void> {
  let at = FRAME_HEADER_BYTES;
  while (at < bytes.length) {
    if (bytes.length - at < 4) throw badData("a Snappy stream ends inside a block's length");
    const length = bytes.readInt32BE(at);
    if (length === MAGIC_AS_LENGTH && bytes.length - at >= FRAME_HEADER_BYTES) {
      at += FRAME_HEADER_BYTES;
      continue;
    }
    if (length < 0 || length > bytes.length - at - 4)
      throw badData(`a Snappy block of ${length} bytes runs past its stream`);
    yield bytes.subarray(at + 4, at + 4 + length);
    at += 4 + length;
  }
}

function decoded(blocks: SnappyBlockCodec, block: Buffer, length: number): Buffer {
  let plain: Buffer;
  try {
    plain = blocks.decompress(block, length);
  } catch (cause) {
    throw badData("a broken Snappy block", cause);
  }
  if (plain.length !== length) throw badData(`a Snappy block holds ${plain.length} bytes and claims ${length}`);
  return plain;
}

/** The preamble: how long the block becomes. Believed only within what Snappy can reach. */
function claimedLength(block: Uint8Array): number {
  let length = 0;
  for (let at = 0; at < Math.min(block.length, 5); at++) {
    const byte = block[at] as number;
    length += (byte & 0x7f) * 2 ** (7 * at);
    if (byte < 0x80) {
      if (length > block.length * GROWTH_MAX)
        throw badData(`a Snappy block of ${block.length} bytes claims to hold ${length}`);
      return length;
    }
  }
  throw badData("a Snappy block without a readable length");
}

export const pureSnappyBlocks: SnappyBlockCodec = { compress: compressPure, decompress: decompressPure };

function decompressPure(block: Uint8Array, length: number): Buffer {
  const out = Buffer.allocUnsafe(length);
  const end = block.length;
  let at = 0;
  while ((block[at++] as number) >= 0x80);
  let to = 0;
  while (at < end) {
    const tag = block[at++] as number;
    let runBytes = (tag >>> 2) + 1;
    if ((tag & 3) === 0) {
      if (runBytes > 60) {
        const extra = runBytes - 60;
        if (at + extra > end) throw new RangeError("a literal's length is cut");
        runBytes = 1;
        for (let index = 0; index < extra; index++) runBytes += (block[at + index] as number) * 2 ** (8 * index);
        at += extra;
      }
      if (at + runBytes > end || to + runBytes > length) throw new RangeError("a literal runs past the block");
      copyLiterals(out, to, block, at, runBytes);
      at += runBytes;
    } else {
      let distance: number;
      if ((tag & 3) === 1) {
        runBytes = ((tag >>> 2) & 7) + 4;
        distance = ((tag >>> 5) << 8) | (block[at] as number);
        at += 1;
      } else if ((tag & 3) === 2) {
        distance = (block[at] as number) | ((block[at + 1] as number) << 8);
        at += 2;
      } else {
        distance = fourBytes(block, at) >>> 0;
        at += 4;
      }
      if (at > end || distance === 0 || distance > to || to + runBytes > length)
        throw new RangeError("a copy out of bounds");
      copyMatch(out, to, distance, runBytes);
    }
    to += runBytes;
  }
  if (to !== length) throw new RangeError("the block ends early");
  return out;
}

/** Greedy, over blocks of at most 64 KiB, so that every distance fits two bytes. */
function compressPure(bytes: Uint8Array): Uint8Array {
  const length = bytes.length;
  const out = Buffer.allocUnsafe(32 + length + Math.ceil(length / 6));
  let to = 0;
  for (let rest = length; ; rest >>>= 7) {
    out[to++] = rest > 0x7f ? (rest & 0x7f) | 0x80 : rest;
    if (rest <= 0x7f) break;
  }
  hashTable.fill(-1);
  let literalsFrom = 0;
  let at = 0;
  let misses = 0;
  while (at + 4 <= length) {
    const word = fourBytes(bytes, at);
    const slot = hashOf(word);
    const candidate = hashTable[slot] as number;
    hashTable[slot] = at;
    if (candidate < 0 || at - candidate > 0xffff || fourBytes(bytes, candidate) !== word) {
      // What does not compress is passed over faster and faster.
      at += 1 + (misses++ >>> 5);
      continue;
    }
    misses = 0;
    let matched = 4;
    while (at + matched < length && bytes[candidate + matched] === bytes[at + matched]) matched += 1;
    to = writeLiterals(out, to, bytes, literalsFrom, at);
    to = writeCopies(out, to, at - candidate, matched);
    at += matched;
    literalsFrom = at;
  }
  to = writeLiterals(out, to, bytes, literalsFrom, length);
  return out.subarray(0, to);
}

function writeLiterals(out: Buffer, start: number, bytes: Uint8Array, from: number, end: number): number {
  const length = end - from;
  if (length === 0) return start;
  let to = start;
  if (length <= 60) {
    out[to++] = (length - 1) << 2;
  } else if (length <= 0x100) {
    out[to++] = 60 << 2;
    out[to++] = length - 1;
  } else {
    out[to++] = 61 << 2;
    out[to++] = (length - 1) & 0xff;
    out[to++] = (length - 1) >>> 8;
  }
  copyLiterals(out, to, bytes, from, length);
  return to + length;
}

function writeCopies(out: Buffer, start: number, distance: number, length: number): number {
  let to = start;
  for (let rest = length; rest > 0;) {
    // A copy is 1 to 64 bytes long in this form; only the last may be short.
    const runBytes = Math.min(rest, 64);
    out[to++] = ((runBytes - 1) << 2) | 2;
    out[to++] = distance & 0xff;
    out[to++] = distance >>> 8;
    rest -= runBytes;
  }
  return to;
}
