import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { Random } from "@millrace/base/world";
import { formatProperties, parseProperties } from "./properties.ts";
import type { Uuid } from "./types.ts";

/** Whose directory this is: `meta.properties`, as Kafka has it. */
export interface MetaProperties {
  readonly clusterId: string;
  readonly nodeId: number;
  readonly directoryId: Uuid;
}

export function encodeMetaProperties({ clusterId, nodeId, directoryId }: MetaProperties): string {
  return formatProperties({ version: 1, "cluster.id": clusterId, "node.id": nodeId, "directory.id": directoryId });
}

export function decodeMetaProperties(text: string): Result<MetaProperties, "bad-meta-properties"> {
  const properties = parseProperties(text);
  const version = properties.get("version");
  if (version !== "1") return failed("bad-meta-properties", `meta.properties has version "${version ?? ""}", not 1`);
  const clusterId = properties.get("cluster.id") ?? "";
  const nodeId = Number(properties.get("node.id"));
  const directoryId = properties.get("directory.id") ?? "";
  const isWhole = clusterId !== "" && Number.isInteger(nodeId) && directoryId !== "";
  if (!isWhole) return failed("bad-meta-properties", "meta.properties lacks cluster.id, node.id or directory.id");
  return ok({ clusterId, nodeId, directoryId });
}

/** Kafka's ids never begin with a dash: a command line would take them for an option. */
export function randomUuid(random: Random): Uuid {
  for (;;) {
    const bytes = random.bytes(16);
    bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
    bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
    const text = bytes.toString("base64url");
    if (!text.startsWith("-")) return text;
  }
}
