import { describe, expect, test } from "vitest";
import { topicKeys } from "@millrace/broker/config/topic-keys";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { incrementalAlterConfigs } from "kafka-protocol-ts/messages/44-incremental-alter-configs";
import { readRecords } from "kafka-protocol-ts/records/record";
import type { RecordInput } from "kafka-protocol-ts/records/record";
import { createTopic, deleteBefore, offsetAt, produceTo, readBatches } from "./calls.ts";
import { batchOf } from "./fixture.ts";
import type { RawClient } from "./raw-client.ts";
import { dataDirectory, simulated } from "./simulated.ts";
import type { SimulatedBroker } from "./simulated.ts";

/*
 * Every setting of a topic that does something, shown by what it does: the same is tried with one value, and with another that was set while
 * the topic was in use. A setting without a row fails the test.
 */

const sceneConfig = { "log.retention.check.interval.ms": "30000", "connections.max.idle.ms": "-1" };
const orders = { topic: "orders", partition: 0 };
const minute = 60_000;
const mebibyte = 1024 * 1024;

/** A topic in use, and what the rows do with it. */
class Scene {
  readonly it: SimulatedBroker;
  readonly client: RawClient;
  #keys = 0;

  constructor(it: SimulatedBroker, client: RawClient) {
    this.it = it;
    this.client = client;
  }

  get now(): number {
    return this.it.clock.now();
  }

  /** One batch of one record; answers its error code. */
  async send(record: Partial<RecordInput> & { readonly sizeBytes?: number } = {}): Promise<number> {
    const { sizeBytes = 1, ...rest } = record;
    const records = [{ key: null, value: Buffer.alloc(sizeBytes, "x"), timestamp: this.now, ...rest }];
    return (await produceTo(this.client, batchOf([], { records }))).errorCode;
  }

  async start(): Promise<number> {
    return (await offsetAt(this.client, orders, -2)).offset;
  }

  async end(): Promise<number> {
    return (await offsetAt(this.client, orders, -1)).offset;
  }

  async batches() {
    return readBatches(this.client, orders, await this.start());
  }

  async records() {
    return (await this.batches()).flatMap((batch) => [...readRecords(batch)]);
  }

  async files(suffix: string): Promise<string[]> {
    const entries = await this.it.platter.list(`${dataDirectory}/orders-0`);
    return entries.map(({ name }) => name).filter((name) => name.endsWith(suffix));
  }

  /** How many segments begin while it is done. */
  async rolls(work: () => Promise<void>): Promise<number> {
    const before = (await this.files(".log")).length;
    await work();
    return (await this.files(".log")).length - before;
  }

  /** Whether a produce is answered while nothing can be synced. */
  async isAnsweredUnsynced(): Promise<boolean> {
    await this.it.clock.advance(2_000);
    const release = this.it.disk.faults.holdSyncs();
    let isAnswered = false;
    const sent = this.send().then(() => (isAnswered = true));
    await this.it.settle();
    const seen = isAnswered;
    release();
    await sent;
    return seen;
  }

  /**
   * A key gets a value twice, in segments that are closed then: how many of them are left after the cleaner has had time, and
   * retention too.
   */
  async valuesLeft({ values = ["old", "new"] as readonly (string | null)[], fillerBytes = 1 } = {}): Promise<number> {
    const key = Buffer.from(`key-${this.#keys++}`);
    for (const value of values) {
      await this.send({ key, value: value === null ? null : Buffer.from(value) });
      await this.it.clock.advance(2 * minute);
    }
    await this.send({ key: Buffer.from(`filler-${this.#keys}`), sizeBytes: fillerBytes });
    await this.it.clock.advance(2 * minute);
    await this.send({ key: Buffer.from(`last-${this.#keys}`) });
    await this.it.clock.advance(5 * minute);
    return (await this.records()).filter((record) => record.key?.equals(key) === true).length;
  }
}

