import type { TimeMs } from "@millrace/base/units";
import { NONE, outcomeOf } from "../transactions/transaction.ts";
import type { Transaction } from "../transactions/transaction.ts";
import { countText, durationText, listText, timeText } from "./explanation.ts";
import type { Explanation, Fact } from "./explanation.ts";

/**
 * What the transaction coordinator says of a producer that has records in a partition which no marker follows.
 * - known: the transactional id that has the producer id; `hasPartition`: its transaction gets a marker in this partition
 * - nobody: no transactional id has the producer id
 * - not-asked: its coordinator does not answer at the moment, or is another broker
 */
export type Coordination =
  | { readonly kind: "known"; readonly transaction: Transaction; readonly hasPartition: boolean }
  | { readonly kind: "nobody" }
  | { readonly kind: "not-asked" };

/** A transaction that is open in a partition. */
export interface OpenHere {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly firstOffset: number;
  /** Of its latest batch, as its producer stamped it. */
  readonly lastTimestamp: number;
  readonly coordination: Coordination;
}

export interface Offsets {
  readonly logStartOffset: number;
  readonly lastStableOffset: number;
  readonly highWatermark: number;
  readonly logEndOffset: number;
}

export interface PartitionFacts extends Offsets {
  readonly topic: string;
  readonly index: number;
  readonly nowMs: TimeMs;
  /** host:port, for the commands that are proposed. */
  readonly bootstrap: string;
  readonly leaderEpoch: number;
  readonly durability: "fsync" | "os";
  readonly isDiskFull: boolean;
  /** Offsets whose bytes were found damaged, inclusive. */
  readonly damaged: readonly { readonly firstOffset: number; readonly lastOffset: number }[];
  /** In the order of their first offsets. */
  readonly open: readonly OpenHere[];
}

/** Why a partition cannot be served at all. */
export interface OfflinePartition {
  readonly topic: string;
  readonly index: number;
  readonly failure: string;
}

/** Where a transaction is open. */
export interface Place {
  readonly topic: string;
  readonly index: number;
}

const HOLDERS_MAX = 20;

export function explainPartition(facts: PartitionFacts): Explanation {
  const { topic, index, lastStableOffset, highWatermark, open } = facts;
  const hidden = highWatermark - lastStableOffset;
  const unsynced = facts.logEndOffset - highWatermark;
  const summary = [
    `offsets ${facts.logStartOffset} to ${facts.logEndOffset}`,
    hidden > 0
      ? `${countText(hidden, "offset")} held back by ${countText(open.length, "open transaction")}`
      : "nothing is held back",
    ...(unsynced > 0 ? [`${countText(unsynced, "offset")} not acknowledged yet`] : []),
  ].join(", ");
  return {
    kind: "partition",
    name: placeText(facts),
    summary,
    facts: factsOf(facts),
    reasons: reasonsOf(facts, { topic, index }),
    events: [],
  };
}

export function explainOffline({ topic, index, failure }: OfflinePartition): Explanation {
  const name = placeText({ topic, index });
  return {
    kind: "partition",
    name,
    summary: "offline",
    facts: [["state", "offline"]],
    reasons: [
      `${name} is offline: ${failure}. Nothing is read or written there. Repair the disk or the directory, look with \`millrace verify\` at what it holds while the broker is stopped, and start the broker again.`,
    ],
    events: [],
  };
}

function factsOf(facts: PartitionFacts): readonly Fact[] {
  const durability =
    facts.durability === "fsync" ? "fsync: acknowledged when synced" : "os: acknowledged before it is synced";
  return [
    ["leader epoch", String(facts.leaderEpoch)],
    ["log start offset", String(facts.logStartOffset)],
    ["last stable offset", String(facts.lastStableOffset)],
    ["high watermark", String(facts.highWatermark)],
    ["log end offset", String(facts.logEndOffset)],
    ["durability", durability],
    ...facts.open.map((each): Fact => [`open since ${each.firstOffset}`, holderText(each, facts.nowMs)]),
  ];
}

