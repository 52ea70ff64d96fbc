import type { Prng } from "@millrace/base/prng";
import type { FindingKind } from "./findings.ts";
import { mergeHistories } from "./history.ts";
import type { HistoryEvent, Lane, PolledRecord } from "./history.ts";
import { operationsOf } from "./operations.ts";
import type { Operations, Transaction, Write } from "./operations.ts";

/**
 * Takes a history that a correct cluster may show and makes one of it that it may not: of each class one way. Null where
 * this history has no place for it. Others of the classes may come with it.
 */
export const mutations: Readonly<Record<FindingKind, (history: Mutable) => HistoryEvent[] | null>> = {
  "lost write": (history) => {
    const write = history.pick(history.plainAndRead().filter((each) => !history.isLast(each)));
    return write && history.withoutValues([write.value]);
  },
  unseen: (history) => {
    const write = history.pick(history.plainAndRead().filter((each) => history.isLast(each)));
    return write && history.withoutValues([write.value]);
  },
  duplicate: (history) => {
    const write = history.pick(history.plainAndRead());
    if (write === null) return null;
    return history.withFinalRecord([...history.lane(write), 1_000_000, write.value]);
  },
  "inconsistent offsets": (history) => {
    const [poll, record] = history.pickRecord(({ isSeenByAll }) => isSeenByAll);
    if (poll === null) return null;
    const others = history.operations.writes.filter(
      (write) => isIn(history.lane(write), record) && write.value !== record[3],
    );
    const other = history.pick(others);
    return other && history.withRecord(poll, record, [[record[0], record[1], record[2], other.value]]);
  },
  "phantom read": (history) => {
    const [poll, record] = history.pickRecord();
    return poll && history.withRecord(poll, record, [[record[0], record[1], record[2], "from nowhere"]]);
  },
  "internal poll skip": (history) => {
    const [poll, record] = history.pickRecord(({ records, index, isSeenByAll }) => {
      return isSeenByAll && isIn(records[index - 1], records[index]) && isIn(records[index + 1], records[index]);
    });
    return poll && history.withRecord(poll, record, []);
  },
  "external poll skip": (history) => {
    const [poll, record] = history.pickRecord(({ records, index, hasPosition, isSeenByAll }) => {
      return (
        hasPosition &&
        isSeenByAll &&
        !isIn(records[index - 1], records[index]) &&
        isIn(records[index + 1], records[index])
      );
    });
    return poll && history.withRecord(poll, record, []);
  },
  "internal nonmonotonic poll": (history) => {
    const [poll, record] = history.pickRecord(({ records, index }) => isIn(records[index + 1], records[index]));
    const records = poll === null ? [] : recordsOf(poll);
    const next = records[records.indexOf(record) + 1];
    if (poll === null || next === undefined) return null;
    return history.mapRecords((each) => (each === record ? [next] : each === next ? [record] : [each]), poll);
  },
  "external nonmonotonic poll": (history) => {
    const [poll] = history.pickRecord();
    return (
      poll &&
      history.insertAfter(poll, [
        { client: poll.client, type: "invoke", call: -1, name: "poll" },
        { client: poll.client, type: "ok", call: -1, records: recordsOf(poll) },
      ])
    );
  },
  "nonmonotonic send": (history) => {
    const pairs = history.pairs(
      (first, second) => first.client === second.client && first.partition === second.partition,
    );
    const pair = history.pick(pairs);
    return pair && history.withPlacesSwapped(pair[0], pair[1]);
  },
  "send skip": (history) => {
    const pairs = history
      .committed()
      .flatMap(({ writes }) =>
        history.pairsOf(writes, (first, second) => first.partition === second.partition).slice(0, 1),
      );
    const pair = history.pick(pairs);
    if (pair === null) return null;
    const [, second] = pair;
    const later = history.operations.writes.filter(
      (write) =>
        write.partition === second.partition &&
        write.client !== second.client &&
        write.outcome === "ok" &&
        write.offset > second.offset &&
        write.isReadBy.read_committed,
    );
    const foreign = history.pick(later);
    return foreign && history.withPlacesSwapped(second, foreign);
  },
  G1a: (history) => {
    const aborted = history.operations.writes.filter(
      ({ transaction, offset }) => transaction?.fate === "aborted" && offset >= 0,
    );
    const write = history.pick(aborted);
    return write && history.withFinalRecord([...history.lane(write), write.offset, write.value]);
  },
  "precommitted read": (history) => {
    const transaction = history.pick(
      history.committed().filter(({ writes }) => writes.some(({ isReadBy }) => isReadBy.read_committed)),
    );
    return transaction && history.withCommitAtTheEnd(transaction);
  },
  "torn transaction": (history) => {
    const whole = history
      .committed()
      .filter(({ writes }) => writes.filter(({ isReadBy }) => isReadBy.read_committed).length > 1);
    const transaction = history.pick(whole);
    const write = transaction && history.pick(transaction.writes);
    return write && history.withoutValues([write.value]);
  },
  G0: (history) => {
    const pairs = history.transactionPairs();
    const common = pairs.filter((each) => new Set(each.map(([one]) => one.partition)).size > 1);
    const [swapped] = history.pick(common) ?? [];
    return swapped === undefined ? null : history.withPlacesSwapped(swapped[0], swapped[1]);
  },
  "G0-process": (history) => {
    const committed = history.committed();
    const laterOf = (client: number, { invokedAt }: Transaction): Transaction[] =>
      committed.filter((each) => each.client === client && each.invokedAt > invokedAt);
    // One of `third` lies before one of `first`, and one of it before one of `second`: the latter two change places.
    const found = committed.flatMap((third) =>
      committed.flatMap((first) => {
        if (
          first.client === third.client ||
          first.invokedAt < third.invokedAt ||
          history.sharedBy(third, first).length === 0
        )
          return [];
        return laterOf(first.client, first).flatMap((second) => {
          const shared = history.sharedBy(third, second);
          const [pair] = shared;
          const isFree =
            pair !== undefined && history.areNeighbours(...pair) && history.sharedBy(first, second).length === 0;
          return isFree && shared.length === 1 && !first.writes.some(({ partition }) => partition === pair[0].partition)
            ? [pair]
            : [];
        });
      }),
    );
    const pair = history.pick(found);
    return pair && history.withPlacesSwapped(pair[0], pair[1]);
  },
  G1c: (history) => {
    const flows = history
      .flows()
      .filter(({ source }) => source.transaction !== null && history.commitOf(source.transaction) !== null);
    const flow = history.pick(flows);
    const transaction = flow?.source.transaction ?? null;
    const commit = transaction && history.commitOf(transaction);
    if (flow === null || transaction === null || commit === null || flow === undefined) return null;
    const call = { client: commit.client, call: -1 };
    return history.insertBefore(commit, [
      { ...call, type: "invoke", name: "poll", transaction: transaction.number },
      { ...call, type: "ok", records: [[...history.lane(flow.result), flow.result.offset, flow.result.value]] },
    ]);
  },
  "G1c-process": (history) => {
    const flow = history.pick(
      history.flows().filter(({ source }) => source.transaction === null && source.outcome === "ok"),
    );
    const send = flow && history.events[flow.source.invokedAt];
    if (flow === null || send === undefined || send === null) return null;
    const call = { client: send.client, call: -1 };
    return history.insertBefore(send, [
      { ...call, type: "invoke", name: "poll" },
      { ...call, type: "ok", records: [[...history.lane(flow.result), flow.result.offset, flow.result.value]] },
    ]);
  },
  "two owners": (history) => {
    const assigned = history.pickAssigned();
    return (
      assigned &&
      history.insertAfter(assigned.event, [
        { client: assigned.event.client, type: "invoke", call: -1, name: "commit-offsets", group: "g", positions: [] },
        { client: assigned.event.client, type: "ok", call: -1 },
        { client: "intruder", type: "assigned", group: "g", partitions: [assigned.lane] },
      ])
    );
  },
  "stale commit": (history) => {
    const assigned = history.pickAssigned();
    return (
      assigned &&
      history.insertAfter(assigned.event, [
        { client: "intruder", type: "assigned", group: "g", partitions: [assigned.lane] },
        {
          client: assigned.event.client,
          type: "invoke",
          call: -1,
          name: "commit-offsets",
          group: "g",
          positions: [[...assigned.lane, 0]],
        },
        { client: assigned.event.client, type: "ok", call: -1 },
      ])
    );
  },
  "position before commit": (history) => {
    const position = history.pick(history.positionsAfterCommits());
    return position && history.withPosition(position, 0);
  },
  "position beyond commits": (history) => {
    const asked = history.events.filter((event) => event.type === "ok" && (event.positions?.length ?? 0) > 0);
    const position = history.pick(asked);
    return position && history.withPosition(position, 1_000_000);
  },
  "processed twice": (history) => {
    const taken = history.taken();
    const again = taken.flatMap(({ record, transaction }) =>
      taken
        .filter((other) => other.transaction !== transaction && other.limit(record) > record[2])
        .map(({ poll }) => ({ poll, record })),
    );
    const found = history.pick(again);
    return found && history.mapRecords((each, index) => (index === 0 ? [found.record, each] : [each]), found.poll);
  },
  "never processed": (history) => {
    const found = history.pick(history.taken());
    return found && history.withRecord(found.poll, found.record, []);
  },
};