interface Row {
  /** The topic's other settings. */
  readonly with?: Readonly<Record<string, string>>;
  /** Values, set one after the other, and what `shows` then tells. */
  readonly values: readonly (readonly [value: string, shown: unknown])[];
  shows(scene: Scene, index: number): Promise<unknown>;
}

/** Segments that end with the next record after a minute. */
const brief = { "segment.ms": String(minute) };
const compacted = { ...brief, "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0" };
const text = Buffer.from(Array.from({ length: 20_000 }, (_, index) => `${(index * 7919) % 1000},`).join(""));

const storedBytes = async (scene: Scene): Promise<number> => {
  await scene.send({ value: text });
  return (await scene.batches()).at(-1)?.sizeBytes ?? 0;
};

const rows: Readonly<Record<string, Row>> = {
  "cleanup.policy": {
    with: { ...brief, "retention.ms": "1000", "min.cleanable.dirty.ratio": "0", "delete.retention.ms": "0" },
    values: [
      ["delete", 0],
      ["", 2],
      ["compact", 1],
      ["compact,delete", 0],
    ],
    shows: (scene) => scene.valuesLeft(),
  },
  "compression.gzip.level": {
    with: { "compression.type": "gzip" },
    values: [
      ["1", "larger"],
      ["9", "smaller"],
    ],
    shows: sizes(),
  },
  "compression.type": {
    values: [
      ["producer", "none"],
      ["zstd", "zstd"],
      ["uncompressed", "none"],
      ["lz4", "lz4"],
    ],
    shows: async (scene) => {
      await scene.send({ value: text });
      return codecs[(await scene.batches()).at(-1)?.codec ?? 0];
    },
  },
  "compression.zstd.level": {
    with: { "compression.type": "zstd" },
    values: [
      ["1", "larger"],
      ["19", "smaller"],
    ],
    shows: sizes(),
  },
  "delete.retention.ms": {
    with: compacted,
    values: [
      ["100000000", 1],
      ["0", 0],
    ],
    shows: (scene) => scene.valuesLeft({ values: ["old", null] }),
  },
  "file.delete.delay.ms": {
    with: brief,
    values: [
      ["1000", false],
      ["3600000", true],
    ],
    shows: async (scene) => {
      await scene.send();
      await scene.it.clock.advance(2 * minute);
      await scene.send();
      await deleteBefore(scene.client, orders, await scene.end());
      await scene.it.clock.advance(10 * minute);
      return (await scene.files(".deleted")).length > 0;
    },
  },
  "flush.messages": {
    with: { "millrace.durability": "os" },
    values: [
      [String(Number.MAX_SAFE_INTEGER), true],
      ["1", false],
    ],
    shows: (scene) => scene.isAnsweredUnsynced(),
  },
  "flush.ms": {
    with: { "millrace.durability": "os" },
    values: [
      ["500", 0],
      ["100", 1],
    ],
    shows: async (scene) => {
      await scene.it.clock.advance(2 * minute);
      const release = scene.it.disk.faults.holdSyncs();
      await scene.send();
      await scene.it.clock.advance(200);
      const { heldSyncs } = scene.it.disk.faults;
      release();
      await scene.it.settle();
      return heldSyncs;
    },
  },
  "index.interval.bytes": {
    with: brief,
    values: [
      ["1000000", 0],
      ["1000", 9],
    ],
    // Entries of the index of the segment that was closed last.
    shows: async (scene) => {
      for (let count = 0; count < 10; count++) await scene.send({ sizeBytes: 2_000 });
      await scene.it.clock.advance(2 * minute);
      await scene.send();
      await scene.it.settle();
      const name = (await scene.files(".index")).toSorted().at(-2) ?? "";
      return ((await scene.it.platter.stat(`${dataDirectory}/orders-0/${name}`))?.sizeBytes ?? 0) / 8;
    },
  },
  "max.compaction.lag.ms": {
    with: { ...compacted, "min.cleanable.dirty.ratio": "1" },
    values: [
      ["100000000", 2],
      ["1000", 1],
    ],
    shows: (scene) => scene.valuesLeft(),
  },
  "max.message.bytes": {
    values: [
      ["3000", ErrorCode.NONE],
      ["1000", ErrorCode.MESSAGE_TOO_LARGE],
    ],
    shows: (scene) => scene.send({ sizeBytes: 2_000 }),
  },
  "message.timestamp.after.max.ms": {
    values: [
      ["3600000", ErrorCode.NONE],
      ["1000", ErrorCode.INVALID_TIMESTAMP],
    ],
    shows: (scene) => scene.send({ timestamp: scene.now + 10 * minute }),
  },
  "message.timestamp.before.max.ms": {
    values: [
      ["3600000", ErrorCode.NONE],
      ["1000", ErrorCode.INVALID_TIMESTAMP],
    ],
    shows: (scene) => scene.send({ timestamp: scene.now - 10 * minute }),
  },
  "message.timestamp.type": {
    values: [
      ["CreateTime", -5_000],
      ["LogAppendTime", 0],
    ],
    shows: async (scene) => {
      await scene.send({ timestamp: scene.now - 5_000 });
      return Number((await scene.records()).at(-1)?.timestamp) - scene.now;
    },
  },
  "millrace.compact.request": {
    with: { ...compacted, "min.cleanable.dirty.ratio": "1" },
    values: [
      ["0", 2],
      ["1", 1],
    ],
    shows: async (scene, index) => (index === 0 ? scene.valuesLeft() : valuesOfFirstKey(scene)),
  },
  "millrace.durability": {
    values: [
      ["fsync", false],
      ["os", true],
      ["fsync", false],
    ],
    shows: (scene) => scene.isAnsweredUnsynced(),
  },
  "min.cleanable.dirty.ratio": {
    with: compacted,
    values: [
      ["0", 1],
      ["0.9", 2],
      ["0.0001", 1],
    ],
    shows: (scene, index) => scene.valuesLeft({ fillerBytes: index === 0 ? 500_000 : 1 }),
  },
  "min.compaction.lag.ms": {
    with: compacted,
    values: [
      ["100000000", 2],
      ["0", 1],
    ],
    shows: (scene) => scene.valuesLeft(),
  },
  preallocate: {
    with: brief,
    values: [
      ["false", 0],
      ["true", 1],
    ],
    shows: async (scene) => {
      const { reservations } = scene.it.disk;
      const count = (): number => reservations.filter(({ sizeBytes }) => sizeBytes === 1024 * mebibyte).length;
      const before = count();
      await scene.send();
      await scene.it.clock.advance(2 * minute);
      await scene.send();
      return count() - before;
    },
  },
  "retention.bytes": {
    with: { "segment.bytes": String(mebibyte), "retention.ms": "-1" },
    values: [
      ["-1", 0],
      [String(mebibyte), "some"],
    ],
    shows: async (scene) => {
      const start = await scene.start();
      for (let count = 0; count < 8; count++) await scene.send({ sizeBytes: 400_000 });
      await scene.it.clock.advance(10 * minute);
      const gone = (await scene.start()) - start;
      return gone === 0 ? 0 : "some";
    },
  },
  "retention.ms": {
    values: [
      ["-1", 1],
      ["1000", 0],
    ],
    shows: async (scene) => {
      await scene.send();
      await scene.it.clock.advance(10 * minute);
      return (await scene.end()) - (await scene.start());
    },
  },
  "segment.bytes": {
    values: [
      [String(100 * mebibyte), 0],
      [String(mebibyte), 2],
    ],
    shows: (scene) =>
      scene.rolls(async () => {
        for (let count = 0; count < 4; count++) await scene.send({ sizeBytes: 400_000 });
      }),
  },
  "segment.index.bytes": {
    with: { "index.interval.bytes": "0" },
    values: [
      ["1000000", 0],
      ["32", 2],
    ],
    shows: (scene) =>
      scene.rolls(async () => {
        for (let count = 0; count < 10; count++) await scene.send();
      }),
  },
  "segment.jitter.ms": {
    with: { "segment.ms": String(10 * minute) },
    values: [
      ["0", 0],
      [String(10 * minute), "some"],
    ],
    // Up to ten minutes earlier, by chance: of sixty segments some end before its eighth minute.
    shows: async (scene) => {
      const rolls = await scene.rolls(async () => {
        for (let count = 0; count < 60; count++) {
          await scene.send({ timestamp: scene.now });
          await scene.it.clock.advance(8 * minute);
          await scene.send({ timestamp: scene.now });
          await scene.it.clock.advance(20 * minute);
        }
      });
      return rolls > 60 ? "some" : 0;
    },
  },
  "segment.ms": {
    values: [
      ["604800000", 0],
      [String(minute), 2],
    ],
    // What was written with the first value has its age already.
    shows: (scene) =>
      scene.rolls(async () => {
        await scene.send();
        await scene.it.clock.advance(2 * minute);
        await scene.send();
      }),
  },
};

