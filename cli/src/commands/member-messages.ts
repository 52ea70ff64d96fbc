/** What a node says to the process that watches over it. */
export interface MemberMessage {
  readonly kind: "ready";
  readonly host: string;
  readonly port: number;
  /** Since its process began. */
  readonly readyMs: number;
}

/** What the process that watches over a node says to it. */
export interface StopMessage {
  readonly kind: "stop";
  /** There are controllers enough to have others lead what this node leads. */
  readonly isHandedOver: boolean;
}

export function isStopMessage(message: unknown): message is StopMessage {
  return kindOf(message) === "stop";
}

export function isMemberMessage(message: unknown): message is MemberMessage {
  return kindOf(message) === "ready";
}

function kindOf(message: unknown): unknown {
  return typeof message === "object" && message !== null && "kind" in message ? message.kind : null;
}
