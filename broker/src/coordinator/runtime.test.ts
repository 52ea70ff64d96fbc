import { silentLogger } from "@millrace/base/logger";
import type { Timer } from "@millrace/base/world";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { encodeEndTransactionMarker } from "kafka-protocol-ts/records/control";
import { encodeBatch } from "kafka-protocol-ts/records/record";
import { beforeEach, describe, expect, test } from "vitest";
import { nothingDecided } from "./machine.ts";
import type { Decision, RecordPlace, ShardMachine, Ticket } from "./machine.ts";
import { CoordinatorRuntime } from "./runtime.ts";
import type { CoordinatorRecord } from "./shard-log.ts";
import { MemoryLog } from "./testing/memory-log.ts";

/** Words, and who waits for one: the smallest machine that uses everything a runtime offers. */
interface WordTypes {
  readonly record: string;
  readonly soft: { readonly waiting: Ticket<string> | null };
  readonly timer: { readonly id: string };
  readonly effect: string;
  readonly event: string;
}

class WordMachine implements ShardMachine<WordTypes> {
  readonly words: string[] = [];
  readonly offsets: number[] = [];
  readonly pending = new Map<number, string[]>();
  waiting: Ticket<string> | null = null;

  encode(record: string): CoordinatorRecord {
    return { key: Buffer.from([0]), value: Buffer.from(record) };
  }
  decode(key: Uint8Array, value: Uint8Array | null): string | null {
    return key[0] === 0 ? Buffer.from(value ?? []).toString() : null;
  }
  replay(record: string, { offset, producerId }: RecordPlace): void {
    if (producerId !== -1) this.pending.set(producerId, [...(this.pending.get(producerId) ?? []), record]);
    else this.words.push(record);
    this.offsets.push(offset);
  }
  replayEndTransaction(producerId: number, outcome: "commit" | "abort"): void {
    if (outcome === "commit") this.words.push(...(this.pending.get(producerId) ?? []));
    this.pending.delete(producerId);
  }
  applySoft({ waiting }: WordTypes["soft"]): void {
    this.waiting = waiting;
  }
  decideLoaded(): Decision<WordTypes> {
    return decision({ events: [`loaded ${this.words.length}`] });
  }
  decideTimer(timer: WordTypes["timer"]): Decision<WordTypes> {
    return decision({ records: [`${timer.id} rang`] });
  }
}

function decision(parts: Partial<Decision<WordTypes>>): Decision<WordTypes> {
  return { ...nothingDecided, ...parts };
}

/** A clock whose process can be stopped: time has passed, and no timer has fired meanwhile. */
class StallingClock extends VirtualClock {
  #stalledMs = 0;
  timersSet = 0;
  /** What lies in the sockets: served before the turn ends in which it is looked for. */
  input: (() => void) | null = null;

  override afterTurn(callback: () => void): void {
    super.afterTurn(() => {
      const { input } = this;
      this.input = null;
      input?.();
      callback();
    });
  }
  override schedule(delayMs: number, callback: () => void): Timer {
    this.timersSet += 1;
    // Without a bound a loop that lets no time pass would keep the test itself from its end.
    if (this.timersSet > 10_000) throw new Error("timers are set without an end");
    return super.schedule(delayMs, callback);
  }

  override monotonicMs(): number {
    return super.monotonicMs() + this.#stalledMs;
  }
  stall(ms: number): void {
    this.#stalledMs += ms;
    this.stepWallClock(ms);
  }
}

let clock: StallingClock;
let log: MemoryLog;
let machines: WordMachine[];
let events: string[];
let effects: string[];
let runtime: CoordinatorRuntime<WordTypes, WordMachine>;

beforeEach(() => {
  clock = new StallingClock();
  log = new MemoryLog();
  machines = [];
  events = [];
  effects = [];
  runtime = newRuntime();
});

function newRuntime(
  options: { readonly gatheredBytesMax?: number; readonly lingerMs?: number } = {},
): CoordinatorRuntime<WordTypes, WordMachine> {
  return new CoordinatorRuntime<WordTypes, WordMachine>({
    name: "word",
    clock,
    logger: silentLogger,
    createMachine: () => {
      const machine = new WordMachine();
      machines.push(machine);
      return machine;
    },
    commitTimeoutMs: 5_000,
    batchBytesMax: 200,
    observe: (_partition, event) => events.push(event),
    act: (partition, effect) => effects.push(`${partition}: ${effect}`),
    fatal: (error) => {
      throw error;
    },
    ...options,
  });
}

