import type { Decision } from "../coordinator/machine.ts";
import type { ClassicGroup } from "./classic-group.ts";
import type { GroupEvent } from "./events.ts";
import type { GroupRecord } from "./records.ts";

/** Every kind of group. KIP-848, share and streams groups become further kinds here. */
export type Group = ClassicGroup;

/** Soft changes are whole groups: a decision replaces a group by the one it thought out. Null: nothing is left of it. */
export interface SoftGroup {
  readonly groupId: string;
  readonly group: Group | null;
}

export type GroupTimer =
  /** The member was not heard of for its session timeout. */
  | { readonly kind: "session"; readonly id: string; readonly groupId: string; readonly memberId: string }
  /** The time to join has passed: the initial delay, or the rebalance timeout. */
  | { readonly kind: "join"; readonly id: string; readonly groupId: string }
  /** The time to sync after joining has passed. */
  | { readonly kind: "sync"; readonly id: string; readonly groupId: string; readonly generation: number }
  /** Time to look for offsets that are too old. */
  | { readonly kind: "retention"; readonly id: string };

export interface GroupTypes {
  readonly record: GroupRecord;
  readonly soft: SoftGroup;
  readonly timer: GroupTimer;
  readonly effect: never;
  readonly event: GroupEvent;
}

export type GroupDecision = Decision<GroupTypes>;

/** The length keeps member "b:c" of group "a" and member "c" of group "a:b" apart. */
export function sessionTimer(groupId: string, memberId: string): GroupTimer {
  return { kind: "session", id: `session:${groupId.length}:${groupId}:${memberId}`, groupId, memberId };
}

export function joinTimer(groupId: string): GroupTimer {
  return { kind: "join", id: `join:${groupId}`, groupId };
}

export function syncTimer(groupId: string, generation: number): GroupTimer {
  return { kind: "sync", id: `sync:${groupId}`, groupId, generation };
}

export const retentionTimer: GroupTimer = { kind: "retention", id: "retention" };
