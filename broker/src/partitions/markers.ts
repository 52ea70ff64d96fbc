import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { TimeMs } from "@millrace/base/units";
import { trustBatch } from "@millrace/storage/validation";
import { encodeEndTransactionMarker } from "kafka-protocol-ts/records/control";
import type { MarkerAppendFailure, TransactionMarker } from "../coordinator/shard-log.ts";
import type { Partition } from "./partition.ts";

/** Ends a producer's transaction in a partition. Written once more it changes nothing. Gives the next offset after it. */
export function appendMarker(
  partition: Partition,
  { producerId, producerEpoch, outcome, coordinatorEpoch, isEpochRaised = false }: TransactionMarker,
  nowMs: TimeMs,
): Result<number, MarkerAppendFailure> {
  if (isEpochRaised && partition.hasOpenTransaction(producerId, producerEpoch)) {
    return failed("stale-producer-epoch", `the transaction of epoch ${producerEpoch} is the one after it`);
  }
  const bytes = encodeEndTransactionMarker({
    isCommit: outcome === "commit",
    coordinatorEpoch,
    producerId,
    producerEpoch,
    timestamp: nowMs,
  });
  const appended = partition.append(trustBatch(bytes), "coordinator", nowMs);
  if (appended.ok) return ok(appended.value.nextOffset);
  const { failure } = appended;
  if (failure === "not-leader") return failed("not-leader");
  const isFenced = failure.kind === "stale-producer-epoch" || failure.kind === "stale-coordinator-epoch";
  return failed(isFenced ? failure.kind : "log-failed", failure.message);
}
