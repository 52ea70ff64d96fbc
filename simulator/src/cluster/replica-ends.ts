import { parsePartitionDirectoryName, parseSegmentFileName } from "@millrace/storage/file-names";
import { decodePartitionMetadata } from "@millrace/storage/partition-metadata";
import type { SimulatedDisk } from "../simulated-disk.ts";
import type { VirtualClock } from "../virtual-clock.ts";
import { batchesOf, segmentFiles } from "./inspection.ts";
import { dataDirectory } from "./node.ts";

/** In a batch, an int32. */
const lastOffsetDeltaAt = 23;
const lookMs = 100;

/** A node, as far as its disk goes. */
export interface Machine {
  readonly name: string;
  readonly platter: SimulatedDisk;
}

/**
 * Settles when the replicas of each partition end at the same offset: empty, or where they still end after so long. Nobody writes any more.
 *
 * A message that was lost before all was healed is sent again up to 40 s later, and a follower for which it would be the answer asks anew
 * when its request is over: for 10 s it is behind, and in the ISR as long as `replica.lag.time.max.ms` says. Nodes that stop
 * meanwhile stay as they are, without anybody having broken a promise.
 */
export async function untilLevel(clock: VirtualClock, machines: readonly Machine[], withinMs: number): Promise<string> {
  const endMs = clock.monotonicMs() + withinMs;
  for (;;) {
    const uneven = await unevenReplicas(machines);
    if (uneven === "" || clock.monotonicMs() >= endMs) return uneven;
    await clock.advance(lookMs);
  }
}

/**
 * Which partitions do not end at the same offset on all the disks that have them. That the ISR is full does not tell: a replica that
 * has not fetched for a while is still in it.
 */
async function unevenReplicas(machines: readonly Machine[]): Promise<string> {
  const ends = new Map<string, { readonly name: string; readonly endOffset: number }[]>();
  for (const { name, platter } of machines) {
    for (const [partition, endOffset] of await endsOn(platter))
      ends.set(partition, [...(ends.get(partition) ?? []), { name, endOffset }]);
  }
  const uneven = [...ends].filter(([, ofPartition]) => new Set(ofPartition.map((each) => each.endOffset)).size > 1);
  return uneven
    .map(([partition, ofPartition]) => {
      const places = ofPartition.map(({ name, endOffset }) => `${endOffset} on ${name}`);
      return `${partition} ends at ${places.join(", ")}`;
    })
    .join("; ");
}

/** By topic, partition and topic id: a name may be used again. */
async function endsOn(platter: SimulatedDisk): Promise<ReadonlyMap<string, number>> {
  const ends = new Map<string, number>();
  for (const { name, kind } of await platter.list(dataDirectory)) {
    if (kind !== "directory" || parsePartitionDirectoryName(name)?.state !== "live") continue;
    const directory = `${dataDirectory}/${name}`;
    const metadata = `${directory}/partition.metadata`;
    if ((await platter.stat(metadata)) === null) continue;
    const topicId = decodePartitionMetadata((await platter.readFile(metadata)).toString());
    if (topicId.ok) ends.set(`${name} ${topicId.value}`, await endOf(platter, directory));
  }
  return ends;
}

async function endOf(platter: SimulatedDisk, directory: string): Promise<number> {
  const last = (await segmentFiles(platter, directory)).at(-1);
  if (last === undefined) return 0;
  const [baseOffset, batch] = [...batchesOf([await platter.readFile(last)])].at(-1) ?? [];
  if (baseOffset === undefined || batch === undefined)
    return parseSegmentFileName(last.slice(last.lastIndexOf("/") + 1))?.baseOffset ?? 0;
  return baseOffset + batch.readInt32BE(lastOffsetDeltaAt) + 1;
}
