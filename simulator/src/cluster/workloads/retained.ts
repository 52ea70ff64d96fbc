import { Doings, makeTopic, pause } from "./workload.ts";
import type { Bench, LastReading, ReadRecord, Workload } from "./workload.ts";
import { textOf } from "../story.ts";

const topic = "recent";
const retentionMs = 2_000;

interface Stored {
  readonly value: string;
  readonly atMs: number;
}

/** A topic whose records expire, and of which an operator deletes more: nothing else is missing, and what was deleted stays so. */
export class Retained implements Workload {
  readonly name = "retained";
  readonly #bench: Bench;
  readonly #doings: Doings;
  /** By partition and offset: what was acknowledged. */
  readonly #stored = new Map<number, Map<number, Stored>>();
  /** By partition: below the one all was deleted, as was answered; below the other it was asked for. */
  readonly #deleted = new Map<number, number>();
  readonly #asked = new Map<number, number>();
  #next = 0;

  constructor(bench: Bench) {
    this.#bench = bench;
    this.#doings = new Doings(bench.story);
  }

  get progress(): ReadonlyMap<string, number> {
    return this.#doings.progress;
  }

  prepare(): Promise<void> {
    return makeTopic(this.#bench, topic, { "retention.ms": `${retentionMs}`, "segment.ms": "500" });
  }

  start(): void {
    this.#doings.own("diarist", this.#write("diarist"));
    this.#doings.own("archivist", this.#delete("archivist"));
  }

  async stop(): Promise<void> {
    this.#doings.isStopping = true;
    await this.#doings.settled();
  }

  async #write(name: string): Promise<void> {
    const { prng, drawn } = this.#bench;
    const { cluster, clock } = this.#bench.client(name);
    while (!this.#doings.isStopping) {
      const producer = cluster.producer({ deliveryTimeoutMs: prng.pick([5_000, 60_000]) });
      const sent: Promise<void>[] = [];
      for (let left = prng.between(20, 100); left > 0 && !this.#doings.isStopping; left--) {
        const partition = prng.between(0, drawn.partitions - 1);
        const value = `r${this.#next++}`;
        const atMs = clock.now();
        const store = ({ offset }: { readonly offset: number }): void => {
          const ofPartition = this.#stored.get(partition) ?? new Map<number, Stored>();
          this.#stored.set(partition, ofPartition.set(offset, { value, atMs }));
          this.#doings.did(name);
        };
        const give = (error: unknown): void => this.#bench.story.tell(`${name} cannot send ${value}: ${textOf(error)}`);
        sent.push(producer.send(topic, { value, partition, timestamp: atMs }).then(store, give));
        await pause(clock, prng.between(2, 100));
      }
      await Promise.all(sent);
      await producer.close();
    }
    await cluster.close();
  }

  async #delete(name: string): Promise<void> {
    const { prng, drawn, story } = this.#bench;
    const { cluster, clock } = this.#bench.client(name);
    const { topics } = cluster.admin();
    while (!this.#doings.isStopping) {
      await pause(clock, prng.between(100, 1_500));
      const partition = prng.between(0, drawn.partitions - 1);
      const offsets = [...(this.#stored.get(partition)?.keys() ?? [])];
      if (offsets.length === 0) continue;
      const before = prng.pick(offsets);
      this.#asked.set(partition, Math.max(before, this.#asked.get(partition) ?? 0));
      try {
        const [outcome] = await topics.deleteRecords([{ topic, partition, before }], { timeoutMs: 8_000 });
        if (outcome?.ok !== true) {
          story.tell(`${name} cannot delete below ${before} of ${partition}: ${textOf(outcome?.error)}`);
          continue;
        }
        this.#deleted.set(partition, Math.max(before, this.#deleted.get(partition) ?? 0));
        story.tell(`${name} has deleted below ${before} of ${topic}-${partition}`);
        this.#doings.did(name);
      } catch (error) {
        story.tell(`${name} cannot delete below ${before} of ${partition}: ${textOf(error)}`);
      }
    }
    await cluster.close();
  }

  readonly lastReading: LastReading = {
    topic,
    check: (records, begunMs) => this.#check(records, begunMs),
  };

  #check(records: readonly ReadRecord[], begunMs: number): void {
    const { story, drawn } = this.#bench;
    for (let partition = 0; partition < drawn.partitions; partition++) {
      const found = new Map(records.filter((each) => each.partition === partition).map((each) => [each.offset, each]));
      const first = Math.min(...found.keys());
      const deleted = this.#deleted.get(partition) ?? 0;
      const name = `${topic}-${partition}`;
      if (first < deleted) story.complain(`${name} begins at ${first}, and all below ${deleted} was deleted`);
      for (const [offset, { value, atMs }] of this.#stored.get(partition) ?? []) {
        const present = found.get(offset);
        if (present !== undefined && present.value !== value)
          story.fault(`inconsistent offsets: ${name} has ${present.value} at ${offset}, ${value} was acknowledged`);
        // Brokers whose clocks are ahead let records expire sooner.
        const isOld =
          atMs + retentionMs <= begunMs + drawn.wallSkewMs + 1_000 || offset < (this.#asked.get(partition) ?? 0);
        const isBehindFirst = first <= offset;
        if (present === undefined && (isBehindFirst || !isOld))
          story.complain(`lost write: ${name} begins at ${first}, ${value} was acknowledged at ${offset}`);
      }
    }
  }
}
