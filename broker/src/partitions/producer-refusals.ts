import type { AppendFailureKind } from "@millrace/storage/append-failure";
import type { TransactionRequestFailure } from "../transactions/coordinator.ts";

/** Why a batch was not taken because of its producer. */
export type ProducerRefusalKind =
  | "sequence-gap"
  | "stale-producer-epoch"
  | "no-transaction"
  | "producer-fenced"
  | "producer-id-mapping"
  | "abortable"
  | "other";

/** A batch that was refused because of its producer: who sent it, where to, and why not. */
export interface ProducerRefusal {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly topic: string;
  readonly index: number;
  readonly kind: ProducerRefusalKind;
  readonly message: string;
}

/** Null: it has nothing to do with the producer. */
export function refusalOfAppend(failure: AppendFailureKind): ProducerRefusalKind | null {
  switch (failure) {
    case "sequence-gap":
    case "stale-producer-epoch":
    case "no-transaction":
      return failure;
    default:
      return null;
  }
}

/** Null: the coordinator was busy or is not there yet, and the producer asks again by itself. */
export function refusalOfAdmission(failure: TransactionRequestFailure): ProducerRefusalKind | null {
  switch (failure) {
    case "producer-fenced":
    case "abortable":
    case "stale-producer-epoch":
    case "no-transaction":
      return failure;
    case "invalid-producer-id-mapping":
      return "producer-id-mapping";
    case "invalid-state":
    case "invalid-timeout":
    case "too-large":
      return "other";
    case "concurrent-transactions":
    case "loading":
    case "not-coordinator":
    case "not-available":
      return null;
  }
}

/** One line, for tools. */
export function refusalText({ producerId, producerEpoch, topic, index, message }: ProducerRefusal): string {
  return `${topic}-${index} refused a batch of producer ${producerId}, epoch ${producerEpoch}: ${message}`;
}
