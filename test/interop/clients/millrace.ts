import { readFileSync } from "node:fs";
import { Cluster } from "@millrace/client";
import type { ConsumedRecord, Consumer, NextOffset, Producer, RecordStream, Transaction } from "@millrace/client";
import type { CompressionName } from "kafka-protocol-ts/records/compression";
import { compressions } from "../contract.ts";
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
import { deadline, RecordFile, recordLists, serve, type ClientCommands } from "./serve.ts";

/** Our own client, as a foreign one is driven. */
class MillraceClient implements ClientCommands {
  readonly #cluster: Cluster;
  readonly #members = new Map<string, Member>();
  readonly #transactional = new Map<string, Producer>();
  readonly #open = new Map<string, OpenTransaction>();
  #producer: Producer | null = null;
  /** A producer is asked for the codec of each batch: one is enough for all. */
  #compression: Compression = "none";

  constructor(bootstrap: string) {
    this.#cluster = new Cluster({ brokers: [bootstrap], clientId: "millrace" });
  }

  hello(): HelloAnswer {
    const manifest = new URL("../../../client/package.json", import.meta.url);
    const { version } = JSON.parse(readFileSync(manifest, "utf8")) as { readonly version: string };
    return { version, compressions, cannot: [] };
  }

  async createTopic({ topic, partitions, configs = {} }: CreateTopicArgs): Promise<void> {
    await this.#cluster.admin().topics.create({ name: topic, partitions, config: configs });
  }

  async produce(args: ProduceArgs, reportProgress: (acknowledged: number) => void): Promise<ProduceAnswer> {
    this.#producer ??= this.#cluster.producer({ compression: (): CompressionName => this.#compression });
    this.#compression = args.compression;
    const acks: [number, number][] = [];
    for await (const records of recordLists(args.file, 1_000)) {
      for (const { partition, offset, error } of await this.#producer.sendAll(args.topic, records)) {
        if (error !== null) throw error;
        acks.push([partition, offset]);
      }
      if (args.progressEvery !== undefined) reportProgress(acks.length);
    }
    return { acks };
  }

  async consume(args: ConsumeArgs): Promise<void> {
    const member = this.#members.get(args.group) ?? this.#join(args);
    this.#members.set(args.group, member);
    try {
      await take(member, args);
    } finally {
      if (args.keep !== true) {
        this.#members.delete(args.group);
        await member.consumer.close();
      }
    }
  }

  #join({
    group,
    topics,
    isolation = "read_uncommitted",
    protocol = "classic",
  }: Pick<ConsumeArgs, "group" | "topics" | "isolation" | "protocol">): Member {
    const consumer = this.#cluster.consumer({ group, isolation, protocol, commit: "manual" });
    const records = consumer.records(topics, { from: "earliest", done: "called" });
    return { consumer, records };
  }

  async transact({ producer, transactionalId, take: wanted, topic, records, end }: TransactArgs): Promise<void> {
    const client = this.#transactional.get(producer) ?? this.#cluster.producer({ transactionalId });
    this.#transactional.set(producer, client);
    const open = OpenTransaction.begin(client);
    this.#open.set(producer, open);
    const transaction = await open.transaction;
    for (const [partition, value] of records) await transaction.send(topic, { partition, value });
    // The member is there when the transaction ends, as in a program that goes on.
    const member = wanted === undefined ? null : this.#join({ group: wanted.group, topics: [wanted.topic] });
    if (member !== null) {
      for (let taken = 0; taken < (wanted?.count ?? 0); taken++) (await next(member)).done();
      await transaction.commitOffsets(member.consumer);
    }
    if (end !== "open") await this.end({ producer, end });
    await member?.consumer.close();
  }

  async end({ producer, end }: EndArgs): Promise<void> {
    const open = this.#open.get(producer);
    this.#open.delete(producer);
    if (open === undefined) throw new Error(`${producer} has no open transaction`);
    await open.end(end);
  }

  async close(): Promise<void> {
    for (const { consumer } of this.#members.values()) await consumer.close();
    for (const producer of this.#transactional.values()) await producer.close();
    await this.#producer?.close();
    await this.#cluster.close();
  }
}

interface Member {
  readonly consumer: Consumer;
  readonly records: RecordStream<ConsumedRecord>;
}

async function next({ records }: Member): Promise<ConsumedRecord> {
  const { done, value } = await records.next();
  if (done === true) throw new Error("the reading ended");
  return value;
}

async function take(member: Member, { count, output, timeoutMs }: ConsumeArgs): Promise<void> {
  const file = new RecordFile(output);
  using limit = deadline(timeoutMs, () => `only ${file.count} of ${count} records came in time`);
  while (file.count < count) {
    const record = await Promise.race([next(member), limit.passed]);
    const { topic, partition, offset, timestamp, key, value } = record;
    file.write({ topic, partition, offset, timestamp, key, value, headers: [...record.headers] });
    // It is nobody's work any more, which leaving would wait for.
    record.done();
  }
  await file.close();
  const offsets = file.nextOffsets.map((each): NextOffset => ({ ...each, leaderEpoch: -1 }));
  await member.consumer.commit(offsets);
}

const aborted = new Error("aborted, as was asked for");

/** A transaction whose end is decided by a later command. */
class OpenTransaction {
  readonly transaction: Promise<Transaction>;
  readonly #decided = Promise.withResolvers<"commit" | "abort">();
  readonly #ended: Promise<void>;

  private constructor(producer: Producer) {
    const begun = Promise.withResolvers<Transaction>();
    this.transaction = begun.promise;
    this.#ended = producer.transaction(async (transaction) => {
      begun.resolve(transaction);
      if ((await this.#decided.promise) === "abort") throw aborted;
    });
    this.#ended.catch(begun.reject);
  }

  static begin(producer: Producer): OpenTransaction {
    return new OpenTransaction(producer);
  }

  async end(how: "commit" | "abort"): Promise<void> {
    this.#decided.resolve(how);
    try {
      await this.#ended;
    } catch (error) {
      if (how === "commit" || error !== aborted) throw error;
    }
  }
}

await serve((bootstrap) => new MillraceClient(bootstrap));
