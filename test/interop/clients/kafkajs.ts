import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { lz4Compress, lz4Decompress, snappyCompress, snappyDecompress } from "@platformatic/wasm-utils";
import kafkajs from "kafkajs";
import type {
  Consumer,
  EachBatchPayload,
  IHeaders,
  Kafka,
  KafkaMessage,
  Message,
  Producer,
  TopicPartitionOffsetAndMetadata,
  Transaction,
} from "kafkajs";
import type {
  Compression,
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

const { CompressionCodecs, CompressionTypes, Partitioners } = kafkajs;

const compressionTypes: Readonly<Record<Compression, (typeof CompressionTypes)[keyof typeof CompressionTypes]>> = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
};

// kafkajs brings gzip only, and its own packages for the others compile C at install.
const codec = (compress: (bytes: Buffer) => Buffer, decompress: (bytes: Buffer) => Buffer) => () => ({
  compress: (encoder: { readonly buffer: Buffer }) => Promise.resolve(compress(encoder.buffer)),
  decompress: (bytes: Buffer) => Promise.resolve(decompress(bytes)),
});
const codecs = CompressionCodecs as Record<number, unknown>;
codecs[CompressionTypes.Snappy] = codec(snappyCompress, decompressSnappy);
codecs[CompressionTypes.LZ4] = codec(lz4Compress, lz4Decompress);
codecs[CompressionTypes.ZSTD] = codec(zstdCompressSync, zstdDecompressSync);

/** Java's producer frames snappy in blocks, after a header of its own; others send one raw block. */
function decompressSnappy(bytes: Buffer): Buffer {
  const magic = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0]);
  if (!bytes.subarray(0, 8).equals(magic)) return snappyDecompress(bytes);
  const blocks: Buffer[] = [];
  for (let at = 16; at < bytes.length;) {
    const size = bytes.readInt32BE(at);
    blocks.push(snappyDecompress(bytes.subarray(at + 4, at + 4 + size)));
    at += 4 + size;
  }
  return Buffer.concat(blocks);
}

class KafkajsClient implements ClientCommands {
  readonly #kafka: Kafka;
  readonly #placements = new Map<Message, number>();
  readonly #members = new Map<string, Member>();
  readonly #transactional = new Map<string, Producer>();
  readonly #open = new Map<string, Transaction>();
  #producer: Producer | null = null;