const latest = (): WordMachine => machines.at(-1)!;
const lead = async (): Promise<void> => {
  runtime.onLeader(3, log);
  await clock.settle();
};
/** Collects what an answer says once it is there. */
function watch<T>(promise: Promise<T>): { value: T | null } {
  const seen: { value: T | null } = { value: null };
  void promise.then((value) => (seen.value = value));
  return seen;
}
const say = (word: string) =>
  runtime.ask<string>(3, (_machine, ticket) =>
    decision({ records: [word], replies: [{ ticket, response: `said ${word}`, when: "committed" }] }),
  );
const read = () =>
  runtime.ask<string>(3, (machine, ticket) =>
    decision({ replies: [{ ticket, response: machine.words.join(" "), when: "committed" }] }),
  );

describe("an effect", () => {
  test("begins when its decision is committed, after the answer, and in order", async () => {
    await lead();
    log.isAutoCommit = false;
    const answered = runtime.ask<string>(3, (_machine, ticket) =>
      decision({ records: ["one"], replies: [{ ticket, response: "", when: "committed" }], effects: ["one", "more"] }),
    );
    void answered.then(() => effects.push("answered"));
    runtime.tellAll(() => decision({ records: ["two"], effects: ["two"] }));
    await clock.settle();
    expect(effects).toEqual([]);
    log.commit(1);
    expect(effects).toEqual(["3: one", "3: more"]);
    await clock.settle();
    log.commit();
    expect(effects).toEqual(["3: one", "3: more", "answered", "3: two"]);
    runtime.tellAll(() => decision({ effects: ["now"] }));
    expect(effects.at(-1)).toBe("3: now");
  });

  test("does not begin when its decision is lost", async () => {
    await lead();
    log.isAutoCommit = false;
    runtime.tellAll(() => decision({ records: ["one"], effects: ["one"] }));
    log.lose("not-leader");
    await clock.settle();
    log.commit();
    expect(effects).toEqual([]);
  });

  test("of what was loaded waits until that is committed", async () => {
    log.isAutoCommit = false;
    log.append([{ key: Buffer.from([0]), value: Buffer.from("old") }], clock.now());
    await lead();
    runtime.tellAll(() => decision({ effects: ["again"] }));
    expect(effects).toEqual([]);
    log.commit();
    expect(effects).toEqual(["3: again"]);
  });
});

describe("a transaction", () => {
  const marker = { producerId: 7, producerEpoch: 1, outcome: "commit", coordinatorEpoch: 0 } as const;
  const sayIn = (word: string) =>
    runtime.ask<string>(3, (_machine, ticket) =>
      decision({
        records: [word],
        producer: { producerId: 7, producerEpoch: 1, guard: null },
        replies: [{ ticket, response: `said ${word}`, when: "committed" }],
      }),
    );

  test("is told to the machine when it ends, live as when it is loaded", async () => {
    await lead();
    expect(await sayIn("one")).toEqual({ ok: true, value: "said one" });
    expect(latest().words).toEqual([]);
    log.isAutoCommit = false;
    const ended = watch(runtime.endTransaction(3, marker));
    await clock.settle();
    expect(latest().words).toEqual(["one"]);
    expect(ended.value).toBeNull();
    log.commit();
    await clock.settle();
    expect(ended.value).toEqual({ ok: true, value: undefined });
    log.isAutoCommit = true;
    await sayIn("two");
    await runtime.endTransaction(3, { ...marker, outcome: "abort" });
    await say("three");
    expect(latest().words).toEqual(["one", "three"]);
    await lead();
    expect(latest().words).toEqual(["one", "three"]);
    expect(latest().offsets).toEqual([0, 2, 4]);
  });

  test("does not end where the log refuses the marker, or where nobody has loaded it", async () => {
    expect(await runtime.endTransaction(3, marker)).toMatchObject({ failure: "not-coordinator" });
    await lead();
    await sayIn("one");
    log.refuseNextMarker = "stale-producer-epoch";
    expect(await runtime.endTransaction(3, marker)).toMatchObject({ failure: "stale-producer-epoch" });
    expect(latest().words).toEqual([]);
    log.gate = new Promise(() => {});
    await lead();
    expect(await runtime.endTransaction(3, marker)).toMatchObject({ failure: "loading" });
  });

  test("whose producer was fenced writes nothing, and the shard goes on", async () => {
    await lead();
    log.refuseNext = "stale-producer-epoch";
    expect(await sayIn("one")).toMatchObject({ failure: "stale-producer-epoch" });
    expect(await say("two")).toEqual({ ok: true, value: "said two" });
    expect(machines).toHaveLength(1);
  });
});

