import { InlineWorkers } from "@millrace/base/inline-workers";
import type { Clock, Disk, World } from "@millrace/base/world";
import { startBroker } from "@millrace/broker/broker";
import type { Broker } from "@millrace/broker/broker";
import { SeededRandom } from "@millrace/simulator/seeded-random";
import { SimulatedNetwork } from "@millrace/simulator/simulated-network";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { errorName, ErrorCode } from "kafka-protocol-ts/errors";
import { produce } from "kafka-protocol-ts/messages/00-produce";
import { offsetFetch } from "kafka-protocol-ts/messages/09-offset-fetch";
import { findCoordinator } from "kafka-protocol-ts/messages/10-find-coordinator";
import { initProducerId } from "kafka-protocol-ts/messages/22-init-producer-id";
import { describeConfigs } from "kafka-protocol-ts/messages/32-describe-configs";
import type { RecordBatchView } from "kafka-protocol-ts/records/batch";
import { encodeBatch } from "kafka-protocol-ts/records/record";
import { describeTopics, offsetAt, readBatches } from "../calls.ts";
import { fieldsText, LogBook } from "../fixture.ts";
import { RawClient } from "../raw-client.ts";
import { batchNumberOf, valuePrefix } from "./batch-numbers.ts";
import type { Expectation, ExpectedPartition } from "./expectation.ts";
import type { Mark, SentBatch } from "./marks.ts";
import { inspectTransactions } from "./transactions.ts";

/**
 * What is wrong with what a broker found after a crash. `lost` names everything that was promised and is not there; the
 * other classes are those of a checker of logs.
 */
export interface Violation {
  readonly kind:
    | "lost write"
    | "inconsistent offsets"
    | "duplicate"
    | "reordered"
    | "invented"
    | "log start went back"
    | "lost topic"
    | "undead topic"
    | "lost commit"
    | "lost setting"
    | "repeated producer id"
    | "torn transaction"
    | "aborted read"
    | "hanging transaction"
    | "offline"
    | "does not start"
    | "does not append";
  readonly what: string;
}

export interface InspectionOptions {
  readonly disk: Disk;
  readonly root: string;
  readonly config: Readonly<Record<string, string>>;
  readonly expected: Expectation;
  readonly seed: number;
  /** Wall-clock time of the restart. */
  readonly startMs: number;
  /** Numbers for batches of its own: from here on. */
  readonly firstBatch: number;
  /** What the inspection itself does and is told: a second crash must not undo that either. */
  mark?(mark: Mark): void;
}

/** Starts the real broker on what a crash has left, and asks it, as clients do, for everything that they were promised. */
export async function inspect(options: InspectionOptions): Promise<readonly Violation[]> {
  const clock = new VirtualClock({ startMs: options.startMs });
  const world: World = {
    clock,
    disk: options.disk,
    network: new SimulatedNetwork({ clock }),
    random: new SeededRandom(options.seed),
    workers: new InlineWorkers(),
  };
  let isDone = false;
  const inspection = inspectWith(options, world).finally(() => {
    isDone = true;
  });
  inspection.catch(() => {});
  await clock.runUntil(() => isDone, { withinMs: 3_600_000 });
  return inspection;
}

async function inspectWith(options: InspectionOptions, world: World): Promise<readonly Violation[]> {
  const log = new LogBook();
  let broker: Broker;
  try {
    broker = await startBroker({ config: options.config, world, logger: log });
  } catch (error) {
    return [{ kind: "does not start", what: String(error) }];
  }
  try {
    await using client = await RawClient.connect(broker.address, { network: world.network });
    const inspector = new Inspector(options, client, world.clock);
    await inspector.run();
    const failures = log.lines.filter(({ level }) => level === "error");
    return [
      ...failures.map(({ message, fields }): Violation => ({
        kind: "offline",
        what: `${message} ${fieldsText(fields)}`,
      })),
      ...inspector.violations,
    ];
  } finally {
    await broker.stop();
  }
}

class Inspector {
  readonly violations: Violation[] = [];
  readonly #options: InspectionOptions;
  readonly #expected: Expectation;
  readonly #client: RawClient;
  readonly #clock: Clock;
  #nextBatch: number;

  constructor(options: InspectionOptions, client: RawClient, clock: Clock) {
    this.#clock = clock;
    this.#options = options;
    this.#expected = options.expected;
    this.#client = client;
    this.#nextBatch = options.firstBatch;
  }

