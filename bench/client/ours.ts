import { Cluster, KafkaError } from "@millrace/client";
import type { Consumer, Producer } from "@millrace/client";
import type { BenchClient, Place, Until } from "./adapter.ts";
import { recordsPerCall } from "./plan.ts";
import type { RecordPool, SampleRecord, Tally } from "./samples.ts";

/**
 * Our own client with the settings that it comes with: acks from all replicas, and idempotent, which the others are not where
 * that slows them down.
 */
export class Ours implements BenchClient {
  readonly settings = {
    pipelined: "send, 10,000 in flight",
    sends: "send",
    awaited: "send",
    batches: "batches()",
    messages: "run() with a handler that returns at once",
    iterate: "records()",
  } as const;
  readonly #place: Place;
  readonly #cluster: Cluster;
  #producer: Producer | null = null;
  #consumer: Consumer | null = null;

  constructor(place: Place) {
    this.#place = place;
    this.#cluster = new Cluster({ brokers: [`127.0.0.1:${place.port}`], clientId: "bench" });
  }

  startProducer(): Promise<void> {
    this.#producer = this.#cluster.producer();
    return Promise.resolve();
  }

  async pipelined(pool: RecordPool, isOver: Until): Promise<number> {
    const producer = this.#sending;
    let count = 0;
    for (; !isOver(); count += recordsPerCall) {
      const records = Array.from({ length: recordsPerCall }, () => ({ key: pool.key(), value: pool.value() }));
      producer.enqueue(this.#place.topic, records);
      await producer.ready();
    }
    await producer.flush();
    return count;
  }

  send(record: SampleRecord): Promise<unknown> {
    return this.#sending.send(this.#place.topic, record);
  }

  sendDue(records: readonly SampleRecord[], onAcked: (count: number) => void): void {
    for (const record of records) void this.send(record).then(() => onAcked(1));
  }

  offer(record: SampleRecord): boolean {
    try {
      this.#sending.enqueue(this.#place.topic, record);
      return true;
    } catch (error) {
      if (error instanceof KafkaError && error.code === "BUFFER_EXHAUSTED") return false;
      throw error;
    }
  }

  async batches(tally: Tally): Promise<void> {
    for await (const batch of this.#reading.batches(this.#place.topic, { from: "earliest", countMax: 500 })) {
      for (const record of batch.records) {
        tally.add(record.key!, record.value!, record.offset, record.timestamp, record.headers.size);
      }
      if (tally.isFull) break;
    }
  }

  async messages(tally: Tally): Promise<void> {
    const over = new AbortController();
    await this.#reading.run(
      this.#place.topic,
      (record) => {
        tally.add(record.key!, record.value!, record.offset, record.timestamp, record.headers.size);
        if (tally.isFull) over.abort();
      },
      { from: "earliest", signal: over.signal },
    );
  }

  async iterate(tally: Tally): Promise<void> {
    for await (const record of this.#reading.records(this.#place.topic, { from: "earliest" })) {
      tally.add(record.key!, record.value!, record.offset, record.timestamp, record.headers.size);
      if (tally.isFull) break;
    }
  }

  follow(onValue: (value: Buffer) => void): Promise<void> {
    const running = this.#reading.run(this.#place.topic, (record) => onValue(record.value!), { from: "earliest" });
    running.catch(onFailure);
    return Promise.resolve();
  }

  handleEach(handler: () => Promise<void>): Promise<void> {
    this.#reading.run(this.#place.topic, handler, { from: "earliest" }).catch(onFailure);
    return Promise.resolve();
  }

  async close(): Promise<void> {
    await this.#producer?.close();
    await this.#consumer?.close();
    await this.#cluster.close();
  }

  get #sending(): Producer {
    if (this.#producer === null) throw new Error("startProducer comes first");
    return this.#producer;
  }

  get #reading(): Consumer {
    // As the others do, which cannot do without.
    return (this.#consumer ??= this.#cluster.consumer({ group: `${this.#place.topic}-ours-${process.pid}` }));
  }
}

function onFailure(error: unknown): void {
  // An unhandled one ends the process, and the bench with it.
  queueMicrotask(() => {
    throw error;
  });
}