describe("a request", () => {
  test("is replayed at once, and answered when the log has it", async () => {
    await lead();
    log.isAutoCommit = false;
    const one = watch(say("one"));
    const two = watch(say("two"));
    await clock.settle();
    expect(latest().words).toEqual(["one", "two"]);
    expect(latest().offsets).toEqual([0, 1]);
    expect(one.value).toBeNull();
    log.commit(1);
    await clock.settle();
    expect(one.value).toEqual({ ok: true, value: "said one" });
    expect(two.value).toBeNull();
    log.commit(2);
    await clock.settle();
    expect(two.value).toEqual({ ok: true, value: "said two" });
  });

  test("that reads waits for what was queued before it, and one about soft state does not", async () => {
    await lead();
    log.isAutoCommit = false;
    void say("one");
    const reading = watch(read());
    const soft = watch(
      runtime.ask<string>(3, (_machine, ticket) => decision({ replies: [{ ticket, response: "alive", when: "now" }] })),
    );
    await clock.settle();
    expect(soft.value).toEqual({ ok: true, value: "alive" });
    expect(reading.value).toBeNull();
    log.commit();
    await clock.settle();
    expect(reading.value).toEqual({ ok: true, value: "one" });
  });

  test("may be answered by a later decision", async () => {
    await lead();
    const waiting = watch(runtime.ask<string>(3, (_machine, ticket) => decision({ soft: [{ waiting: ticket }] })));
    await clock.advance(60_000);
    expect(waiting.value).toBeNull();
    await runtime.ask<string>(3, (machine, ticket) =>
      decision({
        soft: [{ waiting: null }],
        replies: [
          { ticket: machine.waiting!, response: "at last", when: "now" },
          { ticket, response: "done", when: "now" },
        ],
      }),
    );
    await clock.settle();
    expect(waiting.value).toEqual({ ok: true, value: "at last" });
  });

  test("goes to the coordinator that is here, or is told where it stands", async () => {
    expect(await say("one")).toMatchObject({ failure: "not-coordinator" });
    let open = (): void => {};
    log.gate = new Promise((resolve) => (open = resolve));
    runtime.onLeader(3, log);
    expect(await say("one")).toMatchObject({ failure: "loading" });
    open();
    await clock.settle();
    expect(await say("one")).toEqual({ ok: true, value: "said one" });
    runtime.onResigned(3);
    expect(await say("two")).toMatchObject({ failure: "not-coordinator" });
  });

  test("is not kept waiting for ever by a log that does not commit", async () => {
    await lead();
    log.isAutoCommit = false;
    const one = watch(say("one"));
    await clock.advance(4_999);
    expect(one.value).toBeNull();
    await clock.advance(2);
    expect(one.value).toMatchObject({ failure: "not-available" });
    // What was appended stays appended, and counts when it is committed.
    log.commit();
    expect(await read()).toEqual({ ok: true, value: "one" });
  });
});

test("a shard that is gone runs no timers: nobody looks at them until it is loaded again", async () => {
  await lead();
  runtime.tellAll(() => decision({ timers: [{ timer: { id: "bell" }, afterMs: 10 }] }));
  log.isAutoCommit = false;
  void say("lost");
  await clock.settle();
  let open = (): void => {};
  log.gate = new Promise((resolve) => (open = resolve));
  log.lose("log-failed");
  // The bell is overdue before the shard is loaded again, and while it is: time goes on, in steps of its own.
  const { timersSet } = clock;
  await clock.advance(30_000);
  expect(clock.timersSet - timersSet).toBeLessThan(10);
  log.isAutoCommit = true;
  open();
  await clock.settle();
  expect(await say("back")).toEqual({ ok: true, value: "said back" });
});

