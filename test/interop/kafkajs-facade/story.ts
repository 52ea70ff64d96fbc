import type kafkajs from "kafkajs";
import type { Consumer, Kafka, KafkaConfig, KafkaMessage } from "kafkajs";

/** KafkaJS, or what stands in for it: programs are written with KafkaJS's own types. */
export type Library = Omit<typeof kafkajs, "default">;

/** A program as one writes it for KafkaJS. What it gives must be the same with either library. */
export type Program = (library: Library, context: Context) => Promise<unknown>;

export interface Context {
  /** "host:port" */
  readonly broker: string;
  /** A name that no other run of a program has; in what the program gives it counts as the name alone. */
  name(text: string): string;
  /** A client without output. */
  kafka(config?: Partial<KafkaConfig>): Kafka;
}

/** Waits for as many items as a program expects. */
export class Collected<Item> {
  readonly items: Item[] = [];
  readonly #waiting: { readonly count: number; readonly resolve: () => void }[] = [];

  readonly push = (item: Item): void => {
    this.items.push(item);
    for (const { count, resolve } of this.#waiting) if (this.items.length >= count) resolve();
  };

  async count(count: number): Promise<readonly Item[]> {
    if (this.items.length < count) {
      await new Promise<void>((resolve) => this.#waiting.push({ count, resolve }));
    }
    return this.items;
  }
}

/** As a program would print it. */
export function shown({ key, value, headers, offset }: KafkaMessage): object {
  return {
    offset,
    key: text(key),
    value: text(value),
    headers: Object.fromEntries(
      Object.entries(headers ?? {}).map(([name, of]) => [name, Array.isArray(of) ? of.map(text) : text(of)]),
    ),
  };
}

export function text(bytes: Buffer | string | null | undefined): string | null {
  if (bytes === null || bytes === undefined) return null;
  return Buffer.isBuffer(bytes) ? bytes.toString() : `${bytes} (no bytes)`;
}

/** What of an error a program can tell it by. */
export async function errorOf(work: Promise<unknown> | (() => unknown)): Promise<object> {
  try {
    const value = await (typeof work === "function" ? work() : work);
    return { value: value ?? null };
  } catch (error) {
    const { name, type, code, retriable, cause } = error as Error & Record<string, unknown>;
    const inner = cause as (Error & Record<string, unknown>) | undefined;
    return {
      name,
      ...(type === undefined ? {} : { type }),
      ...(code === undefined ? {} : { code }),
      ...(retriable === undefined ? {} : { retriable }),
      ...(name === "KafkaJSNumberOfRetriesExceeded" ? { causeName: inner?.name, causeType: inner?.["type"] } : {}),
    };
  }
}

/** Makes topics, as programs that know their partitions do. */
export async function createTopics(kafka: Kafka, topics: Readonly<Record<string, number>>): Promise<void> {
  const admin = kafka.admin();
  await admin.connect();
  await admin.createTopics({
    topics: Object.entries(topics).map(([topic, numPartitions]) => ({ topic, numPartitions })),
  });
  // A leader that does not know of its partition yet makes KafkaJS send twice.
  for (const topic of Object.keys(topics)) {
    while ("name" in (await errorOf(admin.fetchTopicOffsets(topic))));
  }
  await admin.disconnect();
}

/** What a group has committed in a topic: `partition offset metadata`. */
export async function committed(kafka: Kafka, groupId: string, topic: string): Promise<readonly string[]> {
  const admin = kafka.admin();
  await admin.connect();
  const [found] = await admin.fetchOffsets({ groupId, topics: [topic] });
  await admin.disconnect();
  return (found?.partitions ?? [])
    .map(({ partition, offset, metadata }) => `${partition} ${offset} ${metadata}`)
    .sort();
}

/** A consumer that has been told to run and is a member. */
export async function joined(consumer: Consumer): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const remove = consumer.on(consumer.events.GROUP_JOIN, () => resolve());
  await promise;
  remove();
}

/** Numbered messages that go round the partitions. */
export function numbered(count: number, partitions = 1): { key: string; value: string; partition: number }[] {
  return Array.from({ length: count }, (_, at) => ({ key: `k${at}`, value: `v${at}`, partition: at % partitions }));
}
