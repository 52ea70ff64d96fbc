import { Consumer, Producer } from "@platformatic/kafka";
import type { MessagesStream } from "@platformatic/kafka";
import type { BenchClient, Place, Until } from "./adapter.ts";
import { keepInFlight } from "./adapter.ts";
import { recordsPerCall } from "./plan.ts";
import type { RecordPool, SampleRecord, Tally } from "./samples.ts";

type Bytes = Buffer;
type Message = {
  readonly key: Buffer;
  readonly value: Buffer;
  readonly offset: bigint;
  readonly timestamp: bigint;
  readonly headers: ReadonlyMap<unknown, unknown>;
};

/** Calls of `recordsPerCall` records each, on one connection. */
const callsInFlight = 30;
/** By default it asks for 50 MiB, and then takes five times as long for a record: an answer is decoded in one go. */
const maxBytesPerPartition = 1_048_576;

/**
 * @platformatic/kafka. Not idempotent: that would let it have one request in flight, and here it may have several. Its
 * options are not checked at each call (`strict: false`, its default). Offsets are noted every five seconds, since with
 * `autocommit: false` it makes a function to commit for each record.
 */
export class Platformatic implements BenchClient {
  readonly settings = {
    pipelined: `send of ${recordsPerCall} records, ${callsInFlight} calls in flight, acks all, not idempotent`,
    sends: "send of one record, acks all, not idempotent",
    awaited: "send of one record, acks all, not idempotent",
    batches: 'no batches: stream.on("data"), autocommit 5 s, 1 MiB a partition',
    messages: 'stream.on("data"), autocommit 5 s, 1 MiB a partition',
    iterate: "for await of the stream, autocommit 5 s, 1 MiB a partition",
  } as const;
  readonly #place: Place;
  readonly #base: { readonly clientId: string; readonly bootstrapBrokers: string[] };
  #producer: Producer | null = null;
  #consumer: Consumer | null = null;

  constructor(place: Place) {
    this.#place = place;
    this.#base = { clientId: "bench", bootstrapBrokers: [`127.0.0.1:${place.port}`] };
  }

  startProducer(): Promise<void> {
    this.#producer = new Producer({ ...this.#base, acks: -1, maxInflights: callsInFlight, timeout: 60_000 });
    return Promise.resolve();
  }

  async pipelined(pool: RecordPool, isOver: Until): Promise<number> {
    const { topic } = this.#place;
    const calls = await keepInFlight(callsInFlight, isOver, () => {
      const messages = Array.from({ length: recordsPerCall }, () => ({ topic, key: pool.key(), value: pool.value() }));
      return this.#sending.send({ messages, acks: -1 });
    });
    return calls * recordsPerCall;
  }

  send({ key, value }: SampleRecord): Promise<unknown> {
    return this.#sending.send({ messages: [{ topic: this.#place.topic, key, value }], acks: -1 });
  }

  sendDue(records: readonly SampleRecord[], onAcked: (count: number) => void): void {
    const messages = records.map(({ key, value }) => ({ topic: this.#place.topic, key, value }));
    void this.#sending.send({ messages, acks: -1 }).then(() => onAcked(records.length));
  }

  offer(record: SampleRecord): boolean {
    // Its time may be over before the bench's is.
    this.send(record).catch(() => undefined);
    return true;
  }

  batches(tally: Tally): Promise<void> {
    return this.messages(tally);
  }

  async messages(tally: Tally): Promise<void> {
    const stream = await this.#stream();
    await new Promise<void>((resolve, reject) => {
      stream.on("error", reject);
      stream.on("data", ({ key, value, offset, timestamp, headers }: Message) => {
        tally.add(key, value, Number(offset), Number(timestamp), headers.size);
        if (tally.isFull) resolve();
      });
    });
    await stream.close();
  }

  async iterate(tally: Tally): Promise<void> {
    const stream = await this.#stream();
    for await (const { key, value, offset, timestamp, headers } of stream) {
      tally.add(key, value, Number(offset), Number(timestamp), headers.size);
      if (tally.isFull) break;
    }
  }

  async follow(onValue: (value: Buffer) => void): Promise<void> {
    const stream = await this.#stream();
    stream.on("data", ({ value }: Message) => onValue(value));
  }

  async handleEach(handler: () => Promise<void>): Promise<void> {
    const stream = await this.#stream();
    void (async () => {
      for await (const _message of stream) await handler();
    })();
  }

  async close(): Promise<void> {
    await this.#producer?.close();
    await this.#consumer?.close(true);
  }

  async #stream(): Promise<MessagesStream<Bytes, Bytes, Bytes, Bytes>> {
    this.#consumer = new Consumer({ ...this.#base, groupId: `${this.#place.topic}-platformatic-${process.pid}` });
    return await this.#consumer.consume({
      topics: [this.#place.topic],
      mode: "earliest",
      autocommit: 5_000,
      isolationLevel: 0,
      maxBytesPerPartition,
      highWaterMark: 10_000,
    });
  }

  get #sending(): Producer {
    if (this.#producer === null) throw new Error("startProducer comes first");
    return this.#producer;
  }
}
