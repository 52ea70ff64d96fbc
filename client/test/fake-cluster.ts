import { must } from "@millrace/base/assert";
import type { SimulatedWorld } from "@millrace/simulator/simulated-world";
import { simulatedWorld } from "@millrace/simulator/simulated-world";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { produce } from "kafka-protocol-ts/messages/00-produce";
import { fetch } from "kafka-protocol-ts/messages/01-fetch";
import { listOffsets } from "kafka-protocol-ts/messages/02-list-offsets";
import { metadata } from "kafka-protocol-ts/messages/03-metadata";
import { initProducerId } from "kafka-protocol-ts/messages/22-init-producer-id";
import type { RecordBatchView } from "kafka-protocol-ts/records/batch";
import { batchesIn } from "kafka-protocol-ts/records/batch";
import { readRecords } from "kafka-protocol-ts/records/record";
import { Cluster } from "../src/cluster.ts";
import type { ClusterOptions } from "../src/cluster.ts";
import { FakeBroker, silence } from "./fake-broker.ts";

/** One partition: what was stored, and what its leader remembers of producers. */
export interface FakePartition {
  leaderId: number;
  log: Buffer[];
  endOffset: number;
  stableOffset: number | null;
  aborted: { readonly producerId: number; readonly firstOffset: number }[];
  readonly producers: Map<number, FakeProducerState>;
  leaderEpoch: number;
}

/** What a leader remembers of a producer: its last five batches. */
export interface FakeProducerState {
  readonly epoch: number;
  readonly batches: { readonly baseSequence: number; readonly count: number; readonly baseOffset: number }[];
}

/** One batch that a producer sent, stored or not. */
export interface Attempt {
  readonly partition: string;
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly sequence: number;
  /** Of the request. */
  readonly version: number;
  readonly isTransactional: boolean;
  readonly values: readonly (string | null)[];
  readonly acks: number;
}

/** What happens to a Produce request instead of its being stored. */
export type Mishap =
  | { readonly code: number; readonly isStored?: boolean }
  | "none"
  /** Nor to anything that follows on the connection. */
  | "no answer"
  | "no answer, but stored"
  | "stored, and the connection breaks"
  | "the connection breaks";

/** Some brokers with topics in memory, in virtual time; mishaps happen in the order in which a test lists them. */
export class FakeCluster {
  readonly world: SimulatedWorld;
  readonly brokers: FakeBroker[] = [];
  readonly topics = new Map<string, { readonly topicId: string; readonly partitions: FakePartition[] }>();
  readonly attempts: Attempt[] = [];
  readonly mishaps: Mishap[] = [];
  canCreate = true;
  controllerId = 0;
  /** A broker that is not the leader tells who is (KIP-951). */
  givesHints = false;
  /** Batches of more bytes are too large. */
  batchBytesMax = Number.POSITIVE_INFINITY;
  /** For each batch that a leader is about to look at: another answer than its own. */
  refuse: (attempt: Attempt) => number = () => ErrorCode.NONE;
  /** Produce requests of one connection that were not answered yet, the most there ever were. */
  inFlightMax = 0;
  #nextProducerId = 1000;
  #topicsCount = 0;

  private constructor(seed: number) {
    this.world = simulatedWorld({ seed });
  }

  static async start({ brokers = 1, seed = 1 } = {}): Promise<FakeCluster> {
    const cluster = new FakeCluster(seed);
    for (let id = 0; id < brokers; id++) {
      const broker = await FakeBroker.start(cluster.world.network, 9000 + id);
      cluster.brokers.push(broker);
      cluster.#serve(broker, id);
    }
    return cluster;
  }

  client(options: Partial<ClusterOptions> = {}): Cluster {
    return new Cluster({ brokers: this.brokers.map(({ text }) => text), world: this.world, ...options });
  }

