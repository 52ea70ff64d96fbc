import type { Prng } from "@millrace/base/prng";
import type { Clock } from "@millrace/base/world";
import { errorName, ErrorCode } from "kafka-protocol-ts/errors";
import { produce } from "kafka-protocol-ts/messages/00-produce";
import { offsetCommit } from "kafka-protocol-ts/messages/08-offset-commit";
import { findCoordinator } from "kafka-protocol-ts/messages/10-find-coordinator";
import { deleteTopics } from "kafka-protocol-ts/messages/20-delete-topics";
import { initProducerId } from "kafka-protocol-ts/messages/22-init-producer-id";
import { incrementalAlterConfigs } from "kafka-protocol-ts/messages/44-incremental-alter-configs";
import { batchesIn } from "kafka-protocol-ts/records/batch";
import { encodeBatch } from "kafka-protocol-ts/records/record";
import type { RecordBatchView } from "kafka-protocol-ts/records/batch";
import { createTopic, deleteBefore, fetchFrom, offsetAt } from "../calls.ts";
import { encodeRequest } from "../raw-client.ts";
import type { RawClient } from "../raw-client.ts";
import { batchNumberOf, valuePrefix } from "./batch-numbers.ts";
import type { Commit, Mark, SentBatch, TopicMade } from "./marks.ts";
import { TransactionWork } from "./transactions.ts";

export interface WorkloadOptions {
  readonly prng: Prng;
  readonly clock: Clock;
  /** Requests that each producer sends in one session. */
  readonly requests: number;
  /** The longest a client thinks between two requests, most of the time. */
  readonly thinkMsMax: number;
  /** Now and then it thinks so long: housekeeping has its turn. */
  readonly idleMs: number;
  mark(mark: Mark): void;
}

/** Version 11 is the highest that speaks names. */
const produceVersion = 11;
const passingPrefix = "passing-";

/** A topic that is being written to, with what of it may be written. */
interface Target extends TopicMade {
  readonly batchBytes: readonly [least: number, most: number];
  readonly compressions: readonly ("none" | "lz4" | "gzip")[];
  isDoomed: boolean;
}

/**
 * Clients of every kind at work on one broker: producers with five requests in flight over many partitions, two of them
 * idempotent, transactional ones, a consumer, groups that commit, topics that come and go, records that are deleted. Everything that they
 * ask for and are told becomes a mark. Several sessions follow one another, with a stop of the broker in between.
 */
export class Workload {
  readonly #options: WorkloadOptions;
  readonly #targets: Target[] = [];
  readonly #sent = new Map<number, SentBatch>();
  /** Where the consumer is, by topic id and partition. */
  readonly #positions = new Map<string, number>();
  readonly #commits = new Map<string, number>();
  /** Produce requests that were not answered yet, by topic. */
  readonly #inFlight = new Map<string, number>();
  #nextBatch = 1;
  #nextProducer = 1;
  #isProducing = false;

  readonly #transactions: TransactionWork;

  constructor(options: WorkloadOptions) {
    this.#options = options;
    this.#transactions = new TransactionWork({ prng: options.prng.fork(), mark: (mark) => options.mark(mark) });
  }