describe("when the log fails", () => {
  test("those who wait are told, and the shard begins again from what the log has", async () => {
    await lead();
    await say("kept");
    log.isAutoCommit = false;
    const lost = watch(say("lost"));
    const parked = watch(runtime.ask<string>(3, (_machine, ticket) => decision({ soft: [{ waiting: ticket }] })));
    await clock.settle();
    log.lose("log-failed");
    await clock.settle();
    expect(lost.value).toMatchObject({ failure: "not-coordinator" });
    expect(parked.value).toMatchObject({ failure: "not-coordinator" });
    expect(await read()).toMatchObject({ failure: "not-coordinator" });
    log.isAutoCommit = true;
    await clock.advance(1_000);
    expect(await read()).toEqual({ ok: true, value: "kept" });
    expect(machines).toHaveLength(2);
  });

  test("a lost leadership ends it", async () => {
    await lead();
    log.isAutoCommit = false;
    const lost = watch(say("lost"));
    log.lose("not-leader");
    await clock.settle();
    expect(lost.value).toMatchObject({ failure: "not-coordinator" });
    expect(runtime.partitions).toEqual([]);
    await clock.advance(120_000);
    expect(machines).toHaveLength(1);
  });

  test("an append that is refused changes nothing, and only the asker hears of it", async () => {
    await lead();
    log.refuseNext = "too-large";
    const refused = runtime.ask<string>(3, (_machine, ticket) =>
      decision({
        records: ["huge"],
        soft: [{ waiting: ticket }],
        timers: [{ timer: { id: "bell" }, afterMs: 1 }],
        replies: [{ ticket, response: "", when: "now" }],
      }),
    );
    expect(await refused).toMatchObject({ failure: "too-large" });
    expect(latest()).toMatchObject({ words: [], waiting: null });
    log.refuseNext = "not-enough-replicas";
    expect(await say("one")).toMatchObject({ failure: "not-available" });
    expect(await say("two")).toEqual({ ok: true, value: "said two" });
  });

  test("a log that fails while a request is decided on answers it, and who is parked, once", async () => {
    const park = () =>
      runtime
        .ask<string>(3, (_machine, ticket) => decision({ soft: [{ waiting: ticket }] }))
        .then((answer) => ({ parked: answer }));
    const notCoordinator = { failure: "not-coordinator" };
    const answerAll = () =>
      runtime.ask<string>(3, (machine, ticket) => {
        const replies = [ticket, machine.waiting ?? ticket].map((one) => ({
          ticket: one,
          response: "",
          when: "committed" as const,
        }));
        return decision({ records: ["one"], replies });
      });
    for (const breakLog of [
      () => (log.refuseNext = "log-failed"),
      () => {
        log.isAutoCommit = false;
        log.isLost = "log-failed";
      },
    ]) {
      log = new MemoryLog();
      await lead();
      const parked = park();
      breakLog();
      expect(await answerAll()).toMatchObject(notCoordinator);
      expect(await parked).toMatchObject({ parked: notCoordinator });
    }
  });

  test("an end of a transaction that is lost at once is answered", async () => {
    await lead();
    log.isLost = "not-leader";
    log.isAutoCommit = false;
    const marker = { producerId: 7, producerEpoch: 0, outcome: "commit", coordinatorEpoch: 0 } as const;
    expect(await runtime.endTransaction(3, marker)).toMatchObject({ failure: "not-coordinator" });
  });

  test("who was parked and is answered is not answered again when the shard goes", async () => {
    await lead();
    const parked = watch(runtime.ask<string>(3, (_machine, ticket) => decision({ soft: [{ waiting: ticket }] })));
    await runtime.ask<string>(3, (machine, ticket) =>
      decision({
        replies: [machine.waiting!, ticket].map((one) => ({ ticket: one, response: "at last", when: "now" })),
      }),
    );
    runtime.onResigned(3);
    await clock.settle();
    expect(parked.value).toEqual({ ok: true, value: "at last" });
  });

  test("a log that cannot be read is tried again, ever more seldom", async () => {
    log.appendBatch(encodeBatch({ records: [{ key: Buffer.from([0]), value: Buffer.from("one") }] }));
    log.gate = Promise.reject(new Error("no such file"));
    log.gate.catch(() => {});
    await lead();
    expect(await read()).toMatchObject({ failure: "not-coordinator" });
    await clock.advance(10_000);
    expect(machines.length).toBeLessThan(6);
    log.gate = null;
    await clock.advance(60_000);
    expect(await read()).toEqual({ ok: true, value: "one" });
  });
});