  constructor(bootstrap: string) {
    this.#kafka = new kafkajs.Kafka({
      clientId: "kafkajs",
      brokers: [bootstrap],
      logLevel: kafkajs.logLevel.WARN,
      retry: { retries: 20, initialRetryTime: 100, maxRetryTime: 1_000 },
    });
  }

  hello(): HelloAnswer {
    const manifest = createRequire(import.meta.url).resolve("kafkajs/package.json");
    const { version } = JSON.parse(readFileSync(manifest, "utf8")) as { readonly version: string };
    // It asks a null for its length (2.2.4: sizeOfHeaders).
    return { version, compressions: ["none", "gzip", "snappy", "lz4", "zstd"], cannot: ["null-header-value"] };
  }

  async createTopic({ topic, partitions, configs = {} }: CreateTopicArgs): Promise<void> {
    const admin = this.#kafka.admin();
    await admin.connect();
    const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }));
    await admin.createTopics({ topics: [{ topic, numPartitions: partitions, replicationFactor: 1, configEntries }] });
    await admin.disconnect();
  }

  async produce(args: ProduceArgs, reportProgress: (acknowledged: number) => void): Promise<ProduceAnswer> {
    this.#producer ??= await this.#connectProducer();
    const acks: [number, number][] = [];
    for await (const records of recordLists(args.file, 1_000)) {
      const messages = records.map(messageOf);
      this.#placements.clear();
      const compression = compressionTypes[args.compression];
      const answer = await this.#producer.send({ topic: args.topic, messages, compression, acks: -1 });
      const bases = new Map(answer.map(({ partition, baseOffset }) => [partition, Number(baseOffset)]));
      const partitions = messages.map((message) => this.#placements.get(message) ?? -1);
      acks.push(...acksOf(partitions, bases));
      if (args.progressEvery !== undefined) reportProgress(acks.length);
    }
    return { acks };
  }

  /** The answer of `send` names base offsets only, so the partitioner notes where it puts each message. */
  async #connectProducer(): Promise<Producer> {
    const createPartitioner: typeof Partitioners.DefaultPartitioner = () => {
      const choose = Partitioners.DefaultPartitioner();
      return (args) => {
        const partition = choose(args);
        this.#placements.set(args.message, partition);
        return partition;
      };
    };
    // Otherwise an answer that is lost with the broker leads to a second writing.
    const producer = this.#kafka.producer({ createPartitioner, idempotent: true, maxInFlightRequests: 1 });
    await producer.connect();
    return producer;
  }

  async consume(args: ConsumeArgs): Promise<void> {
    const member = this.#members.get(args.group) ?? (await this.#join(args));
    this.#members.set(args.group, member);
    try {
      await member.take(args);
    } finally {
      if (args.keep !== true) {
        this.#members.delete(args.group);
        await member.leave();
      }
    }
  }

  async #join({ group, topics, isolation }: Pick<ConsumeArgs, "group" | "topics" | "isolation">): Promise<Member> {
    const readUncommitted = isolation === "read_uncommitted";
    const options = { groupId: group, maxWaitTimeInMs: 200, sessionTimeout: 6_000, readUncommitted };
    const consumer = this.#kafka.consumer(options);
    await consumer.connect();
    await consumer.subscribe({ topics: [...topics], fromBeginning: true });
    return new Member(consumer, topics);
  }

  async transact({ producer, transactionalId, take, topic, records, end }: TransactArgs): Promise<void> {
    const client = this.#transactional.get(producer) ?? (await this.#connectTransactional(transactionalId));
    this.#transactional.set(producer, client);
    const transaction = await client.transaction();
    this.#open.set(producer, transaction);
    await transaction.send({ topic, messages: records.map(([partition, value]) => ({ partition, value })) });
    // The member is there when the transaction ends, as in a program that goes on.
    const member = take === undefined ? null : await this.#join({ group: take.group, topics: [take.topic] });
    if (member !== null && take !== undefined) {
      await transaction.sendOffsets({ consumerGroupId: take.group, topics: await member.takeOnly(take.count) });
    }
    if (end !== "open") await this.end({ producer, end });
    await member?.leave();
  }

  async #connectTransactional(transactionalId: string): Promise<Producer> {
    const producer = this.#kafka.producer({ transactionalId, idempotent: true, maxInFlightRequests: 1 });
    await producer.connect();
    return producer;
  }

  async end({ producer, end }: EndArgs): Promise<void> {
    const transaction = this.#open.get(producer);
    this.#open.delete(producer);
    if (transaction === undefined) throw new Error(`${producer} has no open transaction`);
    await (end === "commit" ? transaction.commit() : transaction.abort());
  }

  async close(): Promise<void> {
    for (const member of this.#members.values()) await member.leave();
    for (const producer of this.#transactional.values()) await producer.disconnect();
    await this.#producer?.disconnect();
  }
}

/** A consumer of kafkajs is called with batches; this takes just as many messages as are wanted, then pauses. */
class Member {
  readonly #consumer: Consumer;
  readonly #topics: readonly { readonly topic: string }[];
  #isRunning = false;
  #wanted = 0;
  #take: (record: ConsumedRecord) => void = () => undefined;
  #done: () => void = () => undefined;

  constructor(consumer: Consumer, topics: readonly string[]) {
    this.#consumer = consumer;
    this.#topics = topics.map((topic) => ({ topic }));
  }

  async take({ count, output, timeoutMs }: ConsumeArgs): Promise<void> {
    const file = new RecordFile(output);
    const { promise: done, resolve } = Promise.withResolvers<void>();
    this.#take = (record) => file.write(record);
    this.#done = resolve;
    this.#wanted = count;
    using limit = deadline(timeoutMs, () => `only ${file.count} of ${count} records came in time`);
    if (this.#isRunning) this.#consumer.resume([...this.#topics]);
    else await this.#run();
    await Promise.race([done, limit.passed]);
    await file.close();
    await this.#consumer.commitOffsets(file.nextOffsets.map(offsetText));
  }

  /** Takes records without committing them; the answer is where to go on. */
  async takeOnly(count: number): Promise<{ topic: string; partitions: { partition: number; offset: string }[] }[]> {
    const next = new Map<string, Map<number, string>>();
    const { promise: done, resolve } = Promise.withResolvers<void>();
    this.#take = ({ topic, partition, offset }) => {
      const offsets = next.get(topic) ?? new Map<number, string>();
      next.set(topic, offsets.set(partition, `${offset + 1}`));
    };
    this.#done = resolve;
    this.#wanted = count;
    await this.#run();
    await done;
    return [...next].map(([topic, offsets]) => ({
      topic,
      partitions: [...offsets].map(([partition, offset]) => ({ partition, offset })),
    }));
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    const eachBatch = (payload: EachBatchPayload): Promise<void> => {
      const { topic, partition, messages } = payload.batch;
      for (const message of messages.slice(0, this.#wanted)) {
        this.#take(consumed(topic, partition, message));
        payload.resolveOffset(message.offset);
        this.#wanted -= 1;
      }
      // What is left of the batch is fetched again: its offsets are not resolved.
      if (this.#wanted === 0) {
        this.#consumer.pause([...this.#topics]);
        this.#done();
      }
      return Promise.resolve();
    };
    await this.#consumer.run({ autoCommit: false, eachBatchAutoResolve: false, eachBatch });
  }

  async leave(): Promise<void> {
    await this.#consumer.disconnect();
  }
}

function offsetText({ topic, partition, offset }: RecordFile["nextOffsets"][number]): TopicPartitionOffsetAndMetadata {
  return { topic, partition, offset: `${offset}` };
}

function messageOf({ key, value, headers, timestamp }: SampleRecord): Message {
  const named: Record<string, Buffer | Buffer[]> = {};
  for (const [name, bytes] of headers) {
    const header = bytes ?? Buffer.alloc(0);
    const known = named[name];
    named[name] = known === undefined ? header : [known].flat().concat(header);
  }
  return { key, value, headers: named, timestamp: `${timestamp}` };
}

function consumed(topic: string, partition: number, message: KafkaMessage): ConsumedRecord {
  return {
    topic,
    partition,
    offset: Number(message.offset),
    timestamp: Number(message.timestamp),
    key: message.key,
    value: message.value,
    headers: Object.entries(message.headers ?? {}).flatMap(([name, value]) => headersOf(name, value)),
  };
}

/** A header that came twice is a list; a null value is null, though its type does not say so. */
function headersOf(name: string, value: IHeaders[string]): [string, Buffer | null][] {
  const values: readonly (Buffer | string | null | undefined)[] = Array.isArray(value) ? value : [value];
  return values.map((bytes) => [name, bytes === null || bytes === undefined ? null : Buffer.from(bytes)]);
}

await serve((bootstrap) => new KafkajsClient(bootstrap));
