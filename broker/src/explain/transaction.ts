import type { TimeMs } from "@millrace/base/units";
import type { RecentEvent } from "../coordinator/recent-events.ts";
import { refusalText } from "../partitions/producer-refusals.ts";
import type { ProducerRefusal } from "../partitions/producer-refusals.ts";
import { eventText } from "../transactions/events.ts";
import type { TransactionEvent } from "../transactions/events.ts";
import type { MarkerFailure, PendingMarker } from "../transactions/marker-writer.ts";
import { isPrepared, NONE, outcomeOf } from "../transactions/transaction.ts";
import type { Transaction } from "../transactions/transaction.ts";
import { countText, durationText, eventsOf, merged, timeText } from "./explanation.ts";
import type { Explanation, Fact } from "./explanation.ts";
import { placesText, timeoutText } from "./partition.ts";

export interface TransactionFacts {
  readonly transaction: Transaction;
  readonly nowMs: TimeMs;
  /** In PrepareCommit and PrepareAbort: where the marker is not yet. */
  readonly pending: readonly PendingMarker[];
  readonly events: readonly RecentEvent<TransactionEvent>[];
  /** Batches of its producer id that partitions refused. */
  readonly refusals: readonly RecentEvent<ProducerRefusal>[];
}

export function explainTransaction(facts: TransactionFacts): Explanation {
  const { transaction, nowMs, pending } = facts;
  const { transactionalId, state, startMs, producerId, producerEpoch } = transaction;
  const openFor = state === "Ongoing" && startMs !== NONE ? ` for ${durationText(nowMs - startMs)}` : "";
  const lacking = isPrepared(state) ? `, ${countText(pending.length, "marker")} still to be written` : "";
  return {
    kind: "transaction",
    name: transactionalId,
    summary: `${state}${openFor}, producer ${producerId} with epoch ${producerEpoch}${lacking}`,
    facts: factsOf(facts),
    reasons: [...whyItStands(facts), ...whyFenced(facts)],
    events: merged(eventsOf(facts.events, eventText), eventsOf(facts.refusals, refusalText)),
  };
}

function factsOf({ transaction, nowMs }: TransactionFacts): readonly Fact[] {
  const { state, startMs, timeoutMs, partitions } = transaction;
  const isOpen = state === "Ongoing" || isPrepared(state);
  return [
    ["state", state],
    ["producer id", String(transaction.producerId)],
    ["producer epoch", String(transaction.producerEpoch)],
    ["transaction timeout", durationText(timeoutMs)],
    ...(isOpen && startMs !== NONE
      ? [["open since", `${timeText(startMs)}, for ${durationText(nowMs - startMs)}`] satisfies Fact]
      : []),
    ...(state === "Ongoing"
      ? [["time left", durationText(timeoutMs - Math.max(0, nowMs - startMs))] satisfies Fact]
      : []),
    ["last change", timeText(transaction.updateMs)],
    ["partitions", partitions.size === 0 ? "none" : placesText(partitions)],
  ];
}

/** What is to be known of a marker that is not there, and what to do. */
const marking: Readonly<Record<MarkerFailure, string>> = {
  gone: "there is no such partition any more",
  "stale-producer-epoch": "the partition has heard of a newer epoch of the producer",
  "stale-coordinator-epoch": "the partition has heard of a newer coordinator, which completes it",
  loading: "the group coordinator of that partition is still loading: this ends by itself",
  "not-ready": "the partition takes no records: its log is offline or its disk is full",
  "not-leader": "its leader is changing, or nobody leads it",
  "not-enough-replicas": "fewer of its replicas are in sync than min.insync.replicas",
  "timed-out": "its replicas do not follow its leader",
  unreachable: "the broker that leads it gave no answer",
};

const MARKERS_MAX = 20;

function whyItStands({ transaction, nowMs, pending }: TransactionFacts): readonly string[] {
  const { state, startMs, timeoutMs, partitions } = transaction;
  switch (state) {
    case "Empty":
      return ["It has a producer and no open transaction: nobody waits for it."];
    case "Ongoing": {
      const openMs = Math.max(0, nowMs - startMs);
      const ends = `It ends when its producer commits or aborts it; ${timeoutText(openMs, timeoutMs)}.`;
      return [
        `It is open for ${durationText(openMs)}: consumers with isolation.level=read_committed do not get behind its first record in ${placesText(partitions)}. ${ends}`,
      ];
    }
    case "CompleteCommit":
    case "CompleteAbort":
      return [
        `Its last transaction is over (${outcomeOf(state) ?? ""}), with every marker written: nobody waits for it.`,
      ];
    case "PrepareCommit":
    case "PrepareAbort":
      return whyNotComplete(pending, outcomeOf(state) ?? "", nowMs);
  }
}

function whyNotComplete(pending: readonly PendingMarker[], outcome: string, nowMs: TimeMs): readonly string[] {
  const decided = `It is decided (${outcome}), and that stays`;
  if (pending.length === 0) return [`${decided}: its markers are being written. Look again in a moment.`];
  const lacking = pending.slice(0, MARKERS_MAX).map(({ topic, partition, sinceMs, attempts, failure, message }) => {
    const place = `${topic}-${partition}`;
    if (failure === null) return `${place} gets its marker just now.`;
    const detail = message === null ? "" : ` (${message})`;
    const since = `tried ${attempts === 1 ? "once" : `${attempts} times`} in ${durationText(nowMs - sinceMs)}`;
    return `${place} lacks its marker: ${marking[failure]}${detail}; ${since}. \`millrace explain partition ${place}\` says more; the coordinator tries on.`;
  });
  const more = pending.length > MARKERS_MAX ? [`${pending.length - MARKERS_MAX} more partitions lack theirs.`] : [];
  const waits = `${decided}. It is complete when ${countText(pending.length, "partition")} more ${pending.length === 1 ? "has its marker" : "have their markers"}; until then its producer is told CONCURRENT_TRANSACTIONS.`;
  return [waits, ...lacking, ...more];
}

/** Who was shut out last, and by whom. */
function whyFenced({ transaction, events, refusals }: TransactionFacts): readonly string[] {
  const reasons: string[] = [];
  const aborted = events.findLast(({ event }) => event.kind === "decided" && event.cause !== "producer");
  if (aborted?.event.kind === "decided") {
    const at = timeText(aborted.atMs);
    reasons.push(
      aborted.event.cause === "timeout"
        ? `At ${at} its transaction was aborted, since ${aborted.event.reason}: its producer was silent or slow. Commit in smaller steps, or raise transaction.timeout.ms there (the broker allows transaction.max.timeout.ms).`
        : `At ${at} its open transaction was aborted, since ${aborted.event.reason}. If the older process was meant to go on, two processes have the transactional.id ${transaction.transactionalId}: give each its own.`,
    );
  }
  const given = events.findLast(({ event }) => event.kind === "producer-given");
  const refused = events.findLast(({ event }) => event.kind === "refused");
  if (refused?.event.kind === "refused") {
    const since =
      given?.event.kind === "producer-given"
        ? ` Epoch ${given.event.producerEpoch} was given at ${timeText(given.atMs)}: ${given.event.reason}.`
        : "";
    reasons.push(
      `At ${timeText(refused.atMs)} a producer was fenced: ${refused.event.reason}.${since} The older process has to stop; it cannot go on with this transactional.id.`,
    );
  }
  const last = refusals.at(-1);
  if (last !== undefined)
    reasons.push(
      `At ${timeText(last.atMs)} ${last.event.topic}-${last.event.index} refused a batch of it: \`millrace explain producer ${transaction.producerId}\` says why.`,
    );
  return reasons;
}
