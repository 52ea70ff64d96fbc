import { readFileSync } from "node:fs";
import { Admin, compatibilityPartitioner, Consumer, Producer } from "@platformatic/kafka";
import type { Message, MessagesStream } from "@platformatic/kafka";
import type {
  ConsumeArgs,
  CreateTopicArgs,
  EndArgs,
  HelloAnswer,
  ProduceAnswer,
  ProduceArgs,
  TransactArgs,
} from "../contract.ts";
import type { ConsumedRecord, SampleRecord } from "../records.ts";
import { acksOf, deadline, RecordFile, recordLists, serve, type ClientCommands } from "./serve.ts";

class PlatformaticClient implements ClientCommands {
  readonly #options: {
    readonly clientId: string;
    readonly bootstrapBrokers: string[];
    readonly retries: number;
    readonly retryDelay: number;
  };
  readonly #members = new Map<string, Member>();
  readonly #transactional = new Map<string, Producer>();
  readonly #open = new Map<string, Transaction>();
  #producer: Producer | null = null;
  #roundRobin = 0;

  constructor(bootstrap: string) {
    this.#options = { clientId: "platformatic", bootstrapBrokers: [bootstrap], retries: 30, retryDelay: 300 };
  }

  hello(): HelloAnswer {
    const manifest = new URL("../package.json", import.meta.resolve("@platformatic/kafka"));
    const { version } = JSON.parse(readFileSync(manifest, "utf8")) as { readonly version: string };
    return { version, compressions: ["none", "gzip", "snappy", "lz4", "zstd"], cannot: [] };
  }

  async createTopic({ topic, partitions, configs = {} }: CreateTopicArgs): Promise<void> {
    const admin = new Admin(this.#options);
    const entries = Object.entries(configs).map(([name, value]) => ({ name, value }));
    await admin.createTopics({ topics: [topic], partitions, replicas: 1, configs: entries });
    await admin.close();
  }

  async produce(args: ProduceArgs, reportProgress: (acknowledged: number) => void): Promise<ProduceAnswer> {
    this.#producer ??= new Producer({ ...this.#options, idempotent: true, acks: -1 });
    const acks: [number, number][] = [];
    for await (const records of recordLists(args.file, 1_000)) {
      const messages = records.map((record) => ({
        topic: args.topic,
        partition: this.#partitionOf(record, args),
        timestamp: BigInt(record.timestamp),
        // A Map by Buffer, so that a header may come twice. Its types know no null, its encoder does.
        headers: new Map(record.headers.map(([name, value]) => [Buffer.from(name), value as Buffer])),
        ...(record.key === null ? {} : { key: record.key }),
        value: record.value as Buffer,
      }));
      const { offsets = [] } = await this.#producer.send({ messages, compression: args.compression });
      const bases = new Map(offsets.map(({ partition, offset }) => [partition, Number(offset)]));
      const partitions = messages.map(({ partition }) => partition);
      acks.push(...acksOf(partitions, bases));
      if (args.progressEvery !== undefined) reportProgress(acks.length);
    }
    return { acks };
  }

  /** Its default partitioner agrees with Java's only where the number of partitions is a power of two. */
  #partitionOf({ key }: SampleRecord, { topic, partitions }: ProduceArgs): number {
    if (key === null) return this.#roundRobin++ % partitions;
    return compatibilityPartitioner({ topic, key }, key) % partitions;
  }

  async consume(args: ConsumeArgs): Promise<void> {
    const member = this.#members.get(args.group) ?? (await this.#join(args));
    this.#members.set(args.group, member);
    try {
      await take(member, args);
    } finally {
      if (args.keep !== true) {
        this.#members.delete(args.group);
        await leave(member);
      }
    }
  }

  async #join({ group, topics, isolation }: Pick<ConsumeArgs, "group" | "topics" | "isolation">): Promise<Member> {
    const isolationLevel = isolation === "read_committed" ? 1 : 0;
    const reading = { autocommit: false, maxWaitTime: 200, isolationLevel };
    const consumer = new Consumer({ ...this.#options, ...reading, groupId: group });
    const stream = await consumer.consume({ topics: [...topics], mode: "committed", fallbackMode: "earliest" });
    return { consumer, stream, messages: stream[Symbol.asyncIterator]() };
  }

  async transact({ producer, transactionalId, take: wanted, topic, records, end }: TransactArgs): Promise<void> {
    const client =
      this.#transactional.get(producer) ??
      new Producer({ ...this.#options, transactionalId, idempotent: true, acks: -1 });
    this.#transactional.set(producer, client);
    // It asks for producer 0 with epoch 0 otherwise, and is then fenced where another instance has been.
    const transaction = await client.beginTransaction({ producerId: -1n, producerEpoch: -1 });
    this.#open.set(producer, transaction);
    const messages = records.map(([partition, value]) => ({ topic, partition, value: Buffer.from(value) }));
    await transaction.send({ messages });
    // The member is there when the transaction ends, as in a program that goes on.
    const member = wanted === undefined ? null : await this.#join({ group: wanted.group, topics: [wanted.topic] });
    if (member !== null) {
      await transaction.addConsumer(member.consumer);
      for (let taken = 0; taken < (wanted?.count ?? 0); taken++) {
        const next = await member.messages.next();
        if (next.done === true) throw new Error(`the stream ended after ${taken} records`);
        await transaction.addOffset(next.value);
      }
    }
    if (end !== "open") await this.end({ producer, end });
    if (member !== null) await leave(member);
  }

  async end({ producer, end }: EndArgs): Promise<void> {
    const transaction = this.#open.get(producer);
    this.#open.delete(producer);
    if (transaction === undefined) throw new Error(`${producer} has no open transaction`);
    await (end === "commit" ? transaction.commit() : transaction.abort());
  }

  async close(): Promise<void> {
    for (const member of this.#members.values()) await leave(member);
    for (const producer of this.#transactional.values()) await producer.close(true);
    await this.#producer?.close();
  }
}

type Transaction = NonNullable<Producer["transaction"]>;

interface Member {
  readonly consumer: Consumer;
  readonly stream: MessagesStream<Buffer, Buffer, Buffer, Buffer>;
  readonly messages: AsyncIterator<Message>;
}

async function take({ consumer, messages }: Member, { count, output, timeoutMs }: ConsumeArgs): Promise<void> {
  const file = new RecordFile(output);
  using limit = deadline(timeoutMs, () => `only ${file.count} of ${count} records came in time`);
  const epochs = new Map<number, number>();
  while (file.count < count) {
    const next = await Promise.race([messages.next(), limit.passed]);
    if (next.done === true) throw new Error(`the stream ended after ${file.count} of ${count} records`);
    epochs.set(next.value.partition, next.value.leaderEpoch);
    file.write(consumed(next.value));
  }
  await file.close();
  const offsets = file.nextOffsets.map(({ topic, partition, offset }) => ({
    topic,
    partition,
    offset: BigInt(offset),
    leaderEpoch: epochs.get(partition) ?? -1,
  }));
  await consumer.commit({ offsets });
}

async function leave({ consumer, stream }: Member): Promise<void> {
  await stream.close();
  await consumer.close();
}

function consumed(message: Message): ConsumedRecord {
  // An absent key or value is undefined here, though the types say Buffer.
  const orNull = (bytes: Buffer | undefined): Buffer | null => bytes ?? null;
  return {
    topic: message.topic,
    partition: message.partition,
    offset: Number(message.offset),
    timestamp: Number(message.timestamp),
    key: orNull(message.key),
    value: orNull(message.value),
    headers: message.headerEntries.map(([name, value]) => [name.toString(), orNull(value)]),
  };
}

await serve((bootstrap) => new PlatformaticClient(bootstrap));
