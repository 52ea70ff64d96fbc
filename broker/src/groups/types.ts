import type { Decision } from "../coordinator/machine.ts";
import type { ClassicGroup } from "./classic-group.ts";
import type { ConsumerGroup } from "./consumer/group.ts";
import type { GroupEvent } from "./events.ts";
import type { GroupRecord } from "./records.ts";

/** Every kind of group. Share and streams groups become further kinds here. */
export type Group = ClassicGroup | ConsumerGroup;

/** Soft changes of classic groups are whole groups: a decision replaces one by what it thought out. Null: nothing is left of it. */
export interface SoftGroup {
  readonly groupId: string;
  readonly group: ClassicGroup | null;
}

/** A classic member of a consumer group was told to join again, or has joined. */
export interface SoftJoin {
  readonly groupId: string;
  readonly memberId: string;
  readonly isJoinAwaited: boolean;
}

/** Topics have changed, and what this means to groups is about to be looked at. */
export interface SoftTopicsCheck {
  readonly isTopicsCheckDue: boolean;
}

export type SoftChange = SoftGroup | SoftJoin | SoftTopicsCheck;

export type GroupTimer =
  /** The member was not heard of for its session timeout. */
  | { readonly kind: "session"; readonly id: string; readonly groupId: string; readonly memberId: string }
  /** The time to join has passed: the initial delay, or the rebalance timeout. */
  | { readonly kind: "join"; readonly id: string; readonly groupId: string }
  /** The time to sync after joining has passed. */
  | { readonly kind: "sync"; readonly id: string; readonly groupId: string; readonly generation: number }
  /** The member of a consumer group was to give partitions up, and to say so. */
  | {
      readonly kind: "revocation";
      readonly id: string;
      readonly groupId: string;
      readonly memberId: string;
      readonly epoch: number;
    }
  /** The classic member of a consumer group was to join again, or to sync. */
  | { readonly kind: "classic-join"; readonly id: string; readonly groupId: string; readonly memberId: string }
  | { readonly kind: "classic-sync"; readonly id: string; readonly groupId: string; readonly memberId: string }
  /** A group that has just become a classic one lets its members join. */
  | { readonly kind: "downgraded"; readonly id: string; readonly groupId: string; readonly reason: string }
  /** Topics have changed: consumer groups may read others. */
  | { readonly kind: "topics"; readonly id: string }
  /** Time to look what the regular expressions of consumer groups match. */
  | { readonly kind: "regexes"; readonly id: string }
  /** Time to look for offsets that are too old. */
  | { readonly kind: "retention"; readonly id: string };

export interface GroupTypes {
  readonly record: GroupRecord;
  readonly soft: SoftChange;
  readonly timer: GroupTimer;
  readonly effect: never;
  readonly event: GroupEvent;
}

export type GroupDecision = Decision<GroupTypes>;

/** The length keeps member "b:c" of group "a" and member "c" of group "a:b" apart. */
export function sessionTimer(groupId: string, memberId: string): GroupTimer {
  return { kind: "session", id: `session:${groupId.length}:${groupId}:${memberId}`, groupId, memberId };
}

export function revocationTimer(groupId: string, memberId: string, epoch: number): GroupTimer {
  return { kind: "revocation", id: `revocation:${groupId.length}:${groupId}:${memberId}`, groupId, memberId, epoch };
}

export function classicJoinTimer(groupId: string, memberId: string): GroupTimer {
  return { kind: "classic-join", id: `classic-join:${groupId.length}:${groupId}:${memberId}`, groupId, memberId };
}

export function classicSyncTimer(groupId: string, memberId: string): GroupTimer {
  return { kind: "classic-sync", id: `classic-sync:${groupId.length}:${groupId}:${memberId}`, groupId, memberId };
}

export function downgradedTimer(groupId: string, reason: string): GroupTimer {
  return { kind: "downgraded", id: `downgraded:${groupId}`, groupId, reason };
}

export const topicsTimer: GroupTimer = { kind: "topics", id: "topics" };
export const regexesTimer: GroupTimer = { kind: "regexes", id: "regexes" };

export function joinTimer(groupId: string): GroupTimer {
  return { kind: "join", id: `join:${groupId}`, groupId };
}

export function syncTimer(groupId: string, generation: number): GroupTimer {
  return { kind: "sync", id: `sync:${groupId}`, groupId, generation };
}

export const retentionTimer: GroupTimer = { kind: "retention", id: "retention" };
