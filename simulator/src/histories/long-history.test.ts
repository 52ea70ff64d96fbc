import { expect, test } from "vitest";
import { checkHistory } from "./check.ts";
import type { HistoryEvent, PolledRecord } from "./history.ts";

/**
 * Relays hand every value on to the next, in transactions, with plain sends among them: a long chain of who read from
 * whom, which a search without a bound on its depth would not survive. All is read once more at the end.
 */
function relayed(rounds: number): HistoryEvent[] {
  const relays = 4;
  const events: HistoryEvent[] = [];
  const logs: PolledRecord[][] = Array.from({ length: relays }, () => []);
  let call = 0;
  const note = (client: string, event: object): void => {
    events.push({ client, atUs: events.length, ...event } as HistoryEvent);
  };
  const append = (partition: number, value: string): number => {
    const log = logs[partition] ?? [];
    const offset = log.length * 2;
    log.push(["ring", partition, offset, value]);
    return offset;
  };
  for (let round = 0; round < rounds; round++) {
    const relay = round % relays;
    const client = `relay-${relay}`;
    if (round < relays) note(client, { type: "open", isolation: "read_committed" });
    const to = (relay + 1) % relays;
    const records = (logs[relay] ?? []).slice(-1);
    const isPlain = round % 7 === 0;
    const transaction = isPlain ? {} : { transaction: round };
    if (round >= relays)
      note(client, {
        type: "seek",
        positions: records.map(([topic, partition, offset]) => [topic, partition, offset]),
      });
    note(client, { type: "invoke", call: ++call, name: "poll", ...transaction });
    note(client, { type: "ok", call, records });
    note(client, {
      type: "invoke",
      call: ++call,
      name: "send",
      topic: "ring",
      partition: to,
      value: `v${round}`,
      ...transaction,
    });
    note(client, { type: "ok", call, offset: append(to, `v${round}`) });
    if (isPlain) continue;
    note(client, { type: "invoke", call: ++call, name: "commit", transaction: round });
    note(client, { type: "ok", call });
  }
  note("final", { type: "open", isolation: "read_committed" });
  note("final", { type: "seek", positions: logs.map((_, partition) => ["ring", partition, 0]) });
  for (const log of logs) {
    for (let from = 0; from < log.length; from += 500) {
      note("final", { type: "invoke", call: ++call, name: "poll" });
      note("final", { type: "ok", call, records: log.slice(from, from + 500) });
    }
  }
  return events;
}

test("hundreds of thousands of events, in one chain", { timeout: 60_000 }, () => {
  const events = relayed(60_000);
  expect(events.length).toBeGreaterThan(400_000);
  for (const areWritesIsolated of [false, true]) {
    const startedMs = performance.now();
    const report = checkHistory(events, { areWritesIsolated });
    console.log(`${events.length} events in ${Math.round(performance.now() - startedMs)} ms`);
    expect(report.ok && report.value.findings).toEqual([]);
  }
  // The ring is closed: the first relay read, before it sent its first value, what the last one made of it.
  const first = events.findIndex((event) => event.type === "ok");
  const late = events.findLast(
    (event) => event.type === "ok" && event.client === "relay-0" && event.records !== undefined,
  );
  const closed = events.with(first, {
    ...events[first],
    records: late?.type === "ok" ? late.records : [],
  } as HistoryEvent);
  const startedMs = performance.now();
  const report = checkHistory(closed);
  console.log(`in a circle in ${Math.round(performance.now() - startedMs)} ms`);
  expect(report.ok && [...report.value.counts.keys()].toSorted()).toEqual(["G1c-process", "precommitted read"]);
});
