import { assert } from "@millrace/base/assert";
import { checkHistory } from "./check.ts";
import type { CheckOptions } from "./check.ts";
import type { Call, HistoryEvent, Lane, Place, PolledRecord } from "./history.ts";

/**
 * A history as a person writes it, a call a line, each begun after the one before it has ended:
 *
 *     a: send x to p0 -> 4          acknowledged at offset 4; -> ? not answered; -> fail; -> lost in a crash, no line at all
 *     a: send x to p0 in 1 -> 4     in transaction 1
 *     b: poll p0:4=x p0:5=y         what it returned; -> fail at the end for one that did not return
 *     b: poll in 1 p0:4=x
 *     a: commit 1 -> ok             or abort 1
 *     b: offsets p0:5 -> ok         commits offsets of the group g; offsets in 1 p0:5 in a transaction
 *     b: assigned p0                or revoked, lost; of the group g
 *     b: position p0:5              asked and told
 *     b: seek p0:5
 *     b: isolation read_uncommitted
 *     b: wait 5000                  milliseconds until the next line
 *     b: crash
 *
 * A client reads committed records unless it says otherwise. A line of a call takes a millisecond.
 */
export function historyOf(script: string): HistoryEvent[] {
  const writer = new ScriptWriter();
  for (const line of script.split("\n")) {
    const text = line.replace(/\/\/.*/, "").trim();
    if (text !== "") writer.line(text);
  }
  return writer.events;
}

/** A history and what is found in it: for tests. */
export interface Example {
  readonly what: string;
  readonly history: string;
  readonly options?: CheckOptions;
  /** The line of the report; no other is there. */
  readonly found?: string;
}

/** The report on an example, a finding a line. */
export function linesOf({ history, options }: Pick<Example, "history" | "options">): string[] {
  const report = checkHistory(historyOf(history), options);
  if (!report.ok) return [`${report.failure}: ${report.message}`];
  return report.value.findings.map(({ text }) => text);
}

const group = "g";

class ScriptWriter {
  readonly events: HistoryEvent[] = [];
  readonly #clients = new Set<string>();
  #nowUs = 1_000_000;
  #calls = 0;

  line(text: string): void {
    const [, client = "", verb = "", rest = "", outcome = null] =
      /^(\S+): (\S+)((?: (?!->)\S+)*)(?: -> (\S+))?$/.exec(text) ?? [];
    assert(client !== "", `a line of a history reads "client: verb ...", not "${text}"`);
    const words = rest.split(" ").filter((word) => word !== "");
    if (verb === "wait") {
      this.#nowUs += Number(words[0]) * 1000;
      return;
    }
    if (verb === "isolation") {
      this.#clients.add(client);
      this.#write({
        client,
        type: "open",
        isolation: words[0] === "read_committed" ? "read_committed" : "read_uncommitted",
      });
      return;
    }
    if (!this.#clients.has(client)) {
      this.#clients.add(client);
      this.#write({ client, type: "open", isolation: "read_committed" });
    }
    const inside = words.indexOf("in");
    const number = inside === -1 ? null : Number(words.splice(inside, 2)[1]);
    const transaction = number === null ? {} : { transaction: number };
    switch (verb) {
      case "send": {
        const [topic, partition] = laneOf(words[2] ?? "");
        const isPlaced = outcome !== null && /^\d+$/.test(outcome);
        const result = isPlaced ? { offset: Number(outcome) } : {};
        const call: Call = { name: "send", topic, partition, value: words[0] ?? "", ...transaction };
        this.#call(client, call, { outcome: isPlaced ? "ok" : outcome, result });
        return;
      }
      case "poll":
        this.#call(
          client,
          { name: "poll", ...transaction },
          { outcome: outcome ?? "ok", result: { records: words.map(recordOf) } },
        );
        return;
      case "commit":
      case "abort":
        this.#call(client, { name: verb, transaction: Number(words[0]) }, { outcome, result: {} });
        return;
      case "offsets":
        this.#call(
          client,
          { name: "commit-offsets", group, positions: words.map(placeOf), ...transaction },
          { outcome, result: {} },
        );
        return;
      case "position":
        this.#call(client, { name: "position", group }, { outcome: "ok", result: { positions: words.map(placeOf) } });
        return;
      case "seek":
        this.#write({ client, type: "seek", positions: words.map(placeOf) });
        return;
      case "assigned":
      case "revoked":
      case "lost":
        this.#write({ client, type: verb, group, partitions: words.map(laneOf) });
        return;
      case "crash":
        this.#write({ client, type: "crash" });
        return;
      default:
        assert(false, `no client can ${verb}`);
    }
  }

  #call(
    client: string,
    call: Call,
    { outcome, result }: { readonly outcome: string | null; readonly result: Partial<HistoryEvent> },
  ): void {
    const id = this.#calls++;
    this.#write({ client, type: "invoke", call: id, ...call });
    if (outcome === "ok") this.#write({ client, ...result, type: "ok", call: id });
    else if (outcome === "fail") this.#write({ client, type: "fail", call: id, error: "refused" });
    else if (outcome === "?") this.#write({ client, type: "info", call: id, error: "timed out" });
  }

  #write(event: object): void {
    this.#nowUs += 500;
    this.events.push({ ...event, atUs: this.#nowUs } as HistoryEvent);
  }
}

/** `p0` -> partition 0 of the topic `p`. */
function laneOf(word: string): Lane {
  const [, topic = "", partition = ""] = /^([a-z]+)(\d+)$/.exec(word) ?? [];
  assert(topic !== "", `a partition reads p0, not "${word}"`);
  return [topic, Number(partition)];
}

/** `p0:4` */
function placeOf(word: string): Place {
  const [lane = "", offset = ""] = word.split(":");
  return [...laneOf(lane), Number(offset)];
}

/** `p0:4=x` */
function recordOf(word: string): PolledRecord {
  const [place = "", value = ""] = word.split("=");
  return [...placeOf(place), value];
}
