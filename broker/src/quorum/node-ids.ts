import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { Uuid } from "@millrace/storage/types";
import type { NodeId } from "raft-ts-lite";

/** Who takes part in the quorum: one disk of one node. A node whose disk was replaced is another one (KIP-853). */
export interface QuorumMember {
  readonly nodeId: number;
  readonly directoryId: Uuid;
}

/** The name under which raft knows a member: `1:kQhZ6zRdTuaXzWb0bW2sfg`. */
export function raftIdOf({ nodeId, directoryId }: QuorumMember): NodeId {
  return `${nodeId}:${directoryId}`;
}

export function memberOf(id: NodeId): QuorumMember {
  const parsed = parseRaftId(id);
  if (!parsed.ok) throw new Error(parsed.message);
  return parsed.value;
}

export function parseRaftId(text: string): Result<QuorumMember, "malformed"> {
  const match = /^(\d{1,10}):([A-Za-z0-9_-]{22})$/.exec(text);
  const [, nodeId = "", directoryId = ""] = match ?? [];
  if (match === null) return failed("malformed", `"${text}" names no member of a quorum: NODE-ID:DIRECTORY-ID`);
  return ok({ nodeId: Number(nodeId), directoryId });
}