/** Which of them need a history of isolated writes, and are looked for there only. */
export const isolatedKinds: ReadonlySet<FindingKind> = new Set(["send skip", "G0", "G0-process"]);

type OkEvent = Extract<HistoryEvent, { type: "ok" }>;
type Inserted = { readonly client: string; readonly type: HistoryEvent["type"] } & Readonly<Record<string, unknown>>;
type Pair = readonly [Write, Write];

interface RecordPlace {
  readonly records: readonly PolledRecord[];
  readonly index: number;
  /** After a poll without an answer nobody knows where its consumer is, until it is moved. */
  readonly hasPosition: boolean;
  readonly isSeenByAll: boolean;
}

/** The reader of everything, at the end of the model's histories. */
const final = "final";

/** A history with the questions that mutations ask about it, and the edits that they make. Every edit is a new list. */
export class Mutable {
  readonly events: readonly HistoryEvent[];
  readonly operations: Operations;
  readonly #prng: Prng;
  readonly #lastRead = new Map<string, number>();

  constructor(events: readonly HistoryEvent[], prng: Prng) {
    this.events = events;
    this.#prng = prng;
    const operations = operationsOf(events);
    if (!operations.ok) throw new Error(operations.message);
    this.operations = operations.value;
    for (const record of events.flatMap(recordsOf)) {
      const lane = `${record[0]}-${record[1]}`;
      this.#lastRead.set(lane, Math.max(this.#lastRead.get(lane) ?? -1, record[2]));
    }
  }

