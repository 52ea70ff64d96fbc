import kafkajs from "kafkajs";
import type { Consumer, Producer } from "kafkajs";
import type { BenchClient, Place, Until } from "./adapter.ts";
import { keepInFlight } from "./adapter.ts";
import { recordsPerCall } from "./plan.ts";
import type { RecordPool, SampleRecord, Tally } from "./samples.ts";

const callsInFlight = 5;
const { Kafka, logLevel, Partitioners } = kafkajs;

/** kafkajs. Not idempotent: that would let it have one request in flight. It commits nothing, which costs it the least. */
export class Kafkajs implements BenchClient {
  readonly settings = {
    pipelined: `sendBatch of ${recordsPerCall} records, ${callsInFlight} calls in flight, acks all, not idempotent`,
    sends: "send of one record, acks all, not idempotent",
    awaited: "send of one record, acks all, not idempotent",
    batches: "eachBatch, three partitions at a time, autoCommit off",
    messages: "eachMessage, three partitions at a time, autoCommit off",
    iterate: null,
  } as const;
  readonly #place: Place;
  readonly #kafka: InstanceType<typeof Kafka>;
  #producer: Producer | null = null;
  #consumer: Consumer | null = null;

  constructor(place: Place) {
    this.#place = place;
    this.#kafka = new Kafka({
      clientId: "bench",
      brokers: [`127.0.0.1:${place.port}`],
      logLevel: logLevel.NOTHING,
      requestTimeout: 60_000,
    });
  }

  async startProducer(): Promise<void> {
    this.#producer = this.#kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
    await this.#producer.connect();
  }

  async pipelined(pool: RecordPool, isOver: Until): Promise<number> {
    const { topic } = this.#place;
    const calls = await keepInFlight(callsInFlight, isOver, () => {
      const messages = Array.from({ length: recordsPerCall }, () => ({ key: pool.key(), value: pool.value() }));
      return this.#sending.sendBatch({ acks: -1, topicMessages: [{ topic, messages }] });
    });
    return calls * recordsPerCall;
  }

  send(record: SampleRecord): Promise<unknown> {
    return this.#sending.send({ topic: this.#place.topic, acks: -1, messages: [record] });
  }

  sendDue(records: readonly SampleRecord[], onAcked: (count: number) => void): void {
    const sent = this.#sending.send({ topic: this.#place.topic, acks: -1, messages: [...records] });
    void sent.then(() => onAcked(records.length));
  }

  offer(record: SampleRecord): boolean {
    // Its time may be over before the bench's is.
    this.send(record).catch(() => undefined);
    return true;
  }

  async batches(tally: Tally): Promise<void> {
    const consumer = await this.#subscribed();
    const { promise, resolve } = Promise.withResolvers<void>();
    await consumer.run({
      autoCommit: false,
      partitionsConsumedConcurrently: this.#place.partitions,
      eachBatch: ({ batch }) => {
        for (const { key, value, offset, timestamp, headers } of batch.messages) {
          tally.add(key!, value!, Number(offset), Number(timestamp), headersIn(headers));
        }
        if (tally.isFull) resolve();
        return Promise.resolve();
      },
    });
    await promise;
  }

  async messages(tally: Tally): Promise<void> {
    const consumer = await this.#subscribed();
    const { promise, resolve } = Promise.withResolvers<void>();
    await consumer.run({
      autoCommit: false,
      partitionsConsumedConcurrently: this.#place.partitions,
      eachMessage: ({ message: { key, value, offset, timestamp, headers } }) => {
        tally.add(key!, value!, Number(offset), Number(timestamp), headersIn(headers));
        if (tally.isFull) resolve();
        return Promise.resolve();
      },
    });
    await promise;
  }

  iterate(): Promise<void> {
    throw new Error("kafkajs has no iterator");
  }

  async follow(onValue: (value: Buffer) => void): Promise<void> {
    const consumer = await this.#subscribed();
    await consumer.run({
      autoCommit: false,
      partitionsConsumedConcurrently: this.#place.partitions,
      eachBatch: ({ batch }) => {
        for (const { value } of batch.messages) onValue(value!);
        return Promise.resolve();
      },
    });
  }

  async handleEach(handler: () => Promise<void>): Promise<void> {
    const consumer = await this.#subscribed();
    await consumer.run({ autoCommit: false, eachMessage: handler });
  }

  async close(): Promise<void> {
    await this.#producer?.disconnect();
    await this.#consumer?.disconnect();
  }

  async #subscribed(): Promise<Consumer> {
    const { topic } = this.#place;
    this.#consumer = this.#kafka.consumer({ groupId: `${topic}-kafkajs-${process.pid}`, readUncommitted: true });
    await this.#consumer.connect();
    await this.#consumer.subscribe({ topics: [topic], fromBeginning: true });
    return this.#consumer;
  }

  get #sending(): Producer {
    if (this.#producer === null) throw new Error("startProducer comes first");
    return this.#producer;
  }
}

/** It has an object of them, where a client should not ask for an array of the names only to count them. */
function headersIn(headers: object | undefined): number {
  let count = 0;
  for (const _name in headers) count++;
  return count;
}
