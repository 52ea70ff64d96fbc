import type { Outcome } from "./transaction.ts";

/** Who ended a transaction: its producer, the next one that began with its transactional id, or its timeout. */
export type DecisionCause = "producer" | "successor" | "timeout";

/** What happened to a transactional id, for people: why a producer was fenced, why a transaction was aborted. */
export type TransactionEvent = { readonly transactionalId: string; readonly producerId: number } & (
  | { readonly kind: "began"; readonly producerEpoch: number }
  | { readonly kind: "producer-given"; readonly producerEpoch: number; readonly reason: string }
  | {
      readonly kind: "decided";
      readonly outcome: Outcome;
      readonly producerEpoch: number;
      readonly cause: DecisionCause;
      readonly reason: string;
    }
  | { readonly kind: "completed"; readonly outcome: Outcome }
  | { readonly kind: "refused"; readonly reason: string }
  | { readonly kind: "expired" }
);

/** They come with each transaction that nothing disturbs. */
export function isFrequent(event: TransactionEvent): boolean {
  const isUsualEnd = event.kind === "decided" && event.cause === "producer";
  return event.kind === "began" || event.kind === "completed" || isUsualEnd;
}

/** One line, for traces and tools. */
export function eventText(event: TransactionEvent): string {
  switch (event.kind) {
    case "began":
      return `a transaction of producer ${event.producerId} began in epoch ${event.producerEpoch}`;
    case "producer-given":
      return `producer ${event.producerId} with epoch ${event.producerEpoch}: ${event.reason}`;
    case "decided":
      return `${event.outcome} is decided, epoch ${event.producerEpoch}: ${event.reason}`;
    case "completed":
      return `${event.outcome} is complete: every marker is written`;
    case "refused":
      return `refused: ${event.reason}`;
    case "expired":
      return "forgotten: nobody has used it for transactional.id.expiration.ms";
  }
}