  pick<T>(from: readonly T[]): T | null {
    return from.length === 0 ? null : this.#prng.pick(from);
  }

  lane({ partition }: Write): Lane {
    const [topic = "", number = ""] = (this.operations.partitionNames[partition] ?? "").split("-");
    return [topic, Number(number)];
  }

  // --- Questions -----------------------------------------------------------------------------------------------------

  plainAndRead(): Write[] {
    return this.operations.writes.filter(
      ({ transaction, outcome, offset, isReadBy }) =>
        transaction === null && outcome === "ok" && offset >= 0 && isReadBy.read_committed,
    );
  }

  /** Nobody read anything behind it. */
  isLast({ partition, offset }: Write): boolean {
    return this.#lastRead.get(this.operations.partitionNames[partition] ?? "") === offset;
  }

  committed(): Transaction[] {
    return this.operations.transactions.filter(({ fate, writes }) => fate === "committed" && writes.length > 0);
  }

  commitOf({ commitAskedAt }: Transaction): HistoryEvent | null {
    return this.events[commitAskedAt] ?? null;
  }

  pairs(isWanted: (first: Write, second: Write) => boolean): Pair[] {
    return this.pairsOf(this.plainAndRead(), isWanted);
  }

  /** Acknowledged ones next to each other among those that are wanted together. */
  pairsOf(writes: readonly Write[], isWanted: (first: Write, second: Write) => boolean): Pair[] {
    return writes.flatMap((first, index) => {
      const second = writes.slice(index + 1).find((each) => isWanted(first, each));
      const isThere = first.offset >= 0 && second !== undefined && second.offset >= 0;
      return isThere ? [[first, second] as const] : [];
    });
  }

