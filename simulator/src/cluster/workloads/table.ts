import { Doings, makeTopic, pause } from "./workload.ts";
import type { Bench, LastReading, ReadRecord, Workload } from "./workload.ts";
import { textOf } from "../story.ts";

const topic = "keys";
const writersCount = 2;
const keysOfALife = 3;

/** Of one key, which has one writer: its values are numbered. */
interface Promised {
  /** The highest number that was answered; 0: none. */
  acknowledged: number;
  sent: number;
  /** Of tombstones: what they delete, and they themselves, may be gone. */
  readonly tombstones: number[];
}

/** A compacted topic: of each key the last value that was acknowledged is there, or a later one. */
export class Table implements Workload {
  readonly name = "table";
  readonly #bench: Bench;
  readonly #doings: Doings;
  readonly #promised = new Map<string, Promised>();

  constructor(bench: Bench) {
    this.#bench = bench;
    this.#doings = new Doings(bench.story);
  }

  get progress(): ReadonlyMap<string, number> {
    return this.#doings.progress;
  }

  async prepare(): Promise<void> {
    const { prng, drawn } = this.#bench;
    const segmentMs = prng.pick([300, 1_000]);
    const tombstonesMs = prng.pick([100, 2_000, 86_400_000]);
    // A replica that is away for longer never hears of what was deleted meanwhile, in Kafka as well.
    const deleteRetentionMs = drawn.replicas === 1 ? tombstonesMs : 86_400_000;
    await makeTopic(this.#bench, topic, {
      "cleanup.policy": "compact",
      "segment.ms": `${segmentMs}`,
      "min.cleanable.dirty.ratio": "0.01",
      "delete.retention.ms": `${deleteRetentionMs}`,
    });
  }

  start(): void {
    for (let index = 0; index < writersCount; index++)
      this.#doings.own(`keeper${index}`, this.#write(`keeper${index}`));
  }

  async stop(): Promise<void> {
    this.#doings.isStopping = true;
    await this.#doings.settled();
  }

  /** A life ends with the first value whose end is unknown: it may still come, and nobody else writes to its keys. */
  async #write(name: string): Promise<void> {
    const { prng } = this.#bench;
    const { cluster, clock } = this.#bench.client(name);
    for (let life = 0; !this.#doings.isStopping; life++) {
      const producer = cluster.producer({ deliveryTimeoutMs: prng.pick([5_000, 60_000]), lingerMs: prng.pick([0, 5]) });
      const sent: Promise<void>[] = [];
      const unknown: string[] = [];
      for (let left = prng.between(20, 200); left > 0 && !this.#doings.isStopping; left--) {
        if (unknown.length > 0) break;
        const key = `${name}.${life}.${prng.between(1, keysOfALife)}`;
        const one = this.#send(name, key, producer).then((isOk) => void (isOk || unknown.push(key)));
        sent.push(one);
        await pause(clock, prng.between(2, 60));
        if (prng.chance(0.2)) await one;
      }
      await Promise.all(sent);
      await producer.close();
    }
    await cluster.close();
  }

  async #send(
    name: string,
    key: string,
    producer: ReturnType<ReturnType<Bench["client"]>["cluster"]["producer"]>,
  ): Promise<boolean> {
    const promised = this.#promised.get(key) ?? { acknowledged: 0, sent: 0, tombstones: [] };
    this.#promised.set(key, promised);
    const number = ++promised.sent;
    const isTombstone = this.#bench.prng.chance(0.1);
    if (isTombstone) promised.tombstones.push(number);
    try {
      await producer.send(topic, { key, value: isTombstone ? null : "x".repeat(50), headers: { number: `${number}` } });
      promised.acknowledged = Math.max(promised.acknowledged, number);
      this.#doings.did(name);
      return true;
    } catch (error) {
      this.#bench.story.tell(`${name} cannot set ${key} to ${number}: ${textOf(error)}`);
      return false;
    }
  }

  readonly lastReading: LastReading = {
    topic,
    check: (records) => this.#check(records),
  };

  #check(records: readonly ReadRecord[]): void {
    const { story } = this.#bench;
    const last = new Map<string, number>();
    for (const { key, number } of records) {
      const before = last.get(key) ?? 0;
      if (number <= before) story.complain(`${topic}: ${key} was ${before}, and then ${number}`);
      last.set(key, number);
    }
    for (const [key, { acknowledged, sent, tombstones }] of this.#promised) {
      const found = last.get(key) ?? 0;
      if (found > sent) story.fault(`${topic}: ${key} is ${found}, and nobody has sent that`);
      const isDeleted = found === 0 && tombstones.some((number) => number >= acknowledged);
      if (found < acknowledged && !isDeleted)
        story.complain(`lost write: ${topic} has ${found} for ${key}, ${acknowledged} was acknowledged`);
    }
  }
}
