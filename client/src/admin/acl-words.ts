import { words } from "./words.ts";
import type { Words } from "./words.ts";

/** What a rule is about. */
export type AclResourceType = "topic" | "group" | "cluster" | "transactional-id" | "delegation-token" | "user";

/** Whether a rule names its resource, or what the names of its resources begin with. */
export type AclPattern = "literal" | "prefixed";

/** What a rule allows or denies, and what somebody may do who asks for authorized operations. */
export type AclOperation =
  | "all"
  | "read"
  | "write"
  | "create"
  | "delete"
  | "alter"
  | "describe"
  | "cluster-action"
  | "describe-configs"
  | "alter-configs"
  | "idempotent-write"
  | "create-tokens"
  | "describe-tokens"
  | "two-phase-commit";

/** Whether a rule allows or denies. A rule that denies is stronger than any that allows. */
export type AclPermission = "allow" | "deny";

export const aclResourceTypes: Words<AclResourceType> = words("ACL resource", {
  topic: 2,
  group: 3,
  cluster: 4,
  "transactional-id": 5,
  "delegation-token": 6,
  user: 7,
});

export const aclPatterns: Words<AclPattern | "match"> = words("ACL pattern", { match: 2, literal: 3, prefixed: 4 });

export const aclOperations: Words<AclOperation> = words("ACL operation", {
  all: 2,
  read: 3,
  write: 4,
  create: 5,
  delete: 6,
  alter: 7,
  describe: 8,
  "cluster-action": 9,
  "describe-configs": 10,
  "alter-configs": 11,
  "idempotent-write": 12,
  "create-tokens": 13,
  "describe-tokens": 14,
  "two-phase-commit": 15,
});

export const aclPermissions: Words<AclPermission> = words("ACL permission", { deny: 2, allow: 3 });
