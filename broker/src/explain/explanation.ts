import type { RecentEvent } from "../coordinator/recent-events.ts";

export type ExplainedKind = "group" | "producer" | "transaction" | "partition";

/** Why something is as it is, for people. Sent as JSON; docs/explain.md describes it. */
export interface Explanation {
  readonly kind: ExplainedKind;
  readonly name: string;
  /** How it stands, in a line. */
  readonly summary: string;
  /** What is known of it, a label and a value each, the most important first. */
  readonly facts: readonly Fact[];
  /** Whole sentences: what stands still, because of what, and what to do. */
  readonly reasons: readonly string[];
  /** What led here, oldest first. */
  readonly events: readonly ExplainedEvent[];
}

export type Fact = readonly [label: string, value: string];

export interface ExplainedEvent {
  /** ISO 8601, UTC. */
  readonly at: string;
  readonly text: string;
}

const EVENTS_MAX = 40;

/** The latest of them, as text. */
export function eventsOf<Event>(
  events: readonly RecentEvent<Event>[],
  textOf: (event: Event) => string,
): readonly ExplainedEvent[] {
  return events.slice(-EVENTS_MAX).map(({ atMs, event }) => ({ at: timeText(atMs), text: textOf(event) }));
}

/** Of two kinds, in the order of their time. */
export function merged(a: readonly ExplainedEvent[], b: readonly ExplainedEvent[]): readonly ExplainedEvent[] {
  return [...a, ...b].toSorted((one, other) => (one.at < other.at ? -1 : one.at > other.at ? 1 : 0)).slice(-EVENTS_MAX);
}

const TIME_MAX = 8_640_000_000_000_000;

/** A client may stamp its records with any number: not each is a time. */
export function timeText(atMs: number): string {
  return Math.abs(atMs) <= TIME_MAX ? new Date(atMs).toISOString() : `${atMs} ms`;
}

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** `900 ms`, `12 s`, `3 min 20 s`, `5 h 10 min`, `2 d 4 h`: as exact as somebody who waits wants it. */
export function durationText(ms: number): string {
  const whole = Math.max(0, Math.round(ms));
  if (whole < SECOND_MS) return `${whole} ms`;
  if (whole < MINUTE_MS) return `${Math.floor(whole / SECOND_MS)} s`;
  if (whole < HOUR_MS) return inUnits(whole, [MINUTE_MS, "min"], [SECOND_MS, "s"]);
  if (whole < DAY_MS) return inUnits(whole, [HOUR_MS, "h"], [MINUTE_MS, "min"]);
  return inUnits(whole, [DAY_MS, "d"], [HOUR_MS, "h"]);
}

type Unit = readonly [ms: number, name: string];

function inUnits(ms: number, [large, largeName]: Unit, [small, smallName]: Unit): string {
  const rest = Math.floor((ms % large) / small);
  const first = `${Math.floor(ms / large)} ${largeName}`;
  return rest === 0 ? first : `${first} ${rest} ${smallName}`;
}

const LISTED_MAX = 10;

/** `a, b and c`; where there are many, how many more. */
export function listText(words: readonly string[]): string {
  if (words.length > LISTED_MAX)
    return `${words.slice(0, LISTED_MAX).join(", ")} and ${words.length - LISTED_MAX} more`;
  return words.length < 2 ? (words[0] ?? "") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

/** `1 partition`, `2 partitions`. */
export function countText(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** What a string of the protocol holds. */
const JSON_BYTES_MAX = 32_767;
/** Names come from clients, in any length. */
const TEXT_MAX = 2_000;
const listNames = ["facts", "reasons", "events"] as const;

/** As JSON. Where it would not fit into its message the longest list is shortened, and says by how much. */
export function encodeExplanation({ facts, reasons, events, ...head }: Explanation): string {
  const lists = {
    facts: facts.map(([label, value]): Fact => [cut(label), cut(value)]),
    reasons: reasons.map(cut),
    events: events.map(({ at, text }) => ({ at, text: cut(text) })),
  };
  const keep = { facts: facts.length, reasons: reasons.length, events: events.length };
  for (;;) {
    const more = (name: "facts" | "reasons"): string[] =>
      keep[name] === lists[name].length ? [] : [`${lists[name].length - keep[name]} more`];
    const json = JSON.stringify({
      ...{ ...head, name: cut(head.name), summary: cut(head.summary) },
      facts: [...lists.facts.slice(0, keep.facts), ...more("facts").map((text): Fact => ["…", text])],
      reasons: [...lists.reasons.slice(0, keep.reasons), ...more("reasons").map((text) => `… ${text}`)],
      // The latest say most.
      events: lists.events.slice(lists.events.length - keep.events),
    });
    if (Buffer.byteLength(json) <= JSON_BYTES_MAX) return json;
    const bytesOf = (name: keyof typeof keep): number =>
      keep[name] === 0 ? 0 : JSON.stringify(lists[name].slice(0, keep[name])).length;
    const [longest = "facts"] = listNames.toSorted((a, b) => bytesOf(b) - bytesOf(a));
    keep[longest] = Math.floor((keep[longest] * 3) / 4);
  }
}

function cut(text: string): string {
  return text.length <= TEXT_MAX ? text : `${text.slice(0, TEXT_MAX)}…`;
}