  transactionPairs(): (readonly Pair[])[] {
    const committed = this.committed();
    return committed.flatMap((first, index) => {
      const others = committed.slice(index + 1).filter(({ client }) => client !== first.client);
      return others.map((second) => this.sharedBy(first, second));
    });
  }

  /** What the two have in the same partitions, where each has one write. */
  sharedBy(first: Transaction, second: Transaction): readonly Pair[] {
    return first.writes.flatMap((one) =>
      second.writes.filter((other) => this.areAlone(one, other)).map((other) => [one, other] as const),
    );
  }

  /** No write of anybody else lies between them. */
  areNeighbours(one: Write, other: Write): boolean {
    return !this.operations.writes.some(
      ({ partition, offset }) => partition === one.partition && offset > one.offset && offset < other.offset,
    );
  }

  /** Both lie in one partition, and are all that their transactions have there. */
  areAlone(one: Write, other: Write): boolean {
    const isAlone = (write: Write): boolean =>
      write.offset >= 0 &&
      write.transaction?.writes.filter(({ partition }) => partition === write.partition).length === 1;
    return one.partition === other.partition && isAlone(one) && isAlone(other);
  }

  /** What a committed transaction polled, and what it sent. */
  flows(): { readonly source: Write; readonly result: Write }[] {
    return this.committed().flatMap(({ polls, writes }) => {
      const sources = polls.flatMap(({ reads }) => reads).flatMap(({ write }) => write ?? []);
      const results = writes.filter(({ offset }) => offset >= 0);
      return sources.flatMap((source) => results.map((result) => ({ source, result })));
    });
  }

  pickAssigned(): { readonly event: HistoryEvent; readonly lane: Lane } | null {
    const assigned = this.events.flatMap((event) => {
      const [lane] = event.type === "assigned" ? event.partitions : [];
      return lane === undefined ? [] : [{ event, lane }];
    });
    return this.pick(assigned);
  }

  /** Answers to members that asked for their first position after a commit of it had been acknowledged. */
  positionsAfterCommits(): HistoryEvent[] {
    const { positionQueries, offsetCommits } = this.operations;
    return positionQueries.flatMap(({ invokedAt, completedAt, positions }) => {
      const [first] = positions;
      const isCommitted = offsetCommits.some(
        (commit) =>
          commit.outcome === "ok" &&
          commit.transaction?.fate === "committed" &&
          commit.transaction.completedAt < invokedAt &&
          commit.positions.some(({ partition, offset }) => partition === first?.partition && offset > 0),
      );
      const event = this.events[completedAt];
      return isCommitted && event !== undefined ? [event] : [];
    });
  }

  /** Records that members took in committed transactions, and how far such a transaction committed. */
  taken(): {
    readonly poll: OkEvent;
    readonly record: PolledRecord;
    readonly transaction: Transaction;
    readonly limit: (record: PolledRecord) => number;
  }[] {
    return this.committed().flatMap((transaction) => {
      const [commit] = transaction.commits;
      if (commit === undefined) return [];
      const { partitionNames } = this.operations;
      const limit = ([topic, partition]: PolledRecord): number =>
        commit.positions.find((each) => partitionNames[each.partition] === `${topic}-${partition}`)?.offset ?? 0;
      return transaction.polls.flatMap(({ completedAt }) => {
        const poll = this.events[completedAt];
        if (poll?.type !== "ok") return [];
        return recordsOf(poll).map((record) => ({ poll, record, transaction, limit }));
      });
    });
  }

  /** A record that somebody but the last reader polled. */
  pickRecord(
    isWanted: (at: RecordPlace) => boolean = () => true,
  ): readonly [OkEvent, PolledRecord] | readonly [null, PolledRecord] {
    const lostTrack = new Set<string>();
    const seenByAll = new Set(
      this.events
        .filter(({ client }) => client === final)
        .flatMap(recordsOf)
        .map(([, , , value]) => value),
    );
    const found = this.events.flatMap((event) => {
      if (event.type === "info") lostTrack.add(event.client);
      if (event.type === "seek") lostTrack.delete(event.client);
      if (event.type !== "ok" || event.client === final) return [];
      const records = recordsOf(event);
      const hasPosition = !lostTrack.has(event.client);
      return records
        .filter(([, , , value], index) => isWanted({ records, index, hasPosition, isSeenByAll: seenByAll.has(value) }))
        .map((record) => [event, record] as const);
    });
    return this.pick(found) ?? [null, ["", 0, 0, ""]];
  }