  create(name: string, leaderIds: readonly number[] = [0]): FakePartition[] {
    const partitions = leaderIds.map((leaderId): FakePartition => ({
      leaderId,
      log: [],
      endOffset: 0,
      stableOffset: null,
      aborted: [],
      producers: new Map(),
      leaderEpoch: 0,
    }));
    const topicId = Buffer.alloc(16, ++this.#topicsCount).toString("base64url");
    this.topics.set(name, { topicId, partitions });
    return partitions;
  }

  /** The values that are stored in a partition. */
  values(topic: string, partition = 0): (string | null)[] {
    return (this.topics.get(topic)?.partitions[partition]?.log ?? []).flatMap((bytes) => valuesOf(bytes));
  }

  /** The outcome, as soon as virtual time has brought it about. */
  async within<T>(ms: number, work: Promise<T>): Promise<T> {
    let isSettled = false;
    const settle = (): void => void (isSettled = true);
    work.then(settle, settle);
    await this.world.clock.runUntil(() => isSettled, { withinMs: ms });
    return work;
  }

  requests(name: string): number {
    return this.brokers.flatMap(({ names }) => names).filter((each) => each === name).length;
  }

  #serve(broker: FakeBroker, nodeId: number): void {
    broker.on(metadata, ({ message }) => {
      const names = message.topics?.map(({ name }) => name ?? "") ?? [...this.topics.keys()];
      for (const name of names)
        if (!this.topics.has(name) && message.allowAutoTopicCreation && this.canCreate) this.create(name);
      return {
        clusterId: "fake",
        controllerId: this.controllerId,
        brokers: this.#endpoints,
        topics: names.map((name) => this.#describe(name)),
      };
    });
    broker.on(initProducerId, () => ({
      throttleTimeMs: 0,
      errorCode: ErrorCode.NONE,
      producerId: this.#nextProducerId++,
      producerEpoch: 0,
    }));
    const inFlight = new Map<object, number>();
    const before = new Map<object, Promise<void>>();
    broker.on(produce, async ({ message, version, connection }) => {
      const { acks, topicData } = message;
      const count = (inFlight.get(connection) ?? 0) + 1;
      inFlight.set(connection, count);
      this.inFlightMax = Math.max(this.inFlightMax, count);
      // One after the other, as they came.
      const turn = (before.get(connection) ?? Promise.resolve()).then(async () => this.beforeAppend());
      before.set(connection, turn);
      await turn;
      const mishap = this.mishaps.shift();
      const responses = topicData.map(({ name, topicId, partitionData }) => ({
        name,
        topicId,
        partitionResponses: partitionData.map(({ index, records }) => {
          const id = version >= 13 ? topicId : (this.topics.get(name)?.topicId ?? "");
          const sent = { topicId: id, index, records: must(records, "the records"), acks, mishap, version };
          return this.#produce(nodeId, sent);
        }),
      }));
      await this.beforeAnswer();
      inFlight.set(connection, (inFlight.get(connection) ?? 1) - 1);
      if (mishap === "stored, and the connection breaks" || mishap === "the connection breaks") connection.destroy();
      if (mishap === "no answer" || mishap === "no answer, but stored") await new Promise<never>(() => {});
      return acks === 0 ? silence : { responses, nodeEndpoints: this.givesHints ? this.#endpoints : [] };
    });
    broker.on(listOffsets, ({ message }) => ({
      topics: message.topics.map(({ name, partitions }) => ({
        name,
        partitions: partitions.map(({ partitionIndex, timestamp }) => {
          const found = this.topics.get(name)?.partitions[partitionIndex];
          const isLed = found?.leaderId === nodeId;
          const end = message.isolationLevel === 1 ? (found?.stableOffset ?? found?.endOffset) : found?.endOffset;
          const offset = timestamp === -2 ? 0 : timestamp === -1 ? (end ?? 0) : offsetAt(found?.log ?? [], timestamp);
          return { partitionIndex, errorCode: isLed ? 0 : ErrorCode.NOT_LEADER_OR_FOLLOWER, timestamp, offset };
        }),
      })),
    }));
    broker.on(fetch, async ({ message }) => {
      const responses = message.topics.map(({ topicId, partitions }) => ({
        topicId,
        partitions: partitions.map(({ partition, fetchOffset }) =>
          this.#fetch(nodeId, { topicId, partition, fetchOffset, isolationLevel: message.isolationLevel }),
        ),
      }));
      const hasNews = responses.some(({ partitions }) =>
        partitions.some((each) => each.errorCode !== 0 || each.records.length > 0),
      );
      if (!hasNews) await new Promise<void>((resolve) => void this.world.clock.schedule(message.maxWaitMs, resolve));
      return { throttleTimeMs: 0, responses, errorCode: 0, sessionId: 0 };
    });
  }

  /** What a Produce request waits for before anything of it is stored, whatever became of its connection. */
  beforeAppend: () => Promise<void> = async () => {};
  /** What answers to Produce wait for. */
  beforeAnswer: () => Promise<void> = async () => {};

  get #endpoints(): { nodeId: number; host: string; port: number }[] {
    return this.brokers.map(({ address }, id) => ({ nodeId: id, ...address }));
  }

  #describe(name: string): Parameters<typeof metadata.response.write>[1]["topics"][number] {
    const topic = this.topics.get(name);
    if (topic === undefined)
      return { errorCode: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, name, isInternal: false, partitions: [] };
    return {
      errorCode: 0,
      name,
      topicId: topic.topicId,
      isInternal: false,
      partitions: topic.partitions.map(({ leaderId, leaderEpoch }, partitionIndex) => ({
        errorCode: leaderId < 0 ? ErrorCode.LEADER_NOT_AVAILABLE : 0,
        partitionIndex,
        leaderId,
        leaderEpoch,
        replicaNodes: [leaderId],
        isrNodes: [leaderId],
        offlineReplicas: [],
      })),
    };
  }

