import type { TopicLookup } from "../topic-lookup.ts";

/**
 * Stands for the topics that a group reads, their ids and how many partitions they have: when it changes, the group needs
 * another assignment. A safe integer; 0 for no topics. Kafka's own hash is another one, so a group that was taken over
 * from there is assigned once more.
 */
export function metadataHash(names: Iterable<string>, topics: TopicLookup): number {
  let sum = 0;
  for (const name of names) {
    const topic = topics.byName(name);
    // Of each topic by itself, and added up: the order of names does not matter.
    if (topic !== null) sum = (sum + hash53(`${topic.name}:${topic.id}:${topic.partitionCount}`)) % MODULUS;
  }
  return sum;
}

const MODULUS = 2 ** 52;

/** Two 32-bit multiplicative hashes side by side: 53 bits. */
function hash53(text: string): number {
  let low = 0xdeadbeef;
  let high = 0x41c6ce57;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    low = Math.imul(low ^ unit, 0x9e3779b1);
    high = Math.imul(high ^ unit, 0x5f356495);
  }
  low = Math.imul(low ^ (low >>> 16), 0x85ebca6b) ^ Math.imul(high ^ (high >>> 13), 0xc2b2ae35);
  high = Math.imul(high ^ (high >>> 16), 0x85ebca6b) ^ Math.imul(low ^ (low >>> 13), 0xc2b2ae35);
  return (high & 0x1f_ffff) * 0x1_0000_0000 + (low >>> 0);
}
