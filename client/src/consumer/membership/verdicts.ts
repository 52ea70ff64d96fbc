import { corrupt, KafkaError } from "../../errors.ts";

/**
 * What follows from an answer that is an error, or from none: decided here, carried out by the memberships. SPEC.md shows
 * it as tables.
 */
export type Verdict =
  /** The coordinator is asked again after a pause: it is loading. */
  | "again"
  /** The coordinator is looked for, and asked again after a pause. */
  | "elsewhere"
  /** Joins at once, with the id that the answer gave. */
  | "named"
  /** Joins again as the member that it is, with what it has. */
  | "rejoin"
  /** It has missed something: what it has is lost, and it joins again under its id. */
  | "behind"
  /** The coordinator does not know it: what it has is lost, and it joins as somebody new. */
  | "unknown"
  /** The old process may still be there: asked again for as long as a session, then failed. */
  | "unreleased"
  /** No attempt can succeed. */
  | "failed";

export type ClassicRequest = "JoinGroup" | "SyncGroup" | "Heartbeat" | "OffsetCommit";
export type ConsumerRequest = "join" | "heartbeat" | "OffsetCommit";

const everywhere: Readonly<Record<string, Verdict>> = {
  COORDINATOR_LOAD_IN_PROGRESS: "again",
  COORDINATOR_NOT_AVAILABLE: "elsewhere",
  NOT_COORDINATOR: "elsewhere",
  FENCED_INSTANCE_ID: "failed",
  UNKNOWN_MEMBER_ID: "unknown",
};

const classic: Readonly<Record<ClassicRequest, Readonly<Record<string, Verdict>>>> = {
  JoinGroup: { MEMBER_ID_REQUIRED: "named", REBALANCE_IN_PROGRESS: "again", ILLEGAL_GENERATION: "behind" },
  SyncGroup: { REBALANCE_IN_PROGRESS: "rejoin", ILLEGAL_GENERATION: "behind" },
  Heartbeat: { REBALANCE_IN_PROGRESS: "rejoin", ILLEGAL_GENERATION: "behind" },
  OffsetCommit: { REBALANCE_IN_PROGRESS: "rejoin", ILLEGAL_GENERATION: "behind" },
};

const consumer: Readonly<Record<ConsumerRequest, Readonly<Record<string, Verdict>>>> = {
  join: { FENCED_MEMBER_EPOCH: "behind", UNKNOWN_MEMBER_ID: "behind", UNRELEASED_INSTANCE_ID: "unreleased" },
  heartbeat: { FENCED_MEMBER_EPOCH: "behind", UNKNOWN_MEMBER_ID: "behind", GROUP_ID_NOT_FOUND: "behind" },
  // The next heartbeat finds out.
  OffsetCommit: {
    STALE_MEMBER_EPOCH: "again",
    FENCED_MEMBER_EPOCH: "again",
    UNKNOWN_MEMBER_ID: "again",
    ILLEGAL_GENERATION: "again",
    GROUP_ID_NOT_FOUND: "again",
  },
};

export function classicVerdict(request: ClassicRequest, error: KafkaError): Verdict {
  return classic[request][error.code] ?? otherVerdict(request, error);
}

export function consumerVerdict(request: ConsumerRequest, error: KafkaError): Verdict {
  return consumer[request][error.code] ?? otherVerdict(request, error);
}

/** Lost connections and whatever else may pass: the coordinator may have moved. */
function otherVerdict(request: ClassicRequest | ConsumerRequest, error: KafkaError): Verdict {
  const verdict = everywhere[error.code] ?? (error.retriable ? "elsewhere" : null);
  // What is wrong with a commit alone is no matter of the membership.
  return verdict ?? (request === "OffsetCommit" ? "again" : "failed");
}

export function asKafkaError(error: unknown): KafkaError {
  if (error instanceof KafkaError) return error;
  return corrupt(`what a member of a group was told cannot be used: ${(error as Error).message}`, error);
}