  async run(): Promise<void> {
    for (const partition of await this.#topics()) await this.#partition(partition);
    await this.#commits();
    await this.#settings();
    await this.#producerId();
    const transactions = {
      expectation: this.#expected,
      areProducersAlive: this.#options.seed % 2 === 0,
      mark: (mark: Mark) => this.#mark(mark),
    };
    this.violations.push(...(await inspectTransactions(this.#client, this.#clock, transactions)));
  }

  #found(kind: Violation["kind"], what: string): void {
    this.violations.push({ kind, what });
  }

  #mark(mark: Mark): void {
    this.#options.mark?.(mark);
  }

  // --- Topics --------------------------------------------------------------------------------------------------------

  /** The partitions that can be asked for: those of topics whose creation was answered and that nobody wanted gone. */
  async #topics(): Promise<ExpectedPartition[]> {
    const { topics, doomed, deleted, wanted, partitions } = this.#expected;
    const present = new Map((await describeTopics(this.#client, null)).map((topic) => [topic.topicId, topic]));
    for (const { id, name, partitions: count } of topics.values()) {
      const found = present.get(id);
      if (deleted.has(id) && found !== undefined) this.#found("undead topic", name);
      if (doomed.has(id)) continue;
      if (found === undefined) {
        this.#found("lost topic", name);
        const promised = [...partitions.values()].filter(({ topic }) => topic.id === id);
        if (promised.some((partition) => partition.promised.size > 0)) this.#found("lost write", `all of ${name}`);
      } else if (found.errorCode !== ErrorCode.NONE || found.partitions.length !== count) {
        this.#found("lost topic", `${name}: ${errorName(found.errorCode)}, ${found.partitions.length} partitions`);
      }
      for (const { partitionIndex, errorCode } of found?.partitions ?? []) {
        if (errorCode !== ErrorCode.NONE) this.#found("offline", `${name}-${partitionIndex}: ${errorName(errorCode)}`);
      }
    }
    for (const { name, isInternal } of present.values()) {
      if (!isInternal && !wanted.has(name ?? "")) this.#found("invented", `topic ${name}`);
    }
    return [...partitions.values()].filter(({ topic }) => !doomed.has(topic.id) && present.has(topic.id));
  }

  // --- Logs ----------------------------------------------------------------------------------------------------------

  async #partition(expected: ExpectedPartition): Promise<void> {
    const at = { topic: expected.topic.name, partition: expected.partition };
    const name = `${at.topic}-${at.partition}`;
    const [start, end] = [await offsetAt(this.#client, at, -2), await offsetAt(this.#client, at, -1)];
    if (start.errorCode !== ErrorCode.NONE || end.errorCode !== ErrorCode.NONE) {
      return this.#found("offline", `${name}: ${errorName(start.errorCode)}`);
    }
    let batches: RecordBatchView[];
    try {
      batches = await readBatches(this.#client, at, start.offset);
    } catch (error) {
      return this.#found("offline", `${name} cannot be read: ${String(error)}`);
    }
    this.#logStart(name, expected, start.offset, batches);
    this.#promises(name, expected, start.offset, batches);
    const found = this.#contents(name, expected, batches);
    const last = batches.at(-1);
    if (last !== undefined && last.lastOffset + 1 !== end.offset) {
      this.#found("lost write", `${name} ends at ${end.offset}, but its last batch at ${last.lastOffset}`);
    }
    const endOffset = await this.#appendTo(name, expected, end.offset);
    await this.#resend(name, expected, found, endOffset);
  }

  #logStart(name: string, expected: ExpectedPartition, start: number, batches: readonly RecordBatchView[]): void {
    const { startOffset, startOffsetMax, topic } = expected;
    if (start < startOffset) this.#found("log start went back", `${name}: from ${startOffset} to ${start}`);
    if (start <= startOffsetMax) return;
    const keptBytes = batches.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    const isRetention = topic.retentionBytes !== null && keptBytes >= topic.retentionBytes;
    if (!isRetention) this.#found("lost write", `${name} starts at ${start}; ${startOffsetMax} was asked for at most`);
  }

  /** Everything that was acknowledged is at its offset, with its bytes. */
  #promises(name: string, expected: ExpectedPartition, start: number, batches: readonly RecordBatchView[]): void {
    const byOffset = new Map(batches.map((batch) => [batch.baseOffset, batch]));
    for (const [baseOffset, batch] of expected.promised) {
      if (baseOffset + batch.recordsCount <= start) continue;
      const found = byOffset.get(baseOffset);
      if (found === undefined) this.#found("lost write", `${name} offset ${baseOffset}: batch ${batch.number}`);
      else if (!isSame(found, batch, expected.topic.isStamped)) {
        const other = batchNumberOf(found);
        this.#found("inconsistent offsets", `${name} offset ${baseOffset}: batch ${other} for ${batch.number}`);
      }
    }
  }

  /** Nothing is there twice, out of order, or without having been sent; offsets follow one another without a gap. */
  #contents(
    name: string,
    expected: ExpectedPartition,
    batches: readonly RecordBatchView[],
  ): ReadonlyMap<number, RecordBatchView> {
    const found = new Map<number, RecordBatchView>();
    const lastOf = new Map<string, number>();
    let nextOffset: number | null = null;
    for (const view of batches) {
      if (nextOffset !== null && view.baseOffset !== nextOffset) {
        this.#found("lost write", `${name}: ${view.baseOffset} follows ${nextOffset}`);
      }
      nextOffset = view.lastOffset + 1;
      const number = batchNumberOf(view);
      const batch = expected.sent.get(number ?? -1);
      if (batch === undefined || !isSame(view, batch, expected.topic.isStamped)) {
        this.#found("invented", `${name} offset ${view.baseOffset}: batch ${number}`);
        continue;
      }
      if (found.has(batch.number)) this.#found("duplicate", `${name} offset ${view.baseOffset}: batch ${number}`);
      found.set(batch.number, view);
      const before = lastOf.get(batch.producer) ?? 0;
      if (batch.number < before) {
        this.#found(
          "reordered",
          `${name} offset ${view.baseOffset}: batch ${number} of ${batch.producer} after ${before}`,
        );
      }
      lastOf.set(batch.producer, batch.number);
      this.#mark({ kind: "seen", batch, baseOffset: view.baseOffset });
    }
    return found;
  }

  /** The log takes appends, and goes on where it ended. */
  async #appendTo(name: string, expected: ExpectedPartition, endOffset: number): Promise<number> {
    const number = this.#nextBatch++;
    const values = [`${valuePrefix(number)}0:${"after".repeat(200)}`, `${valuePrefix(number)}1:the crash`];
    const records = values.map((value) => ({ value: Buffer.from(value), timestamp: this.#options.startMs }));
    const bytes = encodeBatch({ records });
    const { topic, partition } = expected;
    const batch: SentBatch = {
      ...{ number, topic: topic.name, topicId: topic.id, partition, bytes, producer: `inspector-${number}` },
      ...{ recordsCount: 2, producerId: -1, baseSequence: -1 },
    };
    const { errorCode, baseOffset } = await this.#produce(batch);
    if (errorCode === ErrorCode.NONE && baseOffset === endOffset) return endOffset + 2;
    this.#found("does not append", `${name} at ${endOffset}: ${errorName(errorCode)} offset ${baseOffset}`);
    return endOffset;
  }

  /**
   * What an idempotent producer does after a crash: it sends everything again that was not answered, and the last five
   * that were. Each is in the log once then.
   */
  async #resend(
    name: string,
    expected: ExpectedPartition,
    found: ReadonlyMap<number, RecordBatchView>,
    endOffset: number,
  ): Promise<void> {
    const exact = [...expected.sent.values()].filter(({ producerId }) => producerId >= 0);
    let nextOffset = endOffset;
    for (const [producerId, batches] of Map.groupBy(exact, (batch) => batch.producerId)) {
      const present = batches.filter(({ number }) => found.has(number));
      const missing = batches.filter(({ number }) => !found.has(number));
      for (const batch of present.slice(-5)) {
        const { errorCode, baseOffset } = await this.#produce(batch);
        const original = found.get(batch.number)?.baseOffset;
        if (errorCode !== ErrorCode.NONE || baseOffset !== original) {
          const told = `${errorName(errorCode)} offset ${baseOffset}, it is at ${original}`;
          this.#found("duplicate", `${name}: batch ${batch.number} of producer ${producerId} sent again: ${told}`);
        }
      }
      for (const batch of missing) {
        const { errorCode, baseOffset } = await this.#produce(batch);
        if (errorCode !== ErrorCode.NONE || baseOffset !== nextOffset) {
          const told = `${errorName(errorCode)} offset ${baseOffset} for ${nextOffset}`;
          this.#found("does not append", `${name}: batch ${batch.number} of producer ${producerId}: ${told}`);
          break;
        }
        nextOffset += batch.recordsCount;
      }
    }
  }

  async #produce(batch: SentBatch): Promise<{ readonly errorCode: number; readonly baseOffset: number }> {
    this.#mark({ kind: "sending", batch });
    const answer = await this.#client.request(produce, 11, {
      transactionalId: null,
      acks: -1,
      timeoutMs: 30_000,
      topicData: [{ name: batch.topic, partitionData: [{ index: batch.partition, records: batch.bytes }] }],
    });
    const { errorCode, baseOffset } = answer.responses[0]!.partitionResponses[0]!;
    if (errorCode === ErrorCode.NONE) this.#mark({ kind: "stored", batch, baseOffset });
    return { errorCode, baseOffset };
  }

