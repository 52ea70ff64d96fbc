import fc from "fast-check";
import { expect, test } from "vitest";
import type { Producer } from "./commands.ts";
import { TransactionHost } from "./testing/transaction-host.ts";
import { isPrepared } from "./transaction.ts";
import type { Transaction } from "./transaction.ts";

/* Random histories of two transactional ids with three client processes each. What fails prints its seed. */

const ids = ["a", "b"] as const;
type Id = (typeof ids)[number];

type Step = { readonly id: Id; readonly process: number } & (
  | { readonly kind: "init"; readonly isSame: boolean }
  | { readonly kind: "add"; readonly partitions: readonly number[] }
  | { readonly kind: "end"; readonly outcome: "commit" | "abort"; readonly isAnswerLost: boolean }
  | { readonly kind: "markers" }
  | { readonly kind: "failover" }
  | { readonly kind: "wait"; readonly ms: number }
);

const who = { id: fc.constantFrom(...ids), process: fc.integer({ min: 0, max: 2 }) };
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ ...who, kind: fc.constant("init" as const), isSame: fc.boolean() }) },
  {
    weight: 6,
    arbitrary: fc.record({
      ...who,
      kind: fc.constant("add" as const),
      partitions: fc.uniqueArray(fc.integer({ min: 0, max: 5 }), { minLength: 1, maxLength: 3 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      ...who,
      kind: fc.constant("end" as const),
      outcome: fc.constantFrom("commit" as const, "abort" as const),
      isAnswerLost: fc.boolean(),
    }),
  },
  { weight: 4, arbitrary: fc.record({ ...who, kind: fc.constant("markers" as const) }) },
  { weight: 1, arbitrary: fc.record({ ...who, kind: fc.constant("failover" as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ ...who, kind: fc.constant("wait" as const), ms: fc.constantFrom(10, 20_000, 61_000) }),
  },
);

/** A client process: what it was answered last, and whether it had the answer to its last end. */
interface Process {
  producer: Producer | null;
  readonly clientVersion: 1 | 2;
}

class History {
  readonly host = new TransactionHost();
  readonly #processes = new Map<string, Process>();
  readonly #ownerOf = new Map<number, string>();
  readonly #epochOf = new Map<number, number>();
  #before = new Map<string, Transaction>();

  take(each: Step): void {
    const { host } = this;
    const { id } = each;
    const process = this.#process(each);
    switch (each.kind) {
      case "init": {
        const answer = host.init({ id, ...(each.isSame && process.producer ? { expected: process.producer } : {}) });
        if (answer.kind === "granted") process.producer = answer.producer;
        break;
      }
      case "add":
        if (process.producer === null) break;
        this.#expectNewest(
          id,
          process.producer,
          host.add(process.producer, each.partitions, { ...process, id }).failure,
        );
        break;
      case "end": {
        if (process.producer === null) break;
        const answer = host.end(process.producer, each.outcome, { ...process, id });
        if (answer.kind === "granted" && !each.isAnswerLost) process.producer = answer.producer;
        break;
      }
      case "markers":
        host.writeMarkers();
        break;
      case "failover":
        host.failover();
        break;
      case "wait":
        host.advance(each.ms);
        break;
    }
    this.check();
  }

  #process({ id, process }: Step): Process {
    const key = `${id}${process}`;
    const found = this.#processes.get(key) ?? { producer: null, clientVersion: process === 2 ? 2 : 1 };
    this.#processes.set(key, found);
    return found;
  }

  /** T7 */
  #expectNewest(id: Id, producer: Producer, failure: string | null): void {
    if (failure !== null) return;
    const { producerId, producerEpoch } = this.host.transaction(id) ?? {};
    expect(producer).toEqual({ producerId, producerEpoch });
  }

  check(): void {
    const { host } = this;
    const { transactions } = host.shard;
    expect([...host.replayed().transactions], "T1").toEqual([...transactions]);
    for (const [id, now] of transactions) {
      const { state, producerId, producerEpoch, partitions, nextProducerId } = now;
      const before = this.#before.get(id);
      if (state === "Ongoing") expect(partitions.size, "T2").toBeGreaterThan(0);
      else if (!isPrepared(state)) expect(partitions.size, "T2").toBe(0);
      if (before !== undefined && isPrepared(before.state))
        expect([before.state, before.state.replace("Prepare", "Complete")], "T3").toContain(state);
      expect(this.#ownerOf.get(producerId) ?? id, "T4").toBe(id);
      this.#ownerOf.set(producerId, id);
      if (nextProducerId !== -1) expect(this.#ownerOf.has(nextProducerId), "T4").toBe(false);
      expect(producerEpoch, "T4").toBeGreaterThanOrEqual(this.#epochOf.get(producerId) ?? 0);
      this.#epochOf.set(producerId, producerEpoch);
      expect(host.timers.has(`timeout:${id}`), "T6").toBe(state === "Ongoing");
    }
    const prepared = [...transactions.values()].filter(({ state }) => isPrepared(state));
    const wanted = prepared.map(({ transactionalId, producerEpoch, partitions, state }) => ({
      transactionalId,
      producerEpoch,
      outcome: state === "PrepareCommit" ? "commit" : "abort",
      topics: Array.from(partitions, ([topic, indexes]) => ({ topic, partitions: indexes })),
    }));
    const asked = host.markers.map(({ transactionalId, producerEpoch, outcome, topics }) => ({
      transactionalId,
      producerEpoch,
      outcome,
      topics,
    }));
    const byId = (a: { transactionalId: string }, b: { transactionalId: string }): number =>
      a.transactionalId.localeCompare(b.transactionalId);
    expect(asked.toSorted(byId), "T5").toEqual(wanted.toSorted(byId));
    this.#before = new Map(transactions);
  }
}

test("whatever processes, timeouts and failovers do, the invariants hold", () => {
  const completed = new Set<string>();
  fc.assert(
    fc.property(fc.array(step, { minLength: 20, maxLength: 80, size: "max" }), (steps) => {
      const history = new History();
      for (const each of steps) history.take(each);
      for (const { state } of history.host.shard.transactions.values()) completed.add(state);
    }),
    { numRuns: 400 },
  );
  // Else the histories come to nothing.
  expect(completed.size).toBe(6);
});