  /** All clients of one session, each with a connection of its own. Settles when they have done what they had to do. */
  async session(connect: () => Promise<RawClient>): Promise<void> {
    if (this.#targets.length === 0) await this.#createTopics(await connect());
    this.#isProducing = true;
    const producers = [
      ...[1, 2, 3].map(async () => this.#producePlain(await connect())),
      ...[1, 2].map(async () => this.#produceExactly(await connect())),
    ];
    const others = [
      this.#consume(await connect()),
      this.#commit(await connect(), "billing"),
      this.#commit(await connect(), "shipping"),
      this.#trim(await connect()),
      this.#comeAndGo(await connect()),
      this.#configure(await connect()),
      this.#transactions.session(connect, { isGoingOn: () => this.#isProducing, think: () => this.#think() }),
    ];
    // A failure is told where it is waited for: when all have ended.
    for (const each of [...producers, ...others]) each.catch(() => {});
    await Promise.allSettled(producers);
    this.#isProducing = false;
    await allOf([...producers, ...others]);
  }

  // --- Topics --------------------------------------------------------------------------------------------------------

  async #createTopics(client: RawClient): Promise<void> {
    await using _ = client;
    const small = { batchBytes: [100, 4_000], compressions: ["none", "none", "lz4"] } as const;
    const large = { batchBytes: [15_000, 120_000], compressions: ["none"] } as const;
    const segment = { "segment.bytes": "1048576", "file.delete.delay.ms": "1000" };
    await this.#create(client, "wide", 8, {}, small);
    await this.#create(client, "rolling", 2, segment, large);
    await this.#create(client, "trimmed", 1, segment, large);
    await this.#create(client, "retained", 1, { ...segment, "retention.bytes": "1200000" }, large);
    await this.#create(client, "stamped", 2, { "message.timestamp.type": "LogAppendTime" }, small);
    await this.#create(client, "exact", 2, {}, { ...small, compressions: ["none"] });
    await this.#transactions.createTopic(client);
  }

  async #create(
    client: RawClient,
    name: string,
    partitions: number,
    config: Readonly<Record<string, string>>,
    written: Pick<Target, "batchBytes" | "compressions">,
  ): Promise<Target> {
    this.#options.mark({ kind: "creating", topic: name });
    const id = await createTopic(client, name, partitions, config);
    const retentionBytes = config["retention.bytes"];
    const topic: TopicMade = {
      name,
      id,
      partitions,
      isStamped: config["message.timestamp.type"] === "LogAppendTime",
      retentionBytes: retentionBytes === undefined ? null : Number(retentionBytes),
    };
    this.#options.mark({ kind: "created", topic });
    const target: Target = { ...topic, ...written, isDoomed: false };
    this.#targets.push(target);
    return target;
  }

  /** Topics of the same few names are created, written to, and deleted under their producers. */
  async #comeAndGo(client: RawClient): Promise<void> {
    await using _ = client;
    const { prng, mark } = this.#options;
    for (;;) {
      await this.#think();
      const passing = this.#targets.filter((topic) => topic.name.startsWith(passingPrefix));
      if (!this.#isProducing && passing.length <= 2) break;
      const name = `${passingPrefix}${prng.between(0, 3)}`;
      // What is still on its way to a topic of that name is not for the one that comes in its place.
      const isFree = passing.every((topic) => topic.name !== name) && (this.#inFlight.get(name) ?? 0) === 0;
      if (isFree && this.#isProducing) {
        const written = { batchBytes: [100, 4_000], compressions: ["none", "gzip"] } as const;
        await this.#create(client, name, prng.between(1, 3), {}, written);
      } else if (passing.length > 0 && (prng.chance(0.3) || !this.#isProducing)) {
        const topic = prng.pick(passing);
        topic.isDoomed = true;
        mark({ kind: "deleting", topicId: topic.id });
        const answer = await client.request(deleteTopics, 6, {
          topics: [{ name: null, topicId: topic.id }],
          timeoutMs: 10_000,
        });
        expectCode(`deleting ${topic.name}`, answer.responses[0]?.errorCode);
        mark({ kind: "deleted", topicId: topic.id });
        this.#targets.splice(this.#targets.indexOf(topic), 1);
      }
    }
  }

  async #configure(client: RawClient): Promise<void> {
    await using _ = client;
    const { mark } = this.#options;
    for (let count = 0; this.#isProducing; count++) {
      await this.#think();
      const topic = this.#targets.find(({ name }) => name === "wide")!;
      const retentionMs = 700_000_000 + this.#nextBatch++;
      mark({ kind: "configuring", topicId: topic.id, retentionMs });
      const answer = await client.request(incrementalAlterConfigs, 1, {
        resources: [
          {
            resourceType: 2,
            resourceName: topic.name,
            configs: [{ name: "retention.ms", configOperation: 0, value: `${retentionMs}` }],
          },
        ],
        validateOnly: false,
      });
      expectCode("a setting", answer.responses[0]?.errorCode);
      mark({ kind: "configured", topicId: topic.id, retentionMs });
    }
  }

  // --- Producers -----------------------------------------------------------------------------------------------------

  async #producePlain(client: RawClient): Promise<void> {
    await using _ = client;
    const { prng, requests } = this.#options;
    const producer = `plain-${this.#nextProducer++}`;
    await this.#pipeline(requests, async () => {
      const targets = this.#targets.filter(({ name, isDoomed }) => name !== "exact" && !isDoomed);
      const batches = new Map<string, SentBatch>();
      for (let count = prng.between(1, 4); count > 0; count--) {
        const topic = prng.pick(targets);
        const partition = prng.between(0, topic.partitions - 1);
        batches.set(`${topic.id}/${partition}`, this.#batch(topic, partition, producer));
      }
      await this.#send(client, [...batches.values()]);
    });
  }

