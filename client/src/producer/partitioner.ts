/** What a partitioner looks at. The key is as it is sent: bytes. */
export interface PartitionerInput {
  /** The name of the topic. */
  readonly topic: string;
  /** Null: without a key. */
  readonly key: Uint8Array | null;
  /** Null: a tombstone. */
  readonly value: Uint8Array | null;
  /** The topic's partitions are 0 to one less. */
  readonly partitionCount: number;
}

/** The partition of a record, 0 to `partitionCount` - 1; null leaves the choice to the default: by key, or sticky. */
export type Partitioner = (record: PartitionerInput) => number | null;

/**
 * The hash of the Java client's default partitioner, so that a key lands in the same partition from any language:
 * MurmurHash2 (Austin Appleby, public domain), 32 bit, with Kafka's seed.
 */
export function murmur2(bytes: Uint8Array): number {
  const multiplier = 0x5bd1e995;
  const length = bytes.length;
  const wordsEnd = length & ~3;
  let hash = 0x9747b28c ^ length;
  for (let at = 0; at < wordsEnd; at += 4) {
    let word =
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24);
    word = Math.imul(word, multiplier);
    word ^= word >>> 24;
    word = Math.imul(word, multiplier);
    hash = Math.imul(hash, multiplier) ^ word;
  }
  const left = length - wordsEnd;
  if (left >= 3) hash ^= (bytes[wordsEnd + 2] as number) << 16;
  if (left >= 2) hash ^= (bytes[wordsEnd + 1] as number) << 8;
  if (left >= 1) {
    hash ^= bytes[wordsEnd] as number;
    hash = Math.imul(hash, multiplier);
  }
  hash ^= hash >>> 13;
  hash = Math.imul(hash, multiplier);
  return hash ^ (hash >>> 15);
}

/** The partition of a key: murmur2 without its sign bit, modulo the count. */
export function partitionOfKey(key: Uint8Array, partitionCount: number): number {
  return (murmur2(key) & 0x7fffffff) % partitionCount;
}
