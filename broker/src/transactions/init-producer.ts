import type { TimeMs } from "@millrace/base/units";
import type { ProducerAnswer, InitCommand } from "./commands.ts";
import { answered, decided, decisionOf, fencingEpoch } from "./decisions.ts";
import type { TransactionFailure } from "./failures.ts";
import { isEpochUsedUp, isNextProducer, isPrepared, NONE } from "./transaction.ts";
import type { Transaction } from "./transaction.ts";
import type { TransactionDecision } from "./types.ts";

/**
 * Decides an InitProducerId: a new process of a transactional id gets the next epoch, and with it whatever its predecessor still
 * sends is refused. What the predecessor has open is aborted first; until that is complete the new one is told to ask again.
 */
export function decideInit(
  transaction: Transaction | null,
  command: InitCommand,
  around: { readonly nowMs: TimeMs; readonly timeoutMaxMs: number; readonly retriedFromEpoch: number | null },
): TransactionDecision {
  const { ticket, timeoutMs, expected } = command;
  if (timeoutMs <= 0 || timeoutMs > around.timeoutMaxMs) return refused(command, "invalid-timeout");
  if (transaction === null) return givenNewId(null, command, around.nowMs);
  if (expected !== null && isNextProducer(transaction, expected.producerId))
    return refused(command, "concurrent-transactions");
  if (expected !== null && !isKnown(transaction, command, around.retriedFromEpoch))
    return refused(command, "producer-fenced", transaction);
  if (isPrepared(transaction.state)) return refused(command, "concurrent-transactions");
  if (transaction.state === "Ongoing") {
    const isRotated = isEpochUsedUp(transaction.producerEpoch);
    if (isRotated && command.newProducerId === null)
      return answered<ProducerAnswer>(ticket, { kind: "needs-producer-id" });
    // Whoever has it open is fenced by the epoch of the marker.
    return decided(transaction, {
      outcome: "abort",
      nowMs: around.nowMs,
      producerEpoch: fencingEpoch(transaction),
      nextProducerId: isRotated && command.newProducerId !== null ? command.newProducerId : NONE,
      clientVersion: transaction.clientVersion,
      cause: "successor",
      reason: "another producer began with its transactional id",
      asked: { ticket, response: refusal("concurrent-transactions") },
    });
  }
  if (expected !== null && expected.producerEpoch === around.retriedFromEpoch) {
    // It has not heard of its present epoch.
    return given(transaction, command, { ...transaction, ...atRest(command, around.nowMs) }, around.retriedFromEpoch);
  }
  if (isEpochUsedUp(transaction.producerEpoch)) return givenNewId(transaction, command, around.nowMs);
  return given(transaction, command, {
    ...transaction,
    producerEpoch: transaction.producerEpoch + 1,
    ...atRest(command, around.nowMs),
  });
}

/** Whether who names a producer id and epoch is the producer that has the transactional id, or was just before it asked. */
function isKnown(
  { producerId, previousProducerId, producerEpoch }: Transaction,
  { expected }: InitCommand,
  retriedFromEpoch: number | null,
): boolean {
  if (expected === null) return true;
  if (expected.producerId === producerId)
    return expected.producerEpoch === producerEpoch || expected.producerEpoch === retriedFromEpoch;
  // Its id was used up, and it has not heard of the new one.
  return expected.producerId === previousProducerId && isEpochUsedUp(expected.producerEpoch);
}

function givenNewId(before: Transaction | null, command: InitCommand, nowMs: TimeMs): TransactionDecision {
  const { ticket, transactionalId, newProducerId } = command;
  if (newProducerId === null) return answered<ProducerAnswer>(ticket, { kind: "needs-producer-id" });
  return given(before, command, {
    transactionalId,
    producerId: newProducerId,
    previousProducerId: before?.producerId ?? NONE,
    nextProducerId: NONE,
    producerEpoch: 0,
    clientVersion: before?.clientVersion ?? 0,
    ...atRest(command, nowMs),
  });
}

function atRest(
  { timeoutMs }: InitCommand,
  nowMs: TimeMs,
): Pick<Transaction, "timeoutMs" | "state" | "partitions" | "updateMs" | "startMs"> {
  return { timeoutMs, state: "Empty", partitions: new Map(), updateMs: nowMs, startMs: NONE };
}

function given(
  before: Transaction | null,
  command: InitCommand,
  next: Transaction,
  epochBefore: number | null = before?.producerEpoch ?? null,
): TransactionDecision {
  const { ticket, transactionalId, expected } = command;
  const { producerId, producerEpoch } = next;
  const isSameId = before !== null && before.producerId === producerId;
  const response: ProducerAnswer = { kind: "granted", producer: { producerId, producerEpoch } };
  return decisionOf({
    records: [{ transactionalId, transaction: next }],
    soft: [{ transactionalId, retriedFromEpoch: expected !== null && isSameId ? epochBefore : null }],
    replies: [{ ticket, response, when: "committed" }],
    events: [
      {
        kind: "producer-given",
        transactionalId,
        producerId,
        producerEpoch,
        reason: expected === null ? "a process began" : "the producer asked for its next epoch",
      },
    ],
  });
}

function refusal(failure: TransactionFailure): ProducerAnswer {
  return { kind: "refused", failure };
}

function refused(
  { ticket, transactionalId }: InitCommand,
  failure: TransactionFailure,
  by: Transaction | null = null,
): TransactionDecision {
  const decision = answered(ticket, refusal(failure));
  if (by === null) return decision;
  const reason = `InitProducerId of a producer that is not ${by.producerId} with epoch ${by.producerEpoch}`;
  return { ...decision, events: [{ kind: "refused", transactionalId, producerId: by.producerId, reason }] };
}