  // --- Edits ---------------------------------------------------------------------------------------------------------

  mapRecords(
    change: (record: PolledRecord, index: number) => readonly PolledRecord[],
    only?: HistoryEvent,
  ): HistoryEvent[] {
    return this.events.map((event) => {
      if (event.type !== "ok" || event.records === undefined || (only !== undefined && event !== only)) return event;
      return { ...event, records: event.records.flatMap(change) };
    });
  }

  withoutValues(values: readonly string[]): HistoryEvent[] {
    return this.mapRecords((record) => (values.includes(record[3]) ? [] : [record]));
  }

  withRecord(poll: HistoryEvent, record: PolledRecord, instead: readonly PolledRecord[]): HistoryEvent[] {
    return this.mapRecords((each) => (each === record ? instead : [each]), poll);
  }

  /** The last reader sees this, too, where it belongs by its offset. */
  withFinalRecord(record: PolledRecord): HistoryEvent[] {
    return [
      ...this.events,
      { client: final, type: "seek", positions: [[record[0], record[1], record[2]]] },
      { client: final, type: "invoke", call: -1, name: "poll" },
      { client: final, type: "ok", call: -1, records: [record] },
    ].map((event) => ({ atUs: this.events.at(-1)?.atUs ?? 0, ...event }) as HistoryEvent);
  }

  withPlacesSwapped(one: Write, other: Write): HistoryEvent[] {
    const offsets = new Map([
      [one.completedAt, other.offset],
      [other.completedAt, one.offset],
    ]);
    const values = new Map([
      [one.value, other.value],
      [other.value, one.value],
    ]);
    const swapped = this.mapRecords(([topic, partition, offset, value]) => [
      [topic, partition, offset, values.get(value) ?? value],
    ]);
    return swapped.map((event, index) => {
      const offset = offsets.get(index);
      return offset === undefined || event.type !== "ok" ? event : { ...event, offset };
    });
  }

  withCommitAtTheEnd({ client, commitAskedAt }: Transaction): HistoryEvent[] {
    const name = this.operations.clientNames[client];
    const lateUs = this.events.at(-1)?.atUs ?? 0;
    const shifted = this.events.map((event, index) =>
      event.client === name && index >= commitAskedAt ? { ...event, atUs: event.atUs + lateUs } : event,
    );
    return mergeHistories([shifted]);
  }

  withPosition(answer: HistoryEvent, offset: number): HistoryEvent[] {
    return this.events.map((event) => {
      if (event !== answer || event.type !== "ok") return event;
      return { ...event, positions: (event.positions ?? []).map(([topic, partition]) => [topic, partition, offset]) };
    });
  }

  insertBefore(place: HistoryEvent, events: readonly Inserted[]): HistoryEvent[] {
    return this.#insert(this.events.indexOf(place), events);
  }

  insertAfter(place: HistoryEvent, events: readonly Inserted[]): HistoryEvent[] {
    return this.#insert(this.events.indexOf(place) + 1, events);
  }

  #insert(index: number, events: readonly Inserted[]): HistoryEvent[] {
    // Later by a fraction each: two events of one moment have no order.
    const atUs = this.events[index - 1]?.atUs ?? 0;
    const timed = events.map((event, nth) => ({ ...event, atUs: atUs + (nth + 1) / 8 }) as unknown as HistoryEvent);
    return this.events.toSpliced(index, 0, ...timed);
  }
}

function recordsOf(event: HistoryEvent): readonly PolledRecord[] {
  return event.type === "ok" ? (event.records ?? []) : [];
}

function isIn(one: PolledRecord | Lane | undefined, other: PolledRecord | undefined): boolean {
  return one !== undefined && other !== undefined && one[0] === other[0] && one[1] === other[1];
}
