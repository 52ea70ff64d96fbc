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
    case "offsets-removed":
      return `${event.count} offsets removed: ${event.reason}`;
    case "group-deleted":
      return `deleted: ${event.reason}`;
  }
}
