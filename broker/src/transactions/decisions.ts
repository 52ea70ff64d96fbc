import type { TimeMs } from "@millrace/base/units";
import { assert } from "@millrace/base/assert";
import { nothingDecided } from "../coordinator/machine.ts";
import type { Reply, Ticket } from "../coordinator/machine.ts";
import type { DecisionCause } from "./events.ts";
import { EPOCH_MAX, isPrepared, NONE } from "./transaction.ts";
import type { ClientVersion, Outcome, Transaction } from "./transaction.ts";
import { timeoutTimer } from "./types.ts";
import type { MarkersToWrite, TransactionDecision } from "./types.ts";

/** A decision of the parts that are given. */
export function decisionOf(parts: Partial<TransactionDecision>): TransactionDecision {
  return { ...nothingDecided, ...parts };
}

/** An answer and nothing else. */
export function answered<Response>(
  ticket: Ticket<Response>,
  response: Response,
  when: Reply["when"] = "now",
): TransactionDecision {
  return decisionOf({ replies: [{ ticket, response, when }] });
}

/** Who asks, and what it is answered when all that the decision writes is durable. */
export interface Asked {
  readonly ticket: Ticket;
  readonly response: unknown;
}

/** The epoch with which the coordinator aborts by itself: above what its producer has, whose writes are refused from the marker on. */
export function fencingEpoch({ producerEpoch }: Transaction): number {
  return Math.min(EPOCH_MAX, producerEpoch + 1);
}

/** The transaction is decided. */
export function decided(
  transaction: Transaction,
  how: {
    readonly outcome: Outcome;
    readonly nowMs: TimeMs;
    /** What its producer sends with a lower one is refused from the marker on. */
    readonly producerEpoch: number;
    readonly nextProducerId: number;
    readonly clientVersion: ClientVersion;
    readonly cause: DecisionCause;
    readonly reason: string;
    readonly asked: Asked | null;
  },
): TransactionDecision {
  const { transactionalId, startMs } = transaction;
  const isRaised = how.producerEpoch !== transaction.producerEpoch;
  const next: Transaction = {
    ...transaction,
    state: how.outcome === "commit" ? "PrepareCommit" : "PrepareAbort",
    producerEpoch: how.producerEpoch,
    nextProducerId: how.nextProducerId,
    updateMs: how.nowMs,
    startMs: startMs === NONE ? how.nowMs : startMs,
    clientVersion: how.clientVersion,
  };
  return decisionOf({
    records: [{ transactionalId, transaction: next }],
    soft: [{ transactionalId, retriedFromEpoch: isRaised ? transaction.producerEpoch : null }],
    timers: [{ timer: timeoutTimer(transactionalId), afterMs: null }],
    replies: how.asked === null ? [] : [{ ...how.asked, when: "committed" }],
    effects: [markersOf(next)],
    events: [
      {
        kind: "decided",
        transactionalId,
        producerId: next.producerId,
        outcome: how.outcome,
        producerEpoch: next.producerEpoch,
        cause: how.cause,
        reason: how.reason,
      },
    ],
  });
}

export function markersOf(transaction: Transaction): MarkersToWrite {
  const { transactionalId, producerId, producerEpoch, partitions, state, clientVersion } = transaction;
  return {
    transactionalId,
    producerId,
    producerEpoch,
    outcome: state === "PrepareCommit" ? "commit" : "abort",
    isEpochRaised: clientVersion === 2,
    topics: Array.from(partitions, ([topic, indexes]) => ({ topic, partitions: indexes })),
  };
}

/** After this the id is as it is between two transactions. */
export function completed(transaction: Transaction, nowMs: TimeMs): Transaction {
  const { state, producerId, producerEpoch, nextProducerId, previousProducerId } = transaction;
  assert(isPrepared(state), "what is completed was prepared");
  const isRotated = nextProducerId !== NONE;
  return {
    ...transaction,
    state: state === "PrepareCommit" ? "CompleteCommit" : "CompleteAbort",
    producerId: isRotated ? nextProducerId : producerId,
    producerEpoch: isRotated ? 0 : producerEpoch,
    previousProducerId: isRotated ? producerId : previousProducerId,
    nextProducerId: NONE,
    partitions: new Map(),
    updateMs: nowMs,
  };
}
