import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";

/**
 * What clients of a cluster did, as they saw it themselves: for each call an invocation, written before it was made, and
 * a completion, written after it had returned. A client that dies leaves calls without one.
 *
 * A client is one life of one process with at most one producer and one consumer; after a restart it has a new name.
 * Values are unique: each is sent by one call in the whole history, so that a record names its writer. No record may
 * leave its log by retention or compaction while the history is made.
 */
export type HistoryEvent = { readonly client: string; readonly atUs: number } & EventKind;

type EventKind =
  | { readonly type: "open"; readonly isolation: Isolation }
  | ({ readonly type: "invoke"; readonly call: number } & Call)
  | {
      readonly type: "ok";
      readonly call: number;
      /** Of a send: where the record lies; null where the cluster does not say. */
      readonly offset?: number | null;
      /** Of a poll: what it returned, in this order. */
      readonly records?: readonly PolledRecord[];
      /** Of a position: from where the consumer goes on. */
      readonly positions?: readonly Place[];
    }
  /** `fail`: it had no effect and never will. `info`: it may have had one, or may still have. */
  | { readonly type: "fail" | "info"; readonly call: number; readonly error: string }
  | { readonly type: "assigned" | "revoked" | "lost"; readonly group: string; readonly partitions: readonly Lane[] }
  | { readonly type: "seek"; readonly positions: readonly Place[] }
  /** The process is gone, by its own will or not: whoever saw it end writes this. */
  | { readonly type: "crash" };

export type Call =
  | {
      readonly name: "send";
      readonly topic: string;
      readonly partition: number;
      readonly value: string;
      readonly transaction?: number;
    }
  | { readonly name: "poll"; readonly transaction?: number }
  | { readonly name: "commit" | "abort"; readonly transaction: number }
  | {
      readonly name: "commit-offsets";
      readonly group: string;
      readonly positions: readonly Place[];
      readonly transaction?: number;
    }
  /** Asks for the position at which a consumer begins in partitions that it was just assigned. */
  | { readonly name: "position"; readonly group: string };

export type Isolation = "read_committed" | "read_uncommitted";
export type Lane = readonly [topic: string, partition: number];
export type Place = readonly [topic: string, partition: number, offset: number];
export type PolledRecord = readonly [topic: string, partition: number, offset: number, value: string];

/**
 * One client's log, an event as JSON on each line. A last line without its end is what a killed process left, and counts
 * as not written. Fails with the number of the line that is no event.
 */
export function parseHistory(text: string, source: string): Result<HistoryEvent[], "malformed"> {
  const events: HistoryEvent[] = [];
  const lines = text.split("\n");
  lines.pop();
  for (const [index, line] of lines.entries()) {
    const event = parseEvent(line);
    if (event === null) return failed("malformed", `${source}:${index + 1}: no event: ${line.slice(0, 200)}`);
    events.push(event);
  }
  return ok(events);
}

const types: ReadonlySet<unknown> = new Set([
  ...["open", "invoke", "ok", "fail", "info", "assigned", "revoked", "lost", "seek", "crash"],
]);

function parseEvent(line: string): HistoryEvent | null {
  try {
    const event = JSON.parse(line) as Partial<HistoryEvent> | null;
    const isEvent = typeof event?.client === "string" && Number.isFinite(event.atUs) && types.has(event.type);
    return isEvent ? (event as HistoryEvent) : null;
  } catch {
    return null;
  }
}

/** The logs of clients that share one monotonic clock, in the order of time; each log keeps its own order. */
export function mergeHistories(logs: readonly (readonly HistoryEvent[])[]): HistoryEvent[] {
  return logs.flat().sort((a, b) => a.atUs - b.atUs);
}
