/**
 * The hash of the Java client's default partitioner, so that a key lands in the same partition from any language:
 * MurmurHash2 (Austin Appleby, public domain), 32 bit, with Kafka's seed.
 */
export function murmur2(bytes: Uint8Array): number {
  const multiplier = 0x5bd1e995;
  const length = bytes.length;
  let hash = 0x9747b28c ^ length;
  let at = 0;
  for (; at + 4 <= length; at += 4) {
    let word =
      byteAt(bytes, at) | (byteAt(bytes, at + 1) << 8) | (byteAt(bytes, at + 2) << 16) | (byteAt(bytes, at + 3) << 24);
    word = Math.imul(word, multiplier);
    word ^= word >>> 24;
    word = Math.imul(word, multiplier);
    hash = Math.imul(hash, multiplier) ^ word;
  }
  const left = length - at;
  if (left >= 3) hash ^= byteAt(bytes, at + 2) << 16;
  if (left >= 2) hash ^= byteAt(bytes, at + 1) << 8;
  if (left >= 1) {
    hash ^= byteAt(bytes, at);
    hash = Math.imul(hash, multiplier);
  }
  hash ^= hash >>> 13;
  hash = Math.imul(hash, multiplier);
  return hash ^ (hash >>> 15);
}

const byteAt = (bytes: Uint8Array, index: number): number => bytes[index] ?? 0;

/** The partition of a key: murmur2 without its sign bit, modulo the count. */
export function partitionOfKey(key: Uint8Array, partitionCount: number): number {
  return (murmur2(key) & 0x7fffffff) % partitionCount;
}