describe("loading", () => {
  test("replays what others wrote: unknown kinds are left alone, transactions count when they are committed", async () => {
    const word = (text: string, kind = 0) => ({ key: Buffer.from([kind]), value: Buffer.from(text) });
    const marker = { coordinatorEpoch: 0, producerEpoch: 0, timestamp: 0 };
    log.appendBatch(encodeBatch({ records: [word("one"), word("of the future", 9)], compression: "none" }));
    log.appendBatch(
      encodeBatch({ records: [word("two")], producerId: 7, producerEpoch: 0, baseSequence: 0, isTransactional: true }),
    );
    log.appendBatch(
      encodeBatch({
        records: [word("never")],
        producerId: 8,
        producerEpoch: 0,
        baseSequence: 0,
        isTransactional: true,
      }),
    );
    log.appendBatch(encodeEndTransactionMarker({ ...marker, isCommit: true, producerId: 7 }));
    log.appendBatch(encodeEndTransactionMarker({ ...marker, isCommit: false, producerId: 8 }));
    log.appendBatch(
      encodeBatch({ records: [word("open")], producerId: 9, producerEpoch: 0, baseSequence: 0, isTransactional: true }),
    );
    await lead();
    expect(latest().words).toEqual(["one", "two"]);
    expect([...latest().pending]).toEqual([[9, ["open"]]]);
    expect(events).toEqual(["loaded 2"]);
    expect(await say("three")).toEqual({ ok: true, value: "said three" });
    expect(latest().offsets.at(-1)).toBe(7);
  });

  test("a read after it waits until what was loaded is committed", async () => {
    log.isAutoCommit = false;
    log.appendBatch(encodeBatch({ records: [{ key: Buffer.from([0]), value: Buffer.from("one") }] }));
    await lead();
    const reading = watch(read());
    await clock.settle();
    expect(reading.value).toBeNull();
    log.commit();
    await clock.settle();
    expect(reading.value).toEqual({ ok: true, value: "one" });
  });

  test("nothing is answered before what was loaded is committed, also what tells of soft state", async () => {
    log.isAutoCommit = false;
    log.append([{ key: Buffer.from([0]), value: Buffer.from("old") }], clock.now());
    log.append([{ key: Buffer.from([0]), value: Buffer.from("older") }], clock.now());
    log.commit(1);
    await lead();
    const beat = () =>
      runtime.ask<number>(3, (machine, ticket) =>
        decision({ replies: [{ ticket, response: machine.words.length, when: "now" }] }),
      );
    const early = watch(beat());
    await clock.settle();
    expect(early.value).toBeNull();
    log.commit();
    await clock.settle();
    expect(early.value).toEqual({ ok: true, value: 2 });
    // From then on a slow log does not delay it.
    log.append([{ key: Buffer.from([0]), value: Buffer.from("new") }], clock.now());
    expect(await beat()).toEqual({ ok: true, value: 2 });
  });

  test("who waits for what was loaded is told to look for another coordinator when that is lost", async () => {
    log.isAutoCommit = false;
    log.append([{ key: Buffer.from([0]), value: Buffer.from("old") }], clock.now());
    await lead();
    const early = watch(read());
    log.lose("not-leader");
    await clock.settle();
    expect(early.value).toEqual({ ok: false, failure: "not-coordinator" });
  });

  test("what all are told meanwhile is told afterwards", async () => {
    let open = (): void => {};
    log.gate = new Promise((resolve) => (open = resolve));
    runtime.onLeader(3, log);
    runtime.tellAll(() => decision({ records: ["news"] }));
    open();
    await clock.settle();
    expect(latest().words).toEqual(["news"]);
  });

  test("stops when the leadership is lost meanwhile, and the next begins afresh", async () => {
    let open = (): void => {};
    log.gate = new Promise((resolve) => (open = resolve));
    runtime.onLeader(3, log);
    runtime.onResigned(3);
    runtime.onLeader(3, log);
    open();
    await clock.settle();
    expect(events).toEqual(["loaded 0"]);
    expect(await say("one")).toEqual({ ok: true, value: "said one" });
    expect(machines[0]!.words).toEqual([]);
  });
});

