import { afterAll, expect, test } from "vitest";
import { Prng } from "@millrace/base/prng";
import { Cluster } from "@millrace/client";
import type { Producer } from "@millrace/client";
import { Broker, Command, killCommands } from "./command.ts";
import { temporaryDirectory } from "./fixture.ts";
import { seedOf } from "./seed.ts";

/*
 * `kill -9` in a loop, of a real process on a real disk. The system keeps what a process wrote, so nothing acknowledged may
 * be missing whatever `millrace.durability` says; and what was written and not answered is there twice if the broker forgets,
 * with its memory, whose batches it has. The seed gives the same moments to kill, counted in acknowledgements, not the same run.
 */

afterAll(killCommands);

interface Target {
  readonly topic: string;
  readonly partitions: number;
  readonly valueBytes: number;
  readonly config?: Readonly<Record<string, string>>;
}

/** So few keys that most of what is sent is superseded: segments are compacted all the time. */
const keys = 7;
const targets: readonly Target[] = [
  { topic: "plain", partitions: 3, valueBytes: 300 },
  { topic: "unsynced", partitions: 2, valueBytes: 300, config: { "millrace.durability": "os" } },
  { topic: "rolled", partitions: 1, valueBytes: 20_000, config: { "segment.bytes": "1048576" } },
  {
    topic: "compacted",
    partitions: 1,
    valueBytes: 20_000,
    config: { "cleanup.policy": "compact", "segment.bytes": "1048576", "min.cleanable.dirty.ratio": "0.01" },
  },
];

interface Sent {
  readonly key: string;
  readonly value: string;
}

/** One partition: what was sent to it, in this order, and where the broker said that it lies. */
class Lane {
  readonly target: Target;
  readonly partition: number;
  readonly sent: Sent[] = [];
  readonly places = new Map<number, Sent>();

  constructor(target: Target, partition: number) {
    this.target = target;
    this.partition = partition;
  }

  /** Keeps some records on their way until `isOver` says so, and waits for the answers to all. */
  async produce(producer: Producer, { isOver, onAnswer }: { isOver(): boolean; onAnswer(): void }): Promise<void> {
    const { topic, valueBytes } = this.target;
    const underWay = new Set<Promise<void>>();
    while (!isOver()) {
      const number = this.sent.length;
      const record = { key: `key-${number % keys}`, value: `${number}:`.padEnd(valueBytes, "x") };
      this.sent.push(record);
      const answered = producer.send(topic, { ...record, partition: this.partition }).then(({ offset }) => {
        // −1: a duplicate of long ago, whose place the broker does not say.
        if (offset >= 0) this.places.set(offset, record);
        underWay.delete(answered);
        onAnswer();
      });
      underWay.add(answered);
      if (underWay.size >= 8) await Promise.race(underWay);
    }
    await Promise.all(underWay);
  }
}

const rounds = 6;
const quick = ["--set", "log.cleaner.backoff.ms=50", "--set", "metadata.log.max.record.bytes.between.snapshots=3000"];

test("after kill -9 at any moment, again and again: every topic is back, each record once and in order", async () => {
  const prng = new Prng(seedOf("kill -9"));
  await using directory = await temporaryDirectory();
  let broker = await Broker.start(directory.path, quick);
  const port = broker.address.split(":").at(-1) ?? "";
  const args = ["--port", port, ...quick];
  await using cluster = new Cluster({ brokers: [broker.address] });
  const { topics } = cluster.admin();
  for (const { topic, partitions, config } of targets) {
    await topics.create({ name: topic, partitions, ...(config === undefined ? {} : { config }) });
  }
  const lanes = targets.flatMap((target) =>
    Array.from({ length: target.partitions }, (_, partition) => new Lane(target, partition)),
  );
  const expected = new Set(targets.map(({ topic }) => topic));
  {
    // One producer for all rounds: what it has on its way when the broker dies it sends again to the next one.
    await using producer = cluster.producer();
    let answers = 0;
    let isOver = false;
    let onAnswers: () => void = () => {};
    const producing = lanes.map((lane) =>
      lane.produce(producer, {
        isOver: () => isOver,
        onAnswer: () => {
          answers += 1;
          onAnswers();
        },
      }),
    );
    const failure = Promise.all(producing).then(() => new Promise<never>(() => {}));
    const answered = async (count: number): Promise<void> => {
      const wanted = answers + count;
      const reached = new Promise<void>((resolve) => {
        onAnswers = () => void (answers >= wanted && resolve());
      });
      await Promise.race([reached, failure]);
    };
    for (let round = 0; round < rounds; round++) {
      await answered(prng.between(1, 800));
      await topics.create({ name: `created-${round}`, partitions: 2 });
      expected.add(`created-${round}`);
      if (round > 0 && prng.chance(0.5)) {
        await topics.delete(`created-${round - 1}`);
        expected.delete(`created-${round - 1}`);
      }
      await answered(prng.between(1, 100));
      await broker.kill();
      if (prng.chance(0.4)) {
        // And once more while it starts, or has just started.
        const starting = new Command(["start", "--data", directory.path, ...args]);
        await starting.says(prng.chance(0.5) ? /./ : /ready/);
        starting.process.kill("SIGKILL");
        await starting.ended;
      }
      broker = await Broker.start(directory.path, args);
    }
    await answered(100);
    isOver = true;
    await Promise.all(producing);
  }
  await using reader = new Cluster({ brokers: [broker.address] });
  const found: string[] = [];
  for await (const { name } of reader.admin().topics.list()) found.push(name);
  expect(found.filter((name) => !name.startsWith("__")).toSorted()).toEqual([...expected].toSorted());
  for (const target of targets) {
    const records: { readonly partition: number; readonly offset: number; readonly value: string }[] = [];
    for await (const { partition, offset, value } of reader.consumer().records(target.topic, { untilEnd: true })) {
      records.push({ partition, offset, value: `${value}` });
    }
    for (const lane of lanes.filter((each) => each.target === target)) {
      const mine = records.filter(({ partition }) => partition === lane.partition);
      const where = `${target.topic}-${lane.partition}`;
      if (target.topic === "compacted") checkCompacted(where, lane, mine);
      else
        expect(
          mine.map(({ value }) => short(value)),
          where,
        ).toEqual(lane.sent.map(({ value }) => short(value)));
      for (const { offset, value } of mine) {
        const promised = lane.places.get(offset);
        if (promised !== undefined) expect(short(value), `${where} at ${offset}`).toBe(short(promised.value));
      }
      console.log(`${where}: ${lane.sent.length} sent, ${mine.length} there`);
    }
  }
  // Nothing of it looked like damage to any start.
  expect(await broker.stop()).toBe(0);
  expect(broker.command.err).not.toMatch(/"level":"error"/);
}, 120_000);

/** Of each key the last record is there; what else is there is what was sent, once, in order. */
function checkCompacted(
  where: string,
  { sent }: Lane,
  found: readonly { readonly offset: number; readonly value: string }[],
): void {
  const numbers = found.map(({ value }) => Number(short(value)));
  expect(numbers, where).toEqual([...new Set(numbers)].toSorted((a, b) => a - b));
  const last = Array.from({ length: Math.min(keys, sent.length) }, (_, index) => sent.length - 1 - index);
  expect(
    last.filter((number) => !numbers.includes(number)),
    where,
  ).toEqual([]);
}

function short(value: string): string {
  return value.slice(0, value.indexOf(":"));
}
