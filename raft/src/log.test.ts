import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Log } from "./log.ts";
import type { Entry, SnapshotPoint } from "./messages.ts";

const start: SnapshotPoint = { index: 0, term: 0, configuration: { voters: ["a"] } };

function entry(index: number, term: number, voters: readonly string[] | null = null): Entry {
  if (voters !== null) return { kind: "configuration", index, term, configuration: { voters } };
  return { kind: "data", index, term, data: Buffer.from(`${index}`) };
}

const indexes = (entries: readonly Entry[]): number[] => entries.map(({ index }) => index);

describe("a log", () => {
  test("asks once for each entry to be written, and knows what was written", () => {
    const log = new Log(start, []);
    log.append([entry(1, 1), entry(2, 1)]);
    expect(indexes(log.takeUnwritten())).toEqual([1, 2]);
    expect(log.persistedIndex).toBe(0);
    log.append([entry(3, 1)]);
    log.written();
    expect([log.persistedIndex, log.hasUnwritten]).toEqual([2, true]);
    expect(indexes(log.takeUnwritten())).toEqual([3]);
  });

  test("what was truncated while it was written does not count as written", () => {
    const log = new Log(start, []);
    log.append([entry(1, 1), entry(2, 1), entry(3, 1)]);
    log.takeUnwritten();
    log.truncateFrom(2);
    log.append([entry(2, 2)]);
    log.written();
    expect(log.persistedIndex).toBe(1);
    expect(log.takeUnwritten()).toEqual([entry(2, 2)]);
  });

  test("gives as many entries as fit, and at least one", () => {
    const log = new Log(start, [entry(1, 1), entry(2, 1), entry(3, 1)]);
    expect(indexes(log.slice(1, { bytesMax: 0 }))).toEqual([1]);
    expect(indexes(log.slice(1, { bytesMax: 55 }))).toEqual([1, 2]);
    expect(indexes(log.slice(2, { bytesMax: 1_000, upTo: 2 }))).toEqual([2]);
    expect(log.slice(4, { bytesMax: 1_000 })).toEqual([]);
  });

  const faults: readonly (readonly [string, (log: Log) => void, string])[] = [
    ["a gap", (log) => log.append([entry(9, 1)]), "entry 9 does not follow 2"],
    ["a term that goes back", (log) => log.append([entry(3, 0)]), "entry 3 is of term 0, behind one of 1"],
    ["a commit beyond the end", (log) => log.commitTo(3), "3 is said to be committed, and the log ends at 2"],
    ["a truncation of what is committed", (log) => log.truncateFrom(1), "entry 1 was committed (up to 1)"],
    ["a snapshot of what was not handed out", (log) => void log.compactTo(1), "and 0 was handed out last"],
    ["an older snapshot", (log) => log.installed(start), "a snapshot of 0 goes back behind 0"],
  ];
  test.for(faults)("stops at %s", ([, act, message]) => {
    const log = new Log(start, [entry(1, 1), entry(2, 1)]);
    log.commitTo(1);
    expect(() => act(log)).toThrow(message);
  });

  test("the configuration in force is the last in it, goes back with it, and outlives what a snapshot stands for", () => {
    const log = new Log(start, [entry(1, 1), entry(2, 1, ["a", "b"]), entry(3, 1, ["b"])]);
    expect(log.configuration.voters).toEqual(["b"]);
    expect(log.configurationBefore?.voters).toEqual(["a", "b"]);
    log.commitTo(2);
    log.takeCommitted(1_000);
    expect(log.compactTo(2)).toEqual({ index: 2, term: 1, configuration: { voters: ["a", "b"] } });
    log.truncateFrom(3);
    expect([log.configuration.voters, log.configurationIndex, log.configurationBefore]).toEqual([["a", "b"], 2, null]);
  });

  test("a snapshot keeps what belongs to it, and drops what is another's", () => {
    for (const [term, left] of [
      [1, [3]],
      [2, []],
    ] as const) {
      const log = new Log(start, [entry(1, 1), entry(2, 1), entry(3, 1)]);
      log.installed({ index: 2, term, configuration: { voters: ["c"] } });
      expect(indexes(log.slice(3, { bytesMax: 1_000 }))).toEqual(left);
      expect([log.committedIndex, log.configuration.voters]).toEqual([2, ["c"]]);
    }
  });

  test("a snapshot of what was committed meanwhile only moves what is handed out next", () => {
    const log = new Log(start, [entry(1, 1), entry(2, 1), entry(3, 1)]);
    log.commitTo(3);
    log.installed({ index: 2, term: 1, configuration: { voters: ["a"] } });
    expect(indexes(log.takeCommitted(1_000))).toEqual([3]);
  });
});

/** The plainest log: all entries since the beginning, and numbers. */
interface Model {
  readonly entries: Entry[];
  compacted: number;
  committed: number;
  handedOut: number;
}

test("is the same as a list of all entries, whatever is done to it", () => {
  const step = fc.record({ kind: fc.nat(5), size: fc.nat(6), at: fc.double({ min: 0, max: 0.999, noNaN: true }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const log = new Log(start, []);
      const model: Model = { entries: [], compacted: 0, committed: 0, handedOut: 0 };
      let term = 1;
      for (const { kind, size, at } of steps) {
        const last = model.entries.length;
        const pick = (from: number, to: number): number => from + Math.floor(at * (to - from + 1));
        if (kind === 0) {
          const added = Array.from({ length: size }, (_, count) =>
            entry(last + 1 + count, term, count === 2 ? [`voter ${last}`] : null),
          );
          log.append(added);
          model.entries.push(...added);
        } else if (kind === 1 && last > model.committed) {
          const index = pick(model.committed + 1, last);
          log.truncateFrom(index);
          model.entries.length = index - 1;
          term++;
        } else if (kind === 2) {
          model.committed = pick(model.committed, last);
          log.commitTo(model.committed);
        } else if (kind === 3) {
          const given = log.takeCommitted(size * 20);
          expect(given).toEqual(model.entries.slice(model.handedOut, model.handedOut + given.length));
          expect(given.length > 0).toBe(model.handedOut < model.committed);
          model.handedOut += given.length;
        } else if (kind === 4 && model.handedOut > model.compacted) {
          model.compacted = pick(model.compacted + 1, model.handedOut);
          log.compactTo(model.compacted);
        } else if (kind === 5) {
          log.takeUnwritten();
          log.written();
          expect(log.persistedIndex).toBe(model.entries.length);
        }
        compare(log, model);
      }
    }),
    { numRuns: 500 },
  );
});

function compare(log: Log, { entries, compacted, committed }: Model): void {
  expect([log.lastIndex, log.committedIndex, log.snapshot.index]).toEqual([entries.length, committed, compacted]);
  expect(log.lastTerm).toBe(entries.at(-1)?.term ?? 0);
  for (let index = 1; index <= entries.length + 1; index++) {
    expect(log.termAt(index)).toBe(index < compacted ? null : (entries[index - 1]?.term ?? null));
  }
  const configured = entries.findLast(({ kind }) => kind === "configuration");
  expect(log.configuration).toEqual(
    configured?.kind === "configuration" ? configured.configuration : start.configuration,
  );
  expect(log.slice(compacted + 1, { bytesMax: Infinity })).toEqual(entries.slice(compacted));
}