  /** An idempotent producer: what it resends after a crash must stand in the log once. */
  async #produceExactly(client: RawClient): Promise<void> {
    await using _ = client;
    const { prng, mark, requests } = this.#options;
    const { producerId, errorCode } = await client.request(initProducerId, 4, {
      transactionalId: null,
      transactionTimeoutMs: 60_000,
      producerId: -1,
      producerEpoch: -1,
    });
    expectCode("a producer id", errorCode);
    mark({ kind: "producer-id", producerId });
    const topic = this.#targets.find(({ name }) => name === "exact")!;
    const nextSequences = [0, 0];
    await this.#pipeline(Math.ceil(requests / 2), async () => {
      const partition = prng.between(0, 1);
      const batch = this.#batch(topic, partition, `exact-${producerId}`, producerId, nextSequences[partition]);
      nextSequences[partition]! += batch.recordsCount;
      await this.#send(client, [batch]);
    });
  }

  /** Five requests in flight, on a connection on which they are answered in order. */
  async #pipeline(requests: number, request: () => Promise<void>): Promise<void> {
    const inFlight: Promise<void>[] = [];
    for (let count = 0; count < requests; count++) {
      const sent = request();
      // Its failure is told where it is waited for.
      sent.catch(() => {});
      inFlight.push(sent);
      if (inFlight.length >= 5) await inFlight.shift();
      if (this.#options.prng.chance(0.6)) await this.#think();
    }
    await allOf(inFlight);
  }

  #batch(topic: Target, partition: number, producer: string, producerId = -1, baseSequence = -1): SentBatch {
    const { prng, clock } = this.#options;
    const number = this.#nextBatch++;
    const [least, most] = topic.batchBytes;
    const sizeBytes = prng.between(least, most);
    const recordsCount = prng.between(1, 5);
    const records = Array.from({ length: recordsCount }, (_, index) => ({
      key: prng.chance(0.5) ? Buffer.from(`key-${prng.between(0, 9)}`) : null,
      value: Buffer.concat([
        Buffer.from(`${valuePrefix(number)}${index}:`),
        Buffer.alloc(Math.ceil(sizeBytes / recordsCount), number % 251),
      ]),
      timestamp: clock.now(),
    }));
    const compression = prng.pick(topic.compressions);
    const bytes = encodeBatch({
      records,
      ...(compression === "none" ? {} : { compression }),
      ...(producerId === -1 ? {} : { producerId, producerEpoch: 0, baseSequence }),
    });
    const where = { topic: topic.name, topicId: topic.id, partition };
    const batch = { number, ...where, producer, bytes, recordsCount, producerId, baseSequence };
    this.#sent.set(number, batch);
    return batch;
  }

  async #send(client: RawClient, batches: readonly SentBatch[]): Promise<void> {
    const { prng, mark } = this.#options;
    const isExact = batches.some(({ producerId }) => producerId >= 0);
    const isPassing = batches.some(({ topic }) => topic.startsWith(passingPrefix));
    for (const batch of batches) mark({ kind: "sending", batch });
    const topicData = [...Map.groupBy(batches, ({ topic }) => topic)].map(([name, ofTopic]) => ({
      name,
      partitionData: ofTopic.map(({ partition, bytes }) => ({ index: partition, records: bytes })),
    }));
    // One in twenty is not answered, one in twenty gives up before the disk is done: what becomes of these is unknown.
    const isUnanswered = !isExact && !isPassing && prng.chance(0.05);
    const isHasty = !isExact && prng.chance(0.05);
    const acks = isUnanswered ? 0 : isExact ? -1 : prng.pick([-1, -1, 1]);
    const request = { transactionalId: null, acks, timeoutMs: isHasty ? 1 : 30_000, topicData };
    if (isUnanswered) return client.write(encodeRequest(produce, produceVersion, 0, request));
    this.#requestsTo(batches, 1);
    const answer = await client.request(produce, produceVersion, request);
    this.#requestsTo(batches, -1);
    for (const { name, partitionResponses } of answer.responses) {
      for (const { index, errorCode, baseOffset } of partitionResponses) {
        const batch = batches.find(({ topic, partition }) => topic === name && partition === index)!;
        const isGone = !this.#targets.some(({ id, isDoomed }) => id === batch.topicId && !isDoomed);
        if (errorCode === ErrorCode.NONE) mark({ kind: "stored", batch, baseOffset });
        else if (errorCode === ErrorCode.REQUEST_TIMED_OUT && isHasty) continue;
        else if (!isGone) throw new Error(`batch ${batch.number} was refused: ${errorName(errorCode)}`);
      }
    }
  }

  #requestsTo(batches: readonly SentBatch[], change: 1 | -1): void {
    for (const name of new Set(batches.map(({ topic }) => topic))) {
      this.#inFlight.set(name, (this.#inFlight.get(name) ?? 0) + change);
    }
  }

  // --- Consumers -----------------------------------------------------------------------------------------------------

  async #consume(client: RawClient): Promise<void> {
    await using _ = client;
    const { mark, prng } = this.#options;
    while (this.#isProducing) {
      const topic = prng.pick(this.#targets);
      const partition = prng.between(0, topic.partitions - 1);
      const key = `${topic.id}/${partition}`;
      const offset = this.#positions.get(key) ?? 0;
      const answer = await fetchFrom(client, { topic: topic.name, partition, offset, maxWaitMs: 20, minBytes: 1 });
      if (answer.errorCode === ErrorCode.OFFSET_OUT_OF_RANGE) {
        this.#positions.set(key, (await offsetAt(client, { topic: topic.name, partition }, -2)).offset);
      } else if (answer.errorCode === ErrorCode.NONE) {
        for (const view of batchesIn(answer.records ?? Buffer.alloc(0))) {
          this.#positions.set(key, view.lastOffset + 1);
          const batch = this.#recognise(view);
          // A topic of the same name may have come in its place.
          if (batch.topicId === topic.id) mark({ kind: "seen", batch, baseOffset: view.baseOffset });
        }
      } else if (!topic.isDoomed) throw new Error(`reading ${topic.name}: ${errorName(answer.errorCode)}`);
      await this.#think();
    }
  }

  #recognise(view: RecordBatchView): SentBatch {
    const batch = this.#sent.get(batchNumberOf(view) ?? -1);
    if (batch === undefined) throw new Error(`a batch at ${view.baseOffset} that nobody has sent`);
    return batch;
  }

  async #commit(client: RawClient, group: string): Promise<void> {
    await using _ = client;
    const { mark, prng } = this.#options;
    const found = await client.request(findCoordinator, 4, { keyType: 0, coordinatorKeys: [group] });
    expectCode(`the coordinator of ${group}`, found.coordinators[0]?.errorCode);
    while (this.#isProducing) {
      await this.#think();
      const topic = this.#targets.find(({ name }) => name === "wide")!;
      const partitions = [...new Set([prng.between(0, 7), prng.between(0, 7)])];
      const commits = partitions.map((partition): Commit => {
        const key = `${group}/${partition}`;
        const offset = (this.#commits.get(key) ?? 0) + 1;
        this.#commits.set(key, offset);
        return { group, topicId: topic.id, topic: topic.name, partition, offset };
      });
      for (const commit of commits) mark({ kind: "committing", commit });
      const answer = await client.request(offsetCommit, 9, {
        groupId: group,
        memberId: "",
        topics: [
          {
            name: topic.name,
            partitions: commits.map(({ partition, offset }) => ({
              partitionIndex: partition,
              committedOffset: offset,
              committedMetadata: `${group} ${offset}`,
            })),
          },
        ],
      });
      for (const { partitionIndex, errorCode } of answer.topics[0]!.partitions) {
        if (errorCode === ErrorCode.COORDINATOR_LOAD_IN_PROGRESS) continue;
        expectCode(`a commit of ${group}`, errorCode);
        mark({ kind: "committed", commit: commits.find(({ partition }) => partition === partitionIndex)! });
      }
    }
  }

  async #trim(client: RawClient): Promise<void> {
    await using _ = client;
    const { mark, prng } = this.#options;
    const topic = this.#targets.find(({ name }) => name === "trimmed")!;
    const at = { topic: topic.name, partition: 0 };
    while (this.#isProducing) {
      await this.#think();
      await this.#think();
      const start = (await offsetAt(client, at, -2)).offset;
      const end = (await offsetAt(client, at, -1)).offset;
      const offset = prng.between(start, Math.floor(start + (end - start) * 0.7));
      mark({ kind: "trimming", topicId: topic.id, partition: 0, offset });
      const answer = await deleteBefore(client, at, offset);
      expectCode("deleting records", answer.errorCode);
      mark({ kind: "trimmed", topicId: topic.id, partition: 0, startOffset: answer.lowWatermark });
    }
  }

  /** Shapes the load; nothing waits for it. */
  #think(): Promise<void> {
    const { prng, clock, thinkMsMax, idleMs } = this.#options;
    const ms = prng.chance(0.01) ? idleMs : prng.fraction() * thinkMsMax;
    return new Promise((resolve) => {
      clock.schedule(ms, resolve);
    });
  }
}

/** Waits for all, also where one has failed, so that nobody is at work any more when the failure is told. */
async function allOf(work: readonly Promise<void>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(work)) if (outcome.status === "rejected") throw outcome.reason;
}

function expectCode(what: string, errorCode: number | undefined): void {
  if (errorCode !== ErrorCode.NONE) throw new Error(`${what}: ${errorName(errorCode ?? -1)}`);
}
