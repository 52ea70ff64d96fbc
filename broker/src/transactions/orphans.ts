import type { Producer } from "./commands.ts";
import { EPOCH_MAX, hasPartition, isPrepared } from "./transaction.ts";
import type { Transaction } from "./transaction.ts";
import type { MarkersToWrite } from "./types.ts";

/** Records of a producer in a partition that no marker follows. */
export interface OpenTransaction extends Producer {
  readonly topic: string;
  readonly partition: number;
  /** The partition tells duplicates by their sequences: false where the broker writes for the producer. */
  readonly hasSequences: boolean;
}

/**
 * Transactions that are open in some partition and of which the coordinator of their producer, just loaded, knows nothing: their first
 * batch came to the disk before a crash, and the record that names the partition did not. Nothing of them was acknowledged, and nobody
 * would ever end them. So they are aborted; producers that are coordinated elsewhere are left alone.
 *
 * The producer may live and send its batch again, with the same sequence. That must not be taken for a duplicate of what is aborted here: the
 * marker has a higher epoch than the batch, and the producer is told to abort.
 */
export function orphansOf(
  transactions: Iterable<Transaction>,
  open: Iterable<OpenTransaction>,
): readonly MarkersToWrite[] {
  const byProducerId = new Map(Array.from(transactions, (each) => [each.producerId, each]));
  const orphans: MarkersToWrite[] = [];
  for (const { topic, partition, producerId, producerEpoch, hasSequences } of open) {
    const transaction = byProducerId.get(producerId);
    if (transaction === undefined || isKnown(transaction, topic, partition, producerEpoch)) continue;
    const raised = hasSequences ? Math.min(EPOCH_MAX, producerEpoch + 1) : producerEpoch;
    orphans.push({
      transactionalId: transaction.transactionalId,
      producerId,
      producerEpoch: Math.max(raised, transaction.producerEpoch),
      outcome: "abort",
      isEpochRaised: false,
      topics: [{ topic, partitions: [partition] }],
    });
  }
  return orphans;
}

function isKnown(transaction: Transaction, topic: string, partition: number, producerEpoch: number): boolean {
  if (!hasPartition(transaction, topic, partition)) return false;
  // In version 2 what was decided has a lower epoch than its marker: what has the marker's is the transaction after it.
  const isNext =
    isPrepared(transaction.state) && transaction.clientVersion === 2 && producerEpoch === transaction.producerEpoch;
  return !isNext;
}
