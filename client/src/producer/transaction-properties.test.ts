import * as fc from "fast-check";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { expect, test } from "vitest";
import { FakeCluster } from "../../test/fake-cluster.ts";
import type { Mishap } from "../../test/fake-cluster.ts";
import { FakeTransactions } from "../../test/fake-transactions.ts";
import type { Trouble } from "../../test/fake-transactions.ts";
import type { ConsumedOffsets } from "../consumer/consumed-offsets.ts";
import type { KafkaError } from "../errors.ts";

interface Planned {
  /** The partitions of its records. */
  readonly sends: readonly number[];
  readonly isAwaited: boolean;
  readonly hasOffset: boolean;
  readonly end: "return" | "throw" | "signal" | "timed out";
  /** Between two records. */
  readonly pauseMs: number;
}

type Step =
  | { readonly transaction: Planned }
  | { readonly passMs: number }
  | { readonly mishap: Mishap }
  | { readonly trouble: { readonly api: string; readonly what: Trouble; readonly times: number } }
  | { readonly cut: number }
  | { readonly coordinator: number }
  | { readonly lead: number; readonly by: number };

const apis = ["InitProducerId", "AddPartitionsToTxn", "AddOffsetsToTxn", "TxnOffsetCommit", "EndTxn"];
const troubles: fc.Arbitrary<Trouble> = fc.constantFrom<Trouble>(
  "lost",
  "done, and lost",
  ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
  ErrorCode.CONCURRENT_TRANSACTIONS,
  ErrorCode.NOT_COORDINATOR,
);
const codes = [
  ErrorCode.NOT_LEADER_OR_FOLLOWER,
  ErrorCode.NOT_ENOUGH_REPLICAS,
  ErrorCode.CONCURRENT_TRANSACTIONS,
  ErrorCode.INVALID_RECORD,
  ErrorCode.TRANSACTION_ABORTABLE,
];
const mishaps: fc.Arbitrary<Mishap> = fc.oneof(
  fc.constantFrom<Mishap>(
    "none",
    "no answer, but stored",
    "stored, and the connection breaks",
    "the connection breaks",
  ),
  fc.constantFrom(...codes).map((code) => ({ code })),
);
const planned: fc.Arbitrary<Planned> = fc.record({
  sends: fc.array(fc.nat(2), { maxLength: 8 }),
  isAwaited: fc.boolean(),
  hasOffset: fc.boolean(),
  end: fc.constantFrom<Planned["end"]>("return", "return", "return", "return", "throw", "signal", "timed out"),
  pauseMs: fc.constantFrom(0, 0, 3, 200),
});
const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: planned.map((transaction): Step => ({ transaction })) },
  { weight: 2, arbitrary: fc.record({ passMs: fc.constantFrom(0, 10, 500) }) },
  { weight: 3, arbitrary: fc.record({ mishap: mishaps }) },
  {
    weight: 4,
    arbitrary: fc.record({
      trouble: fc.record({ api: fc.constantFrom(...apis), what: troubles, times: fc.constantFrom(1, 1, 3) }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ cut: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ coordinator: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ lead: fc.nat(2), by: fc.nat(1) }) },
);

interface Outcome {
  readonly number: number;
  readonly records: readonly { readonly partition: number; readonly value: string }[];
  readonly hasOffset: boolean;
  what: "committed" | "aborted" | "unknown";
  code: string | null;
}

const producerOptions = { transactionalId: "billing", deliveryTimeoutMs: 8_000, batchBytesMax: 140 };

/** A producer with its transactions, one after the other; where it is of no more use there is another. */
class Story {
  readonly fake: FakeCluster;
  readonly transactions: FakeTransactions;
  readonly outcomes: Outcome[] = [];
  readonly #cluster: ReturnType<FakeCluster["client"]>;
  #producer: ReturnType<ReturnType<FakeCluster["client"]>["producer"]>;

  constructor(fake: FakeCluster, version: 1 | 2) {
    this.fake = fake;
    this.transactions = new FakeTransactions(fake, version);
    this.#cluster = fake.client({ requestTimeoutMs: 1_000 });
    this.#producer = this.#cluster.producer(producerOptions);
  }

