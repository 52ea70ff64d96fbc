import { systemRandom } from "@millrace/base/node/system-random";
import type { Random } from "@millrace/base/world";
import { murmur2 } from "../producer/partitioner.ts";
import type { DefaultPartitioner, ICustomPartitioner, LegacyPartitioner } from "./config-types.ts";

const positiveBits = 0x7fff_ffff;

/** The partition of a key by its hash; without a key one after the other; a partition that is given counts before both. */
function keyedOrInTurn(hash: (key: Buffer) => number, random: Random): ICustomPartitioner {
  return () => {
    const turns = new Map<string, number>();
    return ({ topic, partitionMetadata, message }) => {
      const { key, partition } = message;
      if (partition !== undefined && partition !== null) return partition;
      const count = partitionMetadata.length;
      if (key !== undefined && key !== null) {
        return (hash(bytesOf(key)) & positiveBits) % count;
      }
      const turn = (turns.get(topic) ?? Math.floor(random.fraction() * positiveBits)) + 1;
      turns.set(topic, turn);
      const led = partitionMetadata.filter(({ leader }) => leader >= 0);
      const at = turn & positiveBits;
      return led.length > 0 ? (led[at % led.length]?.partitionId ?? 0) : at % count;
    };
  };
}

/** Against the types, a key may be a number. */
function bytesOf(key: Buffer | string | number): Buffer {
  return Buffer.isBuffer(key) ? key : Buffer.from(`${key}`);
}

/**
 * What KafkaJS 1 took for Java's murmur2: its products are those of JavaScript's numbers, which lose low bits, so that its
 * keys lie in partitions of their own. Kept for topics that were written with it.
 */
export function lossyMurmur2(key: Uint8Array): number {
  const multiplier = 0x5bd1e995;
  const byte = (at: number): number => (key[at] ?? 0) & 0xff;
  let hash = 0x9747b28c ^ key.length;
  // A word that is not whole is mixed in, too, and its bytes again below.
  for (let word = 0; word < key.length / 4; word++) {
    const at = word * 4;
    let mixed = byte(at) + (byte(at + 1) << 8) + (byte(at + 2) << 16) + (byte(at + 3) << 24);
    mixed *= multiplier;
    mixed ^= mixed >>> 24;
    mixed *= multiplier;
    hash *= multiplier;
    hash ^= mixed;
  }
  const left = key.length % 4;
  const rest = key.length - left;
  if (left === 3) hash ^= byte(rest + 2) << 16;
  if (left >= 2) hash ^= byte(rest + 1) << 8;
  if (left >= 1) {
    hash ^= byte(rest);
    hash *= multiplier;
  }
  hash ^= hash >>> 13;
  hash *= multiplier;
  return hash ^ (hash >>> 15);
}

/** As Java's: a key lies where every other client puts it. Without a key, partition after partition. */
const defaultPartitioner: DefaultPartitioner = keyedOrInTurn(murmur2, systemRandom);
/** As KafkaJS 1 did it. */
const legacyPartitioner: LegacyPartitioner = keyedOrInTurn(lossyMurmur2, systemRandom);

/** Where records go: `DefaultPartitioner` hashes keys as Java does, `LegacyPartitioner` as KafkaJS 1 did. */
export const Partitioners: {
  readonly DefaultPartitioner: DefaultPartitioner;
  readonly LegacyPartitioner: LegacyPartitioner;
  /** The same as DefaultPartitioner. */
  readonly JavaCompatiblePartitioner: DefaultPartitioner;
} = {
  DefaultPartitioner: defaultPartitioner,
  LegacyPartitioner: legacyPartitioner,
  JavaCompatiblePartitioner: defaultPartitioner,
};

/** The default, with the chance of a world. */
export function defaultPartitionerOf(random: Random): ICustomPartitioner {
  return keyedOrInTurn(murmur2, random);
}