  #partition(topicId: string, index: number): { readonly name: string; readonly found: FakePartition | null } {
    for (const [name, topic] of this.topics) {
      if (topic.topicId === topicId) return { name, found: topic.partitions[index] ?? null };
    }
    return { name: "?", found: null };
  }

  #produce(
    nodeId: number,
    sent: {
      readonly topicId: string;
      readonly index: number;
      readonly records: Buffer;
      readonly acks: number;
      readonly mishap: Mishap | undefined;
      readonly version: number;
    },
  ): Parameters<typeof produce.response.write>[1]["responses"][number]["partitionResponses"][number] {
    const { topicId, index, acks, mishap, version } = sent;
    const { name, found } = this.#partition(topicId, index);
    const records = Buffer.from(sent.records);
    const batch = firstBatch(records);
    const { producerId, producerEpoch, baseSequence: sequence, isTransactional } = batch;
    const values = valuesOf(records);
    const attempt = {
      partition: `${name}-${index}`,
      producerId,
      producerEpoch,
      sequence,
      version,
      isTransactional,
      values,
      acks,
    };
    this.attempts.push(attempt);
    const refused = (errorCode: number) => ({ index, errorCode, baseOffset: -1 });
    if (found === null) return refused(ErrorCode.UNKNOWN_TOPIC_ID);
    if (found.leaderId !== nodeId) {
      const { leaderId, leaderEpoch } = found;
      const hint = this.givesHints ? { currentLeader: { leaderId, leaderEpoch } } : {};
      return { ...refused(ErrorCode.NOT_LEADER_OR_FOLLOWER), ...hint };
    }
    const isStored =
      mishap === undefined ||
      mishap === "none" ||
      mishap === "no answer, but stored" ||
      mishap === "stored, and the connection breaks" ||
      (typeof mishap === "object" && mishap.isStored);
    const errorCode = typeof mishap === "object" ? mishap.code : 0;
    if (!isStored) return refused(errorCode);
    const refusal = records.length > this.batchBytesMax ? ErrorCode.MESSAGE_TOO_LARGE : this.refuse(attempt);
    if (refusal !== ErrorCode.NONE) return refused(refusal);
    const appended = appendTo(found, batch, records);
    if (appended.errorCode !== 0) return refused(appended.errorCode);
    return { index, errorCode, baseOffset: errorCode === 0 ? appended.baseOffset : -1 };
  }

  #fetch(
    nodeId: number,
    wanted: { topicId: string; partition: number; fetchOffset: number; isolationLevel: number },
  ): {
    partitionIndex: number;
    errorCode: number;
    highWatermark: number;
    records: Buffer;
    abortedTransactions: FakePartition["aborted"] | null;
  } {
    const { topicId, partition: partitionIndex, fetchOffset, isolationLevel } = wanted;
    const { found } = this.#partition(topicId, partitionIndex);
    const answer = (errorCode: number, records: readonly Buffer[]) => ({
      partitionIndex,
      errorCode,
      highWatermark: found?.endOffset ?? -1,
      records: Buffer.concat(records),
      abortedTransactions: isolationLevel === 1 ? (found?.aborted ?? []) : null,
    });
    if (found === null) return answer(ErrorCode.UNKNOWN_TOPIC_ID, []);
    if (found.leaderId !== nodeId) return answer(ErrorCode.NOT_LEADER_OR_FOLLOWER, []);
    if (fetchOffset > found.endOffset) return answer(ErrorCode.OFFSET_OUT_OF_RANGE, []);
    const rest = found.log.filter((bytes) => firstBatch(bytes).lastOffset >= fetchOffset);
    return answer(0, rest);
  }
}

