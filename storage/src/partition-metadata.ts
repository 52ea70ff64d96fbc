import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import { parseProperties } from "./properties.ts";
import type { Uuid } from "./types.ts";

/** `partition.metadata`: of which topic these records are. A name may be used again, an id never. */
export function encodePartitionMetadata(topicId: Uuid): string {
  return `version: 0\ntopic_id: ${topicId}\n`;
}

export function decodePartitionMetadata(text: string): Result<Uuid, "bad-partition-metadata"> {
  const properties = parseProperties(text);
  const version = properties.get("version");
  if (version !== "0")
    return failed("bad-partition-metadata", `partition.metadata has version "${version ?? ""}", not 0`);
  const topicId = properties.get("topic_id") ?? "";
  return /^[\w-]{22}$/.test(topicId) ? ok(topicId) : failed("bad-partition-metadata", `"${topicId}" is no topic id`);
}
