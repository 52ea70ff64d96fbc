import { KafkaError } from "../errors.ts";
import type { Wire } from "../network/wire.ts";
import { Producer } from "../producer/producer.ts";
import type { HeaderSerdes } from "../serdes/headers.ts";
import type { TopicPartition } from "../topic-partition.ts";
import type { RawTopic, Topic } from "../topic.ts";
import { CommittedOffsets } from "./committed-offsets.ts";
import type { CommittedOffset } from "./committed-offsets.ts";
import type { ConsumedBatch } from "./consumed-batch.ts";
import type { ConsumedOffsets, NextOffset } from "./consumed-offsets.ts";
import type { ConsumedRecord } from "./consumed-record.ts";
import { Consumption } from "./consumption.ts";
import { deadLetterOf } from "./dead-letters.ts";
import { BatchStream } from "./delivery/batch-stream.ts";
import type { BatchOptions } from "./delivery/batch-stream.ts";
import { Decoder } from "./delivery/decoder.ts";
import type { ReadTopic } from "./delivery/decoder.ts";
import { RecordStream } from "./delivery/record-stream.ts";
import { Runner } from "./delivery/run.ts";
import type { Handler, RunOptions } from "./delivery/run.ts";
import { Listeners } from "./listeners.ts";
import type { Listener } from "./listeners.ts";
import { createMembership } from "./membership/create-membership.ts";
import { resolveOptions } from "./options.ts";
import type { BadRecords, ConsumerEvents, ConsumerOptions, ReadOptions, ResolvedOptions } from "./options.ts";
import type { StartAt } from "./positions.ts";

/** Of `bufferBytesMax`, what `run` may have before its handlers beside what is fetched ahead: one in so many. */
const aheadShare = 4;

/** What is read: a topic or its name, several of them, or all topics whose names match. */
export type Source = string | AnyTopic | RegExp | readonly (string | AnyTopic)[];
type AnyTopic = Topic<unknown, unknown, never, never, HeaderSerdes>;

/** What a record of a source is. */
export type RecordOf<From> =
  From extends Topic<infer Key, infer Value, never, never, infer Declared>
    ? ConsumedRecord<Key, Value, Declared>
    : From extends readonly (infer Each)[]
      ? RecordOf<Each>
      : ConsumedRecord;

/**
 * Reads topics: all of their partitions, or as a member of a group its share of them.
 *
 * It reads one source at a time; when that ends, another may begin.
 *
 * @example
 *     await using consumer = cluster.consumer({ group: "billing" });
 *     for await (const record of consumer.records(orders, { from: "earliest" })) await handle(record);
 */
export class Consumer implements AsyncDisposable {
  readonly #wire: Wire;
  readonly #options: ResolvedOptions;
  readonly #listeners: Listeners;
  #current: Consumption | null = null;
  #burying: Producer | null = null;
  #isClosed = false;

  constructor(wire: Wire, options: ConsumerOptions) {
    this.#wire = wire;
    this.#options = resolveOptions(options);
    this.#listeners = new Listeners(wire.logger);
  }

  // --- Reading ----------------------------------------------------------------------------------------------------------