describe("many records", () => {
  test("of a decision that is not atomic are split over batches, of an atomic one never", async () => {
    await lead();
    const words = Array.from({ length: 20 }, (_, index) => `word-${index}`);
    runtime.tellAll(() => decision({ records: words, isAtomic: false }));
    expect(log.batchCount).toBeGreaterThan(2);
    const before = log.batchCount;
    runtime.tellAll(() => decision({ records: words }));
    expect(log.batchCount).toBe(before + 1);
    expect(latest().words).toEqual([...words, ...words]);
    expect(latest().offsets).toEqual(Array.from({ length: 40 }, (_, index) => index));
  });
});

describe("small decisions", () => {
  beforeEach(() => {
    runtime = newRuntime({ gatheredBytesMax: 150 });
  });
  const small = { producerId: 7, producerEpoch: 1 } as const;

  test("share a batch, are answered when it is committed, and are replayed at once", async () => {
    await lead();
    log.isAutoCommit = false;
    const answers = ["one", "two"].map((word) => watch(say(word)));
    const asked = watch(read());
    expect(latest()).toMatchObject({ words: ["one", "two"], offsets: [0, 1] });
    expect(log.batchCount).toBe(0);
    await clock.settle();
    expect(log.batchCount).toBe(1);
    expect([...answers, asked].map(({ value }) => value)).toEqual([null, null, null]);
    log.commit();
    await clock.settle();
    expect(answers.map(({ value }) => value)).toEqual([
      { ok: true, value: "said one" },
      { ok: true, value: "said two" },
    ]);
    expect(asked.value).toEqual({ ok: true, value: "one two" });
    log.isAutoCommit = true;
    await say("three");
    expect(latest().offsets).toEqual([0, 1, 2]);
  });

  /** Each comes in a turn of its own, one behind the other; `stallMs` passes before each. */
  const sayInTurns = async (words: readonly string[], stallMs = 0): Promise<void> => {
    const [first, ...others] = words;
    if (first === undefined) return;
    void say(first);
    clock.afterTurn(() => {
      clock.stall(stallMs);
      void sayInTurns(others, stallMs);
    });
    await clock.settle();
  };

  test("wait for those of the next turns, as long as every turn brings one", async () => {
    await lead();
    await sayInTurns(["one", "two", "three"]);
    expect(log.records.map(({ value }) => `${value?.toString()}`)).toEqual(["one", "two", "three"]);
    expect(log.batchCount).toBe(1);
    await sayInTurns(["four"]);
    expect(log.batchCount).toBe(2);
  });

  test("do not wait for ever", async () => {
    await lead();
    await sayInTurns(["one", "two", "three", "four"], 2);
    expect(log.batchCount).toBe(2);
  });

  test("wait as long as the linger says: not at all, or so many milliseconds", async () => {
    runtime = newRuntime({ gatheredBytesMax: 150, lingerMs: 0 });
    await lead();
    await sayInTurns(["one", "two", "three"]);
    expect(log.batchCount).toBe(3);
    runtime = newRuntime({ gatheredBytesMax: 150, lingerMs: 10 });
    await lead();
    await sayInTurns(["four"]);
    await clock.advance(9);
    void say("five");
    expect(log.batchCount).toBe(3);
    await clock.advance(1);
    expect(log.batchCount).toBe(4);
    expect(latest().words).toEqual(["one", "two", "three", "four", "five"]);
  });

  test("go into as many batches as they need, in order, and what is larger goes alone", async () => {
    await lead();
    const words = ["a".repeat(40), "b".repeat(40), "c".repeat(40), "d".repeat(170), "e"];
    await Promise.all(words.map(say));
    expect(latest().words).toEqual(words);
    expect(log.records.map(({ value }) => `${value?.toString()}`)).toEqual(words);
    // a and b, c, d, e
    expect(log.batchCount).toBe(4);
  });

  test("stand before what goes alone: a transaction's batch, and a marker", async () => {
    await lead();
    const said = say("one");
    const inTransaction = runtime.ask<string>(3, (_machine, ticket) =>
      decision({
        ...{ records: ["two"], producer: { ...small, guard: null } },
        replies: [{ ticket, response: "", when: "committed" }],
      }),
    );
    const saidLater = say("three");
    const ended = runtime.endTransaction(3, { ...small, outcome: "commit", coordinatorEpoch: 0 });
    await Promise.all([said, inTransaction, saidLater, ended]);
    expect(latest()).toMatchObject({ words: ["one", "three", "two"], offsets: [0, 1, 2] });
    const before = latest();
    await lead();
    expect(latest()).toMatchObject({ words: before.words, offsets: before.offsets });
  });

  test("are refused one by one where the log says so beforehand", async () => {
    await lead();
    log.batchBytesMax = 100;
    const tooLarge = say("x".repeat(80));
    const fits = say("y");
    expect(await tooLarge).toMatchObject({ failure: "too-large" });
    expect(await fits).toEqual({ ok: true, value: "said y" });
    log.refuseNext = "not-enough-replicas";
    expect(await say("one")).toMatchObject({ failure: "not-available" });
    expect(machines).toHaveLength(1);
  });

  test.for(["log-failed", "not-enough-replicas"] as const)(
    "refused when it is too late (%s), all are told, and the log alone says what is true",
    async (failure) => {
      await lead();
      await say("before");
      const answers = [say("one"), say("two")];
      log.refuseNext = failure;
      for (const answer of answers) expect(await answer).toMatchObject({ failure: "not-coordinator" });
      await clock.advance(1_000);
      expect(latest().words).toEqual(["before"]);
      expect(await say("after")).toEqual({ ok: true, value: "said after" });
    },
  );

  test("whose place somebody else takes are found again where they stand", async () => {
    await lead();
    const answer = say("one");
    log.appendBatch(encodeBatch({ records: [{ key: Buffer.from([0]), value: Buffer.from("foreign") }] }));
    expect(await answer).toMatchObject({ failure: "not-coordinator" });
    await clock.advance(1_000);
    expect(latest()).toMatchObject({ words: ["foreign", "one"], offsets: [0, 1] });
  });

  test("are lost with the leadership, and not appended after it", async () => {
    await lead();
    const answer = say("one");
    runtime.onResigned(3);
    expect(await answer).toMatchObject({ failure: "not-coordinator" });
    await clock.settle();
    expect(log.batchCount).toBe(0);
  });
});

