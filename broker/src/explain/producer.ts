import type { TimeMs } from "@millrace/base/units";
import type { RecentEvent } from "../coordinator/recent-events.ts";
import type { ProducerRefusal, ProducerRefusalKind } from "../partitions/producer-refusals.ts";
import { refusalText } from "../partitions/producer-refusals.ts";
import type { Transaction } from "../transactions/transaction.ts";
import { countText, eventsOf, timeText } from "./explanation.ts";
import type { Explanation, Fact } from "./explanation.ts";
import { placeText, whyHeld } from "./partition.ts";
import type { OpenHere } from "./partition.ts";

/** What a partition remembers of the producer. */
export interface RememberedProducer {
  readonly topic: string;
  readonly index: number;
  readonly producerEpoch: number;
  /** −1: it has written nothing in this epoch. */
  readonly lastSequence: number;
  readonly lastTimestamp: number;
  readonly open: OpenHere | null;
}

export interface ProducerFacts {
  /** As it was asked for: a producer id or a transactional id. */
  readonly name: string;
  readonly producerId: number;
  readonly nowMs: TimeMs;
  readonly bootstrap: string;
  /** Of the transactional id that has this producer id; null: none does. */
  readonly transaction: Transaction | null;
  readonly partitions: readonly RememberedProducer[];
  readonly refusals: readonly RecentEvent<ProducerRefusal>[];
}

export function explainProducer(facts: ProducerFacts): Explanation {
  const { name, producerId, partitions, transaction, refusals, nowMs } = facts;
  const open = partitions.filter((each) => each.open !== null);
  const summary = [
    ...(transaction === null ? [] : [`producer ${producerId} of ${transaction.transactionalId}`]),
    `remembered by ${countText(partitions.length, "partition")}`,
    open.length === 0 ? "no transaction open" : `a transaction open in ${open.length}`,
    refusals.length === 0
      ? "nothing refused lately"
      : `${countText(refusals.length, "batch")}${refusals.length === 1 ? "" : "es"} refused lately`,
  ].join(", ");
  const reasons: string[] = [];
  for (const { topic, index, open: here } of open)
    if (here !== null) reasons.push(whyHeld(here, { topic, index }, { nowMs, bootstrap: facts.bootstrap }));
  const last = refusals.at(-1);
  if (last !== undefined) reasons.push(whyRefused(last, facts));
  if (reasons.length === 0)
    reasons.push("Nothing of it is open, and no batch of it was refused lately: if it stands still, it does not send.");
  return {
    kind: "producer",
    name,
    summary,
    facts: factsOf(facts),
    reasons,
    events: eventsOf(refusals, refusalText),
  };
}

function factsOf({ producerId, transaction, partitions }: ProducerFacts): readonly Fact[] {
  const ofTransaction: readonly Fact[] =
    transaction === null
      ? [["transactional id", "none that has this producer id"]]
      : [
          ["transactional id", transaction.transactionalId],
          ["state", transaction.state],
          ["producer epoch", String(transaction.producerEpoch)],
        ];
  return [
    ["producer id", String(producerId)],
    ...ofTransaction,
    ...partitions.map((each): Fact => [placeText(each), rememberedText(each)]),
  ];
}

function rememberedText({ producerEpoch, lastSequence, lastTimestamp, open }: RememberedProducer): string {
  return [
    `epoch ${producerEpoch}`,
    lastSequence < 0 ? "no sequence in it yet" : `last sequence ${lastSequence}`,
    ...(lastTimestamp < 0 ? [] : [`last record of ${timeText(lastTimestamp)}`]),
    ...(open === null ? [] : [`a transaction open since offset ${open.firstOffset}`]),
  ].join(", ");
}

/** What each kind means, and what to do. */
const advice: Readonly<Record<ProducerRefusalKind, string>> = {
  "sequence-gap":
    "A batch before it is missing: it was lost or given up on the client's side. A Java producer raises its epoch and goes on by itself; another one has to be started anew. If it happens again, look for delivery.timeout.ms running out there.",
  "stale-producer-epoch":
    "Somebody with the same producer id has a newer epoch, or its transaction has ended meanwhile. If two processes use one transactional.id, give each its own; the older one has to be started anew.",
  "no-transaction":
    "No transaction is open that the partition belongs to: it has ended meanwhile, by a commit, an abort or its timeout. The producer has to abort and begin anew.",
  "producer-fenced":
    "A newer process has its transactional.id. If both are meant to run, give each its own; the older one has to stop.",
  "producer-id-mapping":
    "Its transactional.id has another producer id: it expired (transactional.id.expiration.ms), or another process uses it. The producer has to begin anew.",
  abortable:
    "The partition does not belong to its open transaction: it was aborted meanwhile, or the client wrote without naming the partition. The producer has to abort and may go on.",
  other: "The producer has to abort, and to begin anew where that fails too.",
};

function whyRefused({ atMs, event }: RecentEvent<ProducerRefusal>, { transaction }: ProducerFacts): string {
  const now =
    transaction !== null && transaction.producerEpoch > event.producerEpoch
      ? ` ${transaction.transactionalId} has epoch ${transaction.producerEpoch} now: \`millrace explain transaction ${transaction.transactionalId}\` says since when.`
      : "";
  return `At ${timeText(atMs)} ${placeText(event)} refused a batch of epoch ${event.producerEpoch}: ${event.message}. ${advice[event.kind]}${now}`;
}
