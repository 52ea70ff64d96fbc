import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { Offset } from "./types.ts";

const VERSION = "0";

/** An offset for each partition, by `topic-partition`. */
export type OffsetsByPartition = ReadonlyMap<string, PartitionOffset>;

export interface PartitionOffset {
  readonly topic: string;
  readonly partition: number;
  readonly offset: Offset;
}

export function partitionKey(topic: string, partition: number): string {
  return `${topic}-${partition}`;
}

/** Kafka's text format of the offset checkpoints: version, count, then a line "topic partition offset" each. */
export function encodeOffsets(offsets: readonly PartitionOffset[]): string {
  const lines = offsets.map(({ topic, partition, offset }) => `${topic} ${partition} ${offset}`);
  return [VERSION, lines.length, ...lines, ""].join("\n");
}

export function decodeOffsets(text: string): Result<OffsetsByPartition, "bad-checkpoint"> {
  const [version, count, ...lines] = text.trimEnd().split("\n");
  if (version !== VERSION) return failed("bad-checkpoint", `offset checkpoint of version "${version ?? ""}"`);
  if (Number(count) !== lines.length)
    return failed("bad-checkpoint", `it says ${count ?? ""} lines and has ${lines.length}`);
  const offsets = new Map<string, PartitionOffset>();
  for (const line of lines) {
    const found = /^(\S+) (\d+) (\d+)$/.exec(line);
    const offset = Number(found?.[3]);
    if (found === null || !Number.isSafeInteger(offset)) return failed("bad-checkpoint", `line "${line}"`);
    const topic = found[1] ?? "";
    const partition = Number(found[2]);
    offsets.set(partitionKey(topic, partition), { topic, partition, offset: offset as Offset });
  }
  return ok(offsets);
}