  // --- Groups, settings, ids -----------------------------------------------------------------------------------------

  async #commits(): Promise<void> {
    for (const [group, commits] of Map.groupBy(this.#expected.commits.values(), ({ sent }) => sent.group)) {
      await this.#client.request(findCoordinator, 4, { keyType: 0, coordinatorKeys: [group] });
      const byTopic = Map.groupBy(commits, ({ sent }) => sent.topic);
      const answer = await this.#client.request(offsetFetch, 8, {
        groups: [
          {
            groupId: group,
            topics: [...byTopic].map(([name, ofTopic]) => ({
              name,
              partitionIndexes: ofTopic.map(({ sent }) => sent.partition),
            })),
          },
        ],
        requireStable: true,
      });
      const [told] = answer.groups;
      if (told?.errorCode !== ErrorCode.NONE)
        this.#found("lost commit", `${group}: ${errorName(told?.errorCode ?? -1)}`);
      for (const { answered, sent } of commits) {
        const topic = told?.topics.find(({ name }) => name === sent.topic);
        const found = topic?.partitions.find(({ partitionIndex }) => partitionIndex === sent.partition);
        const offset = found?.committedOffset ?? -1;
        const what = `${group} ${sent.topic}-${sent.partition}: ${offset}, answered ${answered?.offset}, sent ${sent.offset}`;
        if (offset > sent.offset) this.#found("invented", what);
        else if (offset < (answered?.offset ?? -1)) this.#found("lost commit", what);
        else if (offset >= 0 && found?.metadata !== `${group} ${offset}`)
          this.#found("lost commit", `${what}: metadata`);
      }
    }
  }

  async #settings(): Promise<void> {
    for (const [topicId, { answered, sent }] of this.#expected.settings) {
      const topic = this.#expected.topics.get(topicId)!;
      const answer = await this.#client.request(describeConfigs, 4, {
        resources: [{ resourceType: 2, resourceName: topic.name, configurationKeys: ["retention.ms"] }],
      });
      const value = Number(answer.results[0]?.configs[0]?.value);
      const isKnown = answered === null ? value <= sent : value >= answered && value <= sent;
      if (!isKnown) this.#found("lost setting", `${topic.name}: ${value}, answered ${answered}, sent ${sent}`);
    }
  }

  async #producerId(): Promise<void> {
    const { producerId, errorCode } = await this.#client.request(initProducerId, 4, {
      transactionalId: null,
      transactionTimeoutMs: 60_000,
      producerId: -1,
      producerEpoch: -1,
    });
    if (errorCode !== ErrorCode.NONE) this.#found("does not append", `a producer id: ${errorName(errorCode)}`);
    else if (this.#expected.producerIds.has(producerId)) this.#found("repeated producer id", `${producerId}`);
    else this.#mark({ kind: "producer-id", producerId });
  }
}

/** Of a batch the leader writes the base offset and its epoch only; with LogAppendTime timestamps and checksum too. */
function isSame(view: RecordBatchView, { bytes }: SentBatch, isStamped: boolean): boolean {
  const found = view.wholeBytes;
  if (found.length !== bytes.length) return false;
  if (!isStamped) return found.subarray(16).equals(bytes.subarray(16));
  return found.subarray(43).equals(bytes.subarray(43)) && found.subarray(23, 27).equals(bytes.subarray(23, 27));
}
