import type { TimeMs } from "@millrace/base/units";
import type { CompletedCommand, ProducerAnswer, EndCommand } from "./commands.ts";
import { answered, completed, decided, decisionOf, fencingEpoch } from "./decisions.ts";
import type { TransactionFailure } from "./failures.ts";
import { isComplete, isEpochUsedUp, isNextProducer, isPrepared, NONE, outcomeOf } from "./transaction.ts";
import type { Transaction } from "./transaction.ts";
import type { TransactionDecision } from "./types.ts";

/**
 * Decides an EndTxn. What is decided here is never taken back: it is answered when it is durable, and its markers are written from
 * then on, by whoever is the coordinator then.
 *
 * A client of version 2 that missed the answer asks with the epoch that it had: then the epoch here is the next one already.
 */
export function decideEnd(transaction: Transaction | null, command: EndCommand, nowMs: TimeMs): TransactionDecision {
  if (transaction === null) return refused(command, "invalid-producer-id-mapping");
  const isRetry = command.clientVersion === 2 && isRetryOfEnd(transaction, command);
  if (isNextProducer(transaction, command.producerId)) return refused(command, "concurrent-transactions");
  if (!isRetry) {
    if (transaction.producerId !== command.producerId) return refused(command, "invalid-producer-id-mapping");
    if (transaction.producerEpoch !== command.producerEpoch) return refused(command, "producer-fenced", transaction);
  }
  const { state } = transaction;
  // Another process has begun since, or the transaction after it is open: there is nothing left to ask about.
  if (isRetry && (state === "Empty" || state === "Ongoing")) return refused(command, "producer-fenced", transaction);
  if (state === "Ongoing") return end(transaction, command, nowMs);
  if (isPrepared(state))
    return refused(command, outcomeOf(state) === command.outcome ? "concurrent-transactions" : "invalid-state");
  const isSameDecision = isComplete(state) && outcomeOf(state) === command.outcome;
  const isAnsweredBefore = command.clientVersion === 2 ? isRetry : true;
  if (isAnsweredBefore) return isSameDecision ? answeredAgain(transaction, command) : refused(command, "invalid-state");
  // In version 2 a client may abort before it knows whether any of its writes began a transaction (KIP-890).
  return command.outcome === "abort" ? end(transaction, command, nowMs) : refused(command, "invalid-state");
}

/** The transaction that is meant has ended, and what ended it raised the epoch, or gave a new producer id. */
function isRetryOfEnd(transaction: Transaction, { producerId, producerEpoch }: EndCommand): boolean {
  const isNextEpoch = transaction.producerId === producerId && transaction.producerEpoch === producerEpoch + 1;
  const isRotated =
    transaction.previousProducerId === producerId && isEpochUsedUp(producerEpoch) && transaction.producerEpoch === 0;
  return isNextEpoch || isRotated;
}

function end(transaction: Transaction, command: EndCommand, nowMs: TimeMs): TransactionDecision {
  const { ticket, outcome, clientVersion, newProducerId } = command;
  const { producerId, producerEpoch } = transaction;
  const isRaised = clientVersion === 2;
  const isRotated = isRaised && isEpochUsedUp(producerEpoch);
  if (isRotated && newProducerId === null) return answered<ProducerAnswer>(ticket, { kind: "needs-producer-id" });
  const nextProducerId = isRotated && newProducerId !== null ? newProducerId : NONE;
  const producer = isRotated
    ? { producerId: nextProducerId, producerEpoch: 0 }
    : { producerId, producerEpoch: isRaised ? producerEpoch + 1 : producerEpoch };
  return decided(transaction, {
    outcome,
    nowMs,
    producerEpoch: isRaised ? producerEpoch + 1 : producerEpoch,
    nextProducerId,
    clientVersion,
    cause: "producer",
    reason: "its producer asked for it",
    asked: { ticket, response: { kind: "granted", producer } satisfies ProducerAnswer },
  });
}

function answeredAgain({ producerId, producerEpoch }: Transaction, { ticket }: EndCommand): TransactionDecision {
  return answered<ProducerAnswer>(ticket, { kind: "granted", producer: { producerId, producerEpoch } }, "committed");
}

/** The transaction is open for longer than its producer said it would be: nobody is to wait for it any more. */
export function decideTimeout(transaction: Transaction | null, nowMs: TimeMs): TransactionDecision {
  if (transaction === null || transaction.state !== "Ongoing") return decisionOf({});
  return decided(transaction, {
    outcome: "abort",
    nowMs,
    producerEpoch: fencingEpoch(transaction),
    nextProducerId: NONE,
    clientVersion: transaction.clientVersion,
    cause: "timeout",
    reason: `it was open for its timeout of ${transaction.timeoutMs} ms`,
    asked: null,
  });
}

/** Every marker is written. Told twice, by two coordinators after each other or by a retry, it changes nothing the second time. */
export function decideCompleted(
  transaction: Transaction | null,
  command: CompletedCommand,
  nowMs: TimeMs,
): TransactionDecision {
  const { transactionalId, producerId, producerEpoch } = command;
  const isMeant =
    transaction !== null &&
    isPrepared(transaction.state) &&
    transaction.producerId === producerId &&
    transaction.producerEpoch === producerEpoch;
  if (!isMeant) return decisionOf({});
  const next = completed(transaction, nowMs);
  const outcome = next.state === "CompleteCommit" ? "commit" : "abort";
  return decisionOf({
    records: [{ transactionalId, transaction: next }],
    events: [{ kind: "completed", transactionalId, producerId, outcome }],
  });
}

function refused(
  { ticket, transactionalId, producerId, producerEpoch }: EndCommand,
  failure: TransactionFailure,
  by: Transaction | null = null,
): TransactionDecision {
  const decision = answered<ProducerAnswer>(ticket, { kind: "refused", failure });
  if (by === null) return decision;
  const reason = `EndTxn of producer ${producerId} with epoch ${producerEpoch}: it is ${by.producerId} with ${by.producerEpoch} now`;
  return { ...decision, events: [{ kind: "refused", transactionalId, producerId, reason }] };
}