/** As Apache Kafka: a batch among the last five is there already; another must be the next one, or begin a higher epoch. */
function appendTo(
  partition: FakePartition,
  batch: RecordBatchView,
  records: Buffer,
): { readonly errorCode: number; readonly baseOffset: number } {
  const { producerId, producerEpoch, baseSequence, recordsCount } = batch;
  const refused = (errorCode: number) => ({ errorCode, baseOffset: -1 });
  const state = partition.producers.get(producerId);
  const isKnown = producerId >= 0 && state !== undefined;
  if (isKnown && producerEpoch < state.epoch) return refused(ErrorCode.INVALID_PRODUCER_EPOCH);
  if (isKnown && producerEpoch > state.epoch && baseSequence !== 0)
    return refused(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER);
  if (isKnown && producerEpoch === state.epoch) {
    const same = state.batches.find((each) => each.baseSequence === baseSequence && each.count === recordsCount);
    if (same !== undefined) return { errorCode: 0, baseOffset: same.baseOffset };
    const last = state.batches.at(-1);
    const next = last === undefined ? 0 : last.baseSequence + last.count;
    if (baseSequence !== next) return refused(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER);
  }
  const baseOffset = partition.endOffset;
  if (producerId >= 0) {
    const before = isKnown && state.epoch === producerEpoch ? state.batches : [];
    const batches = [...before, { baseSequence, count: recordsCount, baseOffset }].slice(-5);
    partition.producers.set(producerId, { epoch: producerEpoch, batches });
  }
  batch.stamp(baseOffset, 0);
  partition.log.push(records);
  partition.endOffset += recordsCount;
  return { errorCode: 0, baseOffset };
}

function firstBatch(bytes: Buffer): RecordBatchView {
  return must(batchesIn(bytes).next().value, "a batch");
}

function valuesOf(bytes: Buffer): (string | null)[] {
  return [...batchesIn(bytes)].flatMap((batch) => readRecords(batch).map(({ value }) => value?.toString() ?? null));
}

function offsetAt(log: readonly Buffer[], timestamp: number): number {
  for (const bytes of log) {
    for (const batch of batchesIn(bytes)) {
      for (const record of readRecords(batch)) if (record.timestamp >= timestamp) return record.offset;
    }
  }
  return -1;
}
