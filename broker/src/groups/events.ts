/** What happened in a group, for people: the log, and the answer to "why did it rebalance?". */
export type GroupEvent = { readonly groupId: string } & (
  | { readonly kind: "rebalance-began"; readonly generation: number; readonly reason: string }
  | {
      readonly kind: "generation-joined";
      readonly generation: number;
      readonly memberCount: number;
      readonly protocol: string;
    }
  | { readonly kind: "join-postponed"; readonly generation: number }
  | { readonly kind: "stabilized"; readonly generation: number; readonly memberCount: number }
  | { readonly kind: "emptied"; readonly generation: number }
  | { readonly kind: "member-removed"; readonly memberId: string; readonly reason: string }
  | {
      readonly kind: "member-replaced";
      readonly instanceId: string;
      readonly oldMemberId: string;
      readonly newMemberId: string;
    }
  /** Of a consumer group: why everyone gets another target. */
  | { readonly kind: "epoch-bumped"; readonly epoch: number; readonly reason: string }
  | {
      readonly kind: "target-assigned";
      readonly epoch: number;
      readonly assignor: string;
      readonly memberCount: number;
      /** Members whose target is another one than before. */
      readonly changedCount: number;
    }
  | {
      readonly kind: "revocation-awaited";
      readonly memberId: string;
      readonly partitionCount: number;
      readonly timeoutMs: number;
    }
  /** The member cannot have all of its target yet: `owners` have not given up all they must. */
  | { readonly kind: "release-awaited"; readonly memberId: string; readonly owners: readonly string[] }
  | { readonly kind: "member-settled"; readonly memberId: string; readonly epoch: number }
  | { readonly kind: "member-fenced"; readonly memberId: string; readonly reason: string }
  /** Who commits is not, or is no more, in the generation or epoch that it says. */
  | { readonly kind: "commit-refused"; readonly memberId: string; readonly epoch: string; readonly reason: string }
  | { readonly kind: "member-away"; readonly memberId: string; readonly instanceId: string }
  | { readonly kind: "protocol-changed"; readonly to: "classic" | "consumer"; readonly reason: string }
  | { readonly kind: "offsets-removed"; readonly count: number; readonly reason: string }
  | { readonly kind: "group-deleted"; readonly reason: string }
);

/** One line, for traces and tools. */
export function eventText(event: GroupEvent): string {
  switch (event.kind) {
    case "rebalance-began":
      return `rebalance after generation ${event.generation}: ${event.reason}`;
    case "generation-joined":
      return `generation ${event.generation} joined by ${event.memberCount} with protocol ${event.protocol}`;
    case "join-postponed":
      return `generation ${event.generation} cannot begin: nobody has joined`;
    case "stabilized":
      return `generation ${event.generation} is stable with ${event.memberCount}`;
    case "emptied":
      return `generation ${event.generation} is empty`;
    case "member-removed":
      return `${event.memberId} removed: ${event.reason}`;
    case "member-replaced":
      return `${event.newMemberId} replaces ${event.oldMemberId} as ${event.instanceId}`;
    case "epoch-bumped":
      return `epoch ${event.epoch}: ${event.reason}`;
    case "target-assigned":
      return `target of epoch ${event.epoch} by ${event.assignor} for ${event.memberCount}: ${event.changedCount} changed`;
    case "revocation-awaited":
      return `${event.memberId} must give up ${event.partitionCount} partitions within ${event.timeoutMs} ms`;
    case "release-awaited":
      return `${event.memberId} waits for partitions of ${event.owners.join(", ")}`;
    case "member-settled":
      return `${event.memberId} has all of epoch ${event.epoch}`;
    case "member-fenced":
      return `${event.memberId} fenced: ${event.reason}`;
    case "commit-refused":
      return `${event.memberId === "" ? "a stranger" : event.memberId} may not commit in ${event.epoch}: ${event.reason}`;
    case "member-away":
      return `${event.memberId} is away, and ${event.instanceId} may come back`;
    case "protocol-changed":
      return `changed to the ${event.to} protocol: ${event.reason}`;
    case "offsets-removed":
      return `${event.count} offsets removed: ${event.reason}`;
    case "group-deleted":
      return `deleted: ${event.reason}`;
  }
}