function reasonsOf(facts: PartitionFacts, place: Place): readonly string[] {
  const { lastStableOffset, highWatermark, logEndOffset, open, isDiskFull } = facts;
  const reasons: string[] = [];
  if (lastStableOffset < highWatermark) {
    reasons.push(
      `The last stable offset stands at ${lastStableOffset}, and the high watermark at ${highWatermark}: consumers with isolation.level=read_committed see nothing from ${lastStableOffset} on.`,
    );
    if (open.length === 0)
      reasons.push("Every transaction here is decided: its marker is written and not acknowledged yet. Look again.");
    for (const each of open.slice(0, HOLDERS_MAX)) reasons.push(whyHeld(each, place, facts));
    if (open.length > HOLDERS_MAX)
      reasons.push(`${open.length - HOLDERS_MAX} more transactions are open behind these.`);
  }
  if (isDiskFull) {
    reasons.push(
      "The disk is full: producers are told to try again, and the high watermark stands. Free space on the disk of log.dirs, or shorten the retention of topics; the broker goes on by itself.",
    );
  } else if (highWatermark < logEndOffset) {
    reasons.push(
      `${countText(logEndOffset - highWatermark, "offset")} behind the high watermark wait for the disk. This takes milliseconds; if they stay, the disk is slow or does not answer.`,
    );
  }
  for (const { firstOffset, lastOffset } of facts.damaged) {
    reasons.push(
      `Offsets ${firstOffset} to ${lastOffset} are damaged on the disk and are not handed out: consumers get an error there and must seek behind ${lastOffset}.`,
    );
  }
  if (reasons.length === 0) reasons.push("Nothing is held back: every reader may read up to the end of the log.");
  return reasons;
}

/** `the transaction of payments (producer 7, epoch 3)`. */
export function ownerText({ producerId, producerEpoch, coordination }: OpenHere): string {
  const producer = `producer ${producerId}, epoch ${producerEpoch}`;
  return coordination.kind === "known"
    ? `the transaction of ${coordination.transaction.transactionalId} (${producer})`
    : `a transaction of ${producer}`;
}

function holderText(open: OpenHere, nowMs: TimeMs): string {
  const { coordination, lastTimestamp } = open;
  const last = lastTimestamp < 0 ? "" : `, last record of ${timeText(lastTimestamp)}`;
  if (coordination.kind !== "known") return `${ownerText(open)}${last}`;
  const { state, startMs } = coordination.transaction;
  const openFor = startMs === NONE || !coordination.hasPartition ? "" : ` for ${durationText(nowMs - startMs)}`;
  return `${ownerText(open)}, ${state}${openFor}${last}`;
}

/** Why this transaction is open in the partition, when that ends by itself, and what to do otherwise. */
export function whyHeld(
  open: OpenHere,
  place: Place,
  { nowMs, bootstrap }: Pick<PartitionFacts, "nowMs" | "bootstrap">,
): string {
  const { coordination, firstOffset } = open;
  const owner = ownerText(open);
  const subject = owner.charAt(0).toUpperCase() + owner.slice(1);
  const begins = `${subject} is open in ${placeText(place)} since offset ${firstOffset}`;
  switch (coordination.kind) {
    case "not-asked":
      return `${begins}. Its coordinator does not answer at the moment, so it is not known whether it still knows of it: ask again.`;
    case "nobody":
      return `${begins}, and no transactional id has this producer id: it is hanging, and nothing will end it. ${abortText(open, place, bootstrap)}`;
    case "known":
      return coordination.hasPartition
        ? whyUndecided(begins, coordination.transaction, nowMs)
        : `${begins}, and its coordinator does not know that it wrote here: it is hanging, and nothing will end it. ${abortText(open, place, bootstrap)}`;
  }
}

function whyUndecided(begins: string, transaction: Transaction, nowMs: TimeMs): string {
  const { transactionalId, startMs, timeoutMs, state } = transaction;
  const outcome = outcomeOf(state);
  if (outcome !== null)
    return `${begins}. It is decided (${outcome}), and its marker is not written here yet: \`millrace explain transaction ${transactionalId}\` says why.`;
  const openMs = Math.max(0, nowMs - startMs);
  return `${begins}, for ${durationText(openMs)}. It ends when its producer commits or aborts it; ${timeoutText(openMs, timeoutMs)}.`;
}

/** When the coordinator would abort it by itself. */
export function timeoutText(openMs: number, timeoutMs: number): string {
  const leftMs = timeoutMs - openMs;
  const timeout = `its transaction.timeout.ms is ${durationText(timeoutMs)}`;
  return leftMs > 0
    ? `otherwise it is aborted in ${durationText(leftMs)} (${timeout})`
    : `its time is over (${timeout}), and it is aborted at once`;
}

function abortText({ firstOffset }: OpenHere, { topic, index }: Place, bootstrap: string): string {
  return `Abort it: kafka-transactions.sh --bootstrap-server ${bootstrap} abort --topic ${topic} --partition ${index} --start-offset ${firstOffset}`;
}

export function placeText({ topic, index }: Place): string {
  return `${topic}-${index}`;
}

/** `orders-0, orders-1 and bills-7`. */
export function placesText(byTopic: Iterable<readonly [topic: string, partitions: readonly number[]]>): string {
  return listText([...byTopic].flatMap(([topic, partitions]) => partitions.map((index) => `${topic}-${index}`)));
}