describe("timers", () => {
  const set = (id: string, afterMs: number | null): void =>
    runtime.tellAll(() => decision({ timers: [{ timer: { id }, afterMs }] }));

  test("only decide: what they decide is logged and replayed like any other", async () => {
    await lead();
    set("bell", 2_500);
    set("gong", 1_000);
    set("never", 1_500);
    set("never", null);
    await clock.advance(2_499);
    expect(latest().words).toEqual(["gong rang"]);
    await clock.advance(1);
    expect(latest().words).toEqual(["gong rang", "bell rang"]);
    expect(log.records).toHaveLength(2);
  });

  test("are moved by setting them again", async () => {
    await lead();
    set("bell", 2_000);
    await clock.advance(1_500);
    set("bell", 2_000);
    await clock.advance(1_500);
    expect(latest().words).toEqual([]);
    set("bell", 100);
    await clock.advance(100);
    expect(latest().words).toEqual(["bell rang"]);
  });

  test("wait for input that already lies there: what it decides comes first", async () => {
    await lead();
    set("bell", 1_000);
    await clock.advance(999);
    clock.input = () => set("bell", 1_000);
    await clock.advance(1);
    expect(latest().words).toEqual([]);
    await clock.advance(1_000);
    expect(latest().words).toEqual(["bell rang"]);
  });

  test("do not run while the process is stopped", async () => {
    await lead();
    set("bell", 10_000);
    await clock.advance(4_000);
    // SIGSTOP for a minute, then everything that was due comes late and at once.
    clock.stall(60_000);
    await clock.advance(5_000);
    expect(latest().words).toEqual([]);
    await clock.advance(3_000);
    expect(latest().words).toEqual(["bell rang"]);
  });

  test("try again when the log does not take what they decide", async () => {
    await lead();
    set("bell", 1_000);
    log.refuseNext = "not-enough-replicas";
    await clock.advance(1_000);
    expect(latest().words).toEqual([]);
    await clock.advance(1_000);
    expect(latest().words).toEqual(["bell rang"]);
  });

  test("end with the shard", async () => {
    await lead();
    set("bell", 1_000);
    runtime.onResigned(3);
    await clock.advance(5_000);
    expect(log.records).toHaveLength(0);
  });
});