  /**
   * Each record once, in order within its partition. Leaving the loop ends the reading and commits what is done: all but the
   * record in hand.
   *
   * Without a group it fails at the first step when the topic, a partition or all brokers are not there; later, and in a
   * group, it waits for them.
   */
  records<const From extends Source>(source: From, options: ReadOptions = {}): RecordStream<RecordOf<From>> {
    const { consumption, decoder } = this.#begin(source, options);
    return new RecordStream({ ...this.#reading(consumption, options), decoder });
  }

  /** As `records`, several at a time, each time of one partition. */
  batches<const From extends Source>(
    source: From,
    options: ReadOptions & BatchOptions = {},
  ): BatchStream<ConsumedBatch<RecordOf<From>>> {
    const { countMax = 10_000, waitMs = 0 } = options;
    checkAboveZero("countMax", countMax);
    if (!(waitMs >= 0)) throw new KafkaError("INVALID_CONFIG", `waitMs: ${waitMs} is no time in milliseconds`);
    const { consumption, decoder } = this.#begin(source, options);
    return new BatchStream({ ...this.#reading(consumption, options), decoder, batch: { countMax, waitMs } });
  }

  /**
   * Calls a handler for each record; a record is done when the handler has ended well. Settles when reading has ended (its
   * signal, `close`, `untilEnd`), and rejects with the error of a handler that no retry and no dead letters took care of.
   */
  async run<const From extends Source>(
    source: From,
    handler: Handler<RecordOf<From>>,
    options: RunOptions = {},
  ): Promise<void> {
    const { deadLetters, retry, signal } = options;
    for (const name of ["concurrency", "timeoutMs"] as const) checkAboveZero(name, options[name]);
    checkAboveZero("retry.attempts", retry?.attempts);
    const badRecords = options.badRecords ?? (deadLetters === undefined ? "fail" : { deadLetters });
    const { consumption, decoder } = this.#begin(source, { ...options, badRecords });
    const runner = new Runner({
      consumption,
      decoder,
      clock: this.#wire.world.clock,
      random: this.#wire.world.random,
      handler: handler as Handler<ConsumedRecord>,
      concurrency: options.concurrency ?? 1,
      order: options.order ?? "partition",
      aheadBytesMax: this.#options.bufferBytesMax / aheadShare,
      retry: { attempts: 1, backoffMsMin: 200, backoffMsMax: 10_000, ...retry },
      timeoutMs: options.timeoutMs ?? null,
      endTimeoutMs: this.#options.revokeTimeoutMs,
      bury: deadLetters === undefined ? null : async (record, error) => this.#bury(deadLetters, record, error),
      ...(signal === undefined ? {} : { signal }),
    });
    await runner.run();
  }

  // --- Where it stands --------------------------------------------------------------------------------------------------

  /** The partitions that are read at present. */
  assignment(): readonly TopicPartition[] {
    return this.#current?.owned() ?? [];
  }

  /** Nothing of it is handed out until `resume`. Not kept when the partition is assigned anew. */
  pause(...partitions: readonly TopicPartition[]): void {
    for (const partition of partitions) this.#reading0().pause(partition);
  }

  /** Hands out again what `pause` held back, from where it was. */
  resume(...partitions: readonly TopicPartition[]): void {
    for (const partition of partitions) this.#reading0().resume(partition);
  }

  /** Reads on from there; what is in work at present is not committed any more. */
  async seek(partition: TopicPartition, to: StartAt): Promise<void> {
    const consumption = this.#reading0();
    if (typeof to === "object" && "offset" in to) consumption.seek(partition, to.offset);
    else await consumption.seekTo(partition, to);
  }

  /** Up to where all is done; -1 while it is not known. */
  position(partition: TopicPartition): number {
    return this.#reading0().reading(partition).lease.position;
  }

  /** Records between the position and the end of the partition, as of the last answer; null before the first. */
  lag(partition: TopicPartition): number | null {
    const { highWatermark, lastStableOffset, lease } = this.#reading0().reading(partition);
    const isCommitted = this.#options.isolation === "read_committed";
    const end = isCommitted && lastStableOffset >= 0 ? lastStableOffset : highWatermark;
    return end < 0 || lease.position < 0 ? null : Math.max(0, end - lease.position);
  }

  // --- Commits ----------------------------------------------------------------------------------------------------------

  /** Commits what is done, or these offsets (each the next one to be read). Settles when the coordinator has them. */
  async commit(offsets?: readonly NextOffset[]): Promise<void> {
    await this.#reading0().commit(offsets);
  }

  /** What is done and not committed, for `transaction.commitOffsets(consumer)`. */
  consumedOffsets(): ConsumedOffsets {
    const consumption = this.#reading0();
    return { group: consumption.identity(), offsets: consumption.committable() };
  }

  /** What the group has committed, by "topic-partition"; partitions without an offset are missing. */
  async committed(partitions: readonly TopicPartition[]): Promise<ReadonlyMap<string, CommittedOffset>> {
    const { group } = this.#options;
    if (group === null) throw new KafkaError("NO_GROUP", "only a group has committed offsets: give the option group");
    const what = `offsets of group ${group}`;
    const offsets = new CommittedOffsets(this.#wire, group);
    const timeoutMs = this.#wire.requestTimeoutMs;
    return this.#wire.retrying({ what, timeoutMs }, async () => {
      const { found, failures } = await offsets.fetch(partitions, null);
      const [failure] = failures.values();
      if (failure !== undefined) throw failure;
      return found;
    });
  }

  // --- The rest ---------------------------------------------------------------------------------------------------------

  /** Calls the listener, and awaits it. Gives a function that ends it. */
  on<Name extends keyof ConsumerEvents>(name: Name, listener: Listener<ConsumerEvents[Name]>): () => void {
    return this.#listeners.on(name, listener);
  }

  /**
   * Ends reading: in a group work in flight is awaited (for revokeTimeoutMs at most), what is done committed, the group left.
   * A handler or the body of a loop must not await it: it waits for them.
   */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#current?.end();
    await this.#burying?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #begin(source: Source, options: ReadOptions): { readonly consumption: Consumption; readonly decoder: Decoder } {
    if (this.#isClosed) throw new KafkaError("CLOSED", "the consumer was closed");
    if (this.#current?.isEnded === false)
      throw new KafkaError("ALREADY_READING", "this consumer reads already: end that first, or take another consumer");
    const { topics, pattern } = resolveSource(source);
    if (pattern !== null && this.#options.group === null)
      throw new KafkaError("INVALID_CONFIG", "a pattern of topics needs a group: give the option group");
    if (this.#options.group !== null && (options.partitions !== undefined || options.untilEnd === true))
      throw new KafkaError("INVALID_CONFIG", "partitions and untilEnd are for consumers without a group");
    const consumption = new Consumption({
      wire: this.#wire,
      options: this.#options,
      read: options,
      subscription: { topics: topics.map((topic) => (typeof topic === "string" ? topic : topic.name)), pattern },
      listeners: this.#listeners,
      createMembership: (membership, owner) => createMembership(this.#wire, membership, owner),
    });
    this.#current = consumption;
    const typed = topics.filter((topic): topic is ReadTopic => typeof topic !== "string");
    return {
      consumption,
      decoder: new Decoder(typed, { onBad: this.#badRecords(options.badRecords ?? "fail"), pause: this.#pause }),
    };
  }

  #reading(
    consumption: Consumption,
    { signal, done = "next" }: ReadOptions,
  ): Omit<ConstructorParameters<typeof RecordStream>[0], "decoder"> {
    const { clock } = this.#wire.world;
    return { consumption, clock, isDoneByNext: done === "next", ...(signal === undefined ? {} : { signal }) };
  }

  #reading0(): Consumption {
    // Listeners of "revoked" ask and commit while it ends.
    if (this.#current !== null && !this.#current.isGone) return this.#current;
    throw new KafkaError("NOT_READING", "this consumer reads nothing at present: begin with records, batches or run");
  }

  readonly #pause = async (attempt: number): Promise<void> => {
    const { clock, random } = this.#wire.world;
    const { promise, resolve } = Promise.withResolvers<void>();
    const backoffMs = Math.min(1_000, 100 * 2 ** (attempt - 1));
    clock.schedule(backoffMs * (0.8 + 0.4 * random.fraction()), resolve, { isAwaited: true });
    await promise;
  };

  #badRecords(policy: BadRecords): (record: ConsumedRecord, error: KafkaError) => Promise<void> {
    return async (record, error) => {
      if (policy === "fail") throw error;
      if (policy === "skip") this.#wire.logger.warn("a record was left out", { error });
      else await this.#bury(policy.deadLetters, record, error);
    };
  }

  async #bury(to: string | RawTopic, record: ConsumedRecord<unknown, unknown>, error: unknown): Promise<void> {
    this.#burying ??= new Producer(this.#wire, {});
    await this.#burying.send(typeof to === "string" ? to : to.name, deadLetterOf(record, error));
  }
}

function resolveSource(source: Source): {
  readonly topics: readonly (string | ReadTopic)[];
  readonly pattern: RegExp | null;
} {
  if (source instanceof RegExp) return { topics: [], pattern: source };
  const topics = Array.isArray(source) ? (source as readonly (string | ReadTopic)[]) : [source as string | ReadTopic];
  if (topics.length === 0) throw new KafkaError("INVALID_CONFIG", "no topic was given");
  return { topics, pattern: null };
}

function checkAboveZero(option: string, value: number | undefined): void {
  if (value === undefined || value > 0) return;
  throw new KafkaError("INVALID_CONFIG", `${option}: ${value} is not above 0`);
}