const codecs = ["none", "gzip", "snappy", "lz4", "zstd"];

function sizes(): Row["shows"] {
  let first = 0;
  return async (scene, index) => {
    const size = await storedBytes(scene);
    if (index === 0) first = size;
    return index === 0 || size >= first ? "larger" : "smaller";
  };
}

async function valuesOfFirstKey(scene: Scene): Promise<number> {
  await scene.it.clock.advance(5 * minute);
  return (await scene.records()).filter((record) => record.key?.toString() === "key-0").length;
}

describe("a topic's setting, changed while the topic is in use", () => {
  test.for(Object.entries(rows))("%s", async ([name, row]) => {
    await using it = await simulated({ config: sceneConfig });
    await using client = await it.client();
    const [[first] = [""]] = row.values;
    await createTopic(client, "orders", 1, { ...row.with, [name]: first });
    const scene = new Scene(it, client);
    const shown: unknown[] = [];
    for (const [index, [value]] of row.values.entries()) {
      if (index > 0) {
        const configs = [{ name, configOperation: 0, value }];
        const resources = [{ resourceType: 2, resourceName: "orders", configs }];
        const answer = await client.request(incrementalAlterConfigs, 1, { resources, validateOnly: false });
        expect(answer.responses).toMatchObject([{ errorCode: ErrorCode.NONE }]);
      }
      shown.push([value, await row.shows(scene, index)]);
    }
    expect(shown).toEqual(row.values);
    expect(it.fatal).toEqual([]);
  });

  test("retention by age and by size count together: what either of them does not keep goes", async () => {
    await using it = await simulated({ config: sceneConfig });
    await using client = await it.client();
    const settings = { "segment.bytes": String(mebibyte), "retention.ms": String(20 * minute) };
    await createTopic(client, "orders", 1, { ...settings, "retention.bytes": String(3 * mebibyte) });
    const scene = new Scene(it, client);
    // Two of these fill a segment: of five segments the oldest two are more than is kept.
    for (let count = 0; count < 10; count++) await scene.send({ sizeBytes: 450_000 });
    await it.clock.advance(minute);
    const bySize = await scene.start();
    expect(bySize).toBeGreaterThan(0);
    await it.clock.advance(5 * minute);
    expect(await scene.start()).toBe(bySize);
    await it.clock.advance(20 * minute);
    expect(await scene.start()).toBe(10);
  });

  /** They are about other replicas, and here a partition has one: `broker/src/replication/*.test.ts` shows them. */
  const shownElsewhere = [
    "follower.replication.throttled.replicas",
    "leader.replication.throttled.replicas",
    "min.insync.replicas",
  ];

  test("is in the table, whichever it is", () => {
    const effective = Object.entries(topicKeys).filter(([, key]) => !("inert" in key) && !("refused" in key));
    expect(Object.keys(rows).toSorted()).toEqual(
      effective
        .map(([name]) => name)
        .filter((name) => !shownElsewhere.includes(name))
        .toSorted(),
    );
  });
});
