import type { TimeMs } from "@millrace/base/units";
import type { AddAnswer, AddCommand, Producer, VerifyAnswer, VerifyCommand } from "./commands.ts";
import { answered, decisionOf } from "./decisions.ts";
import type { TransactionFailure } from "./failures.ts";
import { hasPartition, isNextProducer, isPrepared, withPartitions } from "./transaction.ts";
import type { Transaction } from "./transaction.ts";
import { timeoutTimer } from "./types.ts";
import type { TransactionDecision } from "./types.ts";

/** Decides that partitions are about to be written to: only then may they be, since only they get a marker. */
export function decideAdd(transaction: Transaction | null, command: AddCommand, nowMs: TimeMs): TransactionDecision {
  const { ticket, transactionalId, topics, clientVersion, when } = command;
  const failure = refuseProducer(transaction, command);
  if (failure !== null || transaction === null) return refused(transaction, command, failure);
  const isOpen = transaction.state === "Ongoing";
  const areAllIn = topics.every(({ topic, partitions }) =>
    partitions.every((partition) => hasPartition(transaction, topic, partition)),
  );
  // What is not durable yet is when the answer leaves.
  if (isOpen && areAllIn) return answered<AddAnswer>(ticket, { failure: null }, when);
  const next: Transaction = {
    ...transaction,
    state: "Ongoing",
    partitions: withPartitions(isOpen ? transaction.partitions : new Map(), topics),
    updateMs: nowMs,
    startMs: isOpen ? transaction.startMs : nowMs,
    clientVersion,
  };
  const { producerId, producerEpoch, timeoutMs } = next;
  return decisionOf({
    records: [{ transactionalId, transaction: next }],
    soft: [{ transactionalId, retriedFromEpoch: null }],
    timers: isOpen ? [] : [{ timer: timeoutTimer(transactionalId), afterMs: timeoutMs }],
    replies: [{ ticket, response: { failure: null } satisfies AddAnswer, when }],
    events: isOpen ? [] : [{ kind: "began", transactionalId, producerId, producerEpoch }],
  });
}

/** Decides whether a producer that named its partitions before may write to these: nothing changes. */
export function decideVerify(transaction: Transaction | null, command: VerifyCommand): TransactionDecision {
  const failure = refuseProducer(transaction, command);
  const isIn = (topic: string, partition: number): boolean =>
    transaction?.state === "Ongoing" && hasPartition(transaction, topic, partition);
  return answered<VerifyAnswer>(command.ticket, { failure, isIn });
}

function refused(
  transaction: Transaction | null,
  { ticket, transactionalId, producerId, producerEpoch }: AddCommand,
  failure: TransactionFailure | null,
): TransactionDecision {
  const decision = answered<AddAnswer>(ticket, { failure: failure ?? "invalid-producer-id-mapping" });
  if (failure !== "producer-fenced" || transaction === null) return decision;
  const reason = `partitions of producer ${producerId} with epoch ${producerEpoch}: the epoch is ${transaction.producerEpoch} now`;
  return { ...decision, events: [{ kind: "refused", transactionalId, producerId, reason }] };
}

function refuseProducer(transaction: Transaction | null, asking: Producer): TransactionFailure | null {
  if (transaction !== null && isNextProducer(transaction, asking.producerId)) return "concurrent-transactions";
  if (transaction === null || transaction.producerId !== asking.producerId) return "invalid-producer-id-mapping";
  if (transaction.producerEpoch !== asking.producerEpoch) return "producer-fenced";
  return isPrepared(transaction.state) ? "concurrent-transactions" : null;
}
