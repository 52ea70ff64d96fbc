/**
 * The hash by which Java's producer places a key, and with it every client that wants to share topics with it. Written
 * here from its definition, so that the clients are compared with something that none of them brought.
 */
export function partitionOfKey(key: Uint8Array, partitions: number): number {
  return (murmur2(key) & 0x7fffffff) % partitions;
}

export function murmur2(bytes: Uint8Array): number {
  const multiplier = 0x5bd1e995;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let hash = 0x9747b28c ^ bytes.length;
  const wordsEnd = bytes.length & ~3;
  for (let at = 0; at < wordsEnd; at += 4) {
    let word = Math.imul(view.getInt32(at, true), multiplier);
    word = Math.imul(word ^ (word >>> 24), multiplier);
    hash = Math.imul(hash, multiplier) ^ word;
  }
  const rest = bytes.subarray(wordsEnd);
  for (const [index, byte] of rest.entries()) hash ^= byte << (8 * index);
  if (rest.length > 0) hash = Math.imul(hash, multiplier);
  hash = Math.imul(hash ^ (hash >>> 13), multiplier);
  return hash ^ (hash >>> 15);
}