  async run({ sends, isAwaited, hasOffset, end, pauseMs }: Planned): Promise<void> {
    const { clock } = this.fake.world;
    const number = this.outcomes.length + 1;
    const records = sends.map((partition, at) => ({ partition, value: `${number}:${at}`.padEnd(30) }));
    const outcome: Outcome = { number, records, hasOffset, what: "aborted", code: null };
    this.outcomes.push(outcome);
    const controller = new AbortController();
    const done = this.#producer.transaction(
      async (tx) => {
        const sent: Promise<unknown>[] = [];
        for (const record of records) {
          if (isAwaited) sent.push(tx.send("bills", record).catch(() => {}));
          else tx.enqueue("bills", record);
          if (pauseMs > 0) await new Promise<void>((resolve) => void clock.schedule(pauseMs, resolve));
        }
        await Promise.all(sent);
        if (hasOffset) await tx.commitOffsets(offsetsOf(number));
        if (end === "throw") throw new Error("mine");
        if (end === "signal") controller.abort();
        const isOpen = this.transactions.ids.get("billing")?.state === "ongoing";
        if (end === "timed out" && isOpen) this.transactions.timeOut("billing");
      },
      { signal: controller.signal },
    );
    const settled = done.then(
      () => void (outcome.what = "committed"),
      (error: KafkaError) => {
        outcome.code = error.code ?? error.message;
        if (error.code === "TRANSACTION_OUTCOME_UNKNOWN") outcome.what = "unknown";
        if (error.fatal) this.#producer = this.#cluster.producer(producerOptions);
      },
    );
    await this.fake.within(60_000, settled);
  }

  async end(): Promise<void> {
    this.fake.mishaps.length = 0;
    this.transactions.calm();
    await this.run({ sends: [0, 1, 2], isAwaited: false, hasOffset: false, end: "return", pauseMs: 0 });
    await this.fake.within(20_000, this.#producer.close());
    await this.#cluster.close();
    await this.fake.world.clock.advance(20_000);
  }
}

function offsetsOf(offset: number): ConsumedOffsets {
  const group = { groupId: "readers", memberId: "m", epoch: 1, instanceId: null };
  return { group, offsets: [{ topic: "orders", partition: 0, offset, leaderEpoch: -1 }] };
}

async function told(version: 1 | 2, script: readonly Step[]): Promise<Story> {
  const fake = await FakeCluster.start({ brokers: 2 });
  const partitions = fake.create("bills", [0, 1, 0]);
  const story = new Story(fake, version);
  for (const step of script) {
    if ("transaction" in step) await story.run(step.transaction);
    else if ("passMs" in step) await fake.world.clock.advance(step.passMs);
    else if ("mishap" in step) fake.mishaps.push(step.mishap);
    else if ("trouble" in step) {
      const { api, what, times } = step.trouble;
      story.transactions.trouble(api, ...Array.from({ length: times }, () => what));
    } else if ("cut" in step) fake.brokers[step.cut]!.cut();
    else if ("coordinator" in step) story.transactions.coordinatorId = step.coordinator;
    else {
      const partition = partitions[step.lead]!;
      partition.leaderId = step.by;
      partition.leaderEpoch++;
    }
  }
  await story.end();
  return story;
}

test.for([1, 2] as const)(
  "version %i: whatever happens, a transaction is seen whole and in order or not at all, and another one can follow",
  { timeout: 60_000 },
  async (version) => {
    await fc.assert(
      fc.asyncProperty(fc.array(steps, { minLength: 4, maxLength: 25, size: "max" }), async (script) => {
        const { fake, transactions, outcomes } = await told(version, script);
        const shown = JSON.stringify(outcomes.map(({ what, code }) => code ?? what));
        expect(outcomes.at(-1)!.what, shown).toBe("committed");
        const unknown = new Set(outcomes.filter(({ what }) => what === "unknown").map(({ number }) => number));
        const isKnown = (value: string | null): boolean => !unknown.has(Number(value!.split(":")[0]));
        const committed = outcomes.filter(({ what }) => what === "committed");
        for (const partition of [0, 1, 2]) {
          const expected = committed.flatMap(({ records }) =>
            records.filter((record) => record.partition === partition),
          );
          const found = transactions.committed("bills", partition).filter(isKnown);
          expect(found, shown).toEqual(expected.map(({ value }) => value));
        }
        const lastOffset = committed.findLast(({ hasOffset }) => hasOffset)?.number;
        const offset = transactions.offsets.get("readers orders-0");
        if (offset === undefined || !unknown.has(offset)) expect(offset, shown).toBe(lastOffset);
        expect(transactions.ids.get("billing")!.state).toBe("committed");
        expect(fake.world.clock.pendingTimers).toBe(0);
      }),
      { numRuns: 80 },
    );
  },
);
