/** What the two pure block codecs, LZ4 and Snappy, share: both copy runs from what is already written. */

/** Below this a loop is cheaper than a call into the engine's copy. */
const LOOP_BYTES_MAX = 24;

/** `length` bytes of `source`, which is another buffer. The caller has checked both ends. */
export function copyLiterals(out: Buffer, to: number, source: Uint8Array, from: number, length: number): void {
  if (length <= LOOP_BYTES_MAX) {
    for (let index = 0; index < length; index++) out[to + index] = source[from + index] as number;
  } else {
    out.set(source.subarray(from, from + length), to);
  }
}

/** `length` bytes from `distance` bytes before. Where the two overlap, the run repeats itself: that is how a run of one byte is written. */
export function copyMatch(out: Buffer, to: number, distance: number, length: number): void {
  const from = to - distance;
  if (length <= LOOP_BYTES_MAX) {
    for (let index = 0; index < length; index++) out[to + index] = out[from + index] as number;
  } else if (distance >= length) {
    out.copyWithin(to, from, from + length);
  } else if (distance === 1) {
    out.fill(out[from] as number, to, to + length);
  } else {
    // Every round doubles what can be copied at once.
    for (let done = 0; done < length;) {
      const bytes = Math.min(distance + done, length - done);
      out.copyWithin(to + done, from, from + bytes);
      done += bytes;
    }
  }
}

/** Positions of four-byte sequences seen before, for the compressors. One table, since compression never overlaps in a thread. */
export const HASH_BITS = 14;
export const hashTable: Int32Array = new Int32Array(1 << HASH_BITS);

export function fourBytes(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] as number) |
    ((bytes[at + 1] as number) << 8) |
    ((bytes[at + 2] as number) << 16) |
    ((bytes[at + 3] as number) << 24)
  );
}

export function hashOf(word: number): number {
  return Math.imul(word, 0x9e3779b1) >>> (32 - HASH_BITS);
}
