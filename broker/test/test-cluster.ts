import { must } from "@millrace/base/assert";
import { InlineWorkers } from "@millrace/base/inline-workers";
import { silentLogger } from "@millrace/base/logger";
import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import { SeededRandom } from "@millrace/simulator/seeded-random";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import type { PartitionLog } from "@millrace/storage/log";
import { LogDirectories } from "@millrace/storage/log-directories";
import type { Api } from "kafka-protocol-ts/api";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { batchesIn } from "kafka-protocol-ts/records/batch";
import type { RecordBatchView } from "kafka-protocol-ts/records/batch";
import { ByteReader } from "kafka-protocol-ts/reader";
import { ByteWriter } from "kafka-protocol-ts/writer";
import { produceHandler } from "@millrace/broker/apis/00-produce";
import { findCoordinatorHandler } from "@millrace/broker/apis/10-find-coordinator";
import { initProducerIdHandler } from "@millrace/broker/apis/22-init-producer-id";
import { addPartitionsToTxnHandler } from "@millrace/broker/apis/24-add-partitions-to-txn";
import { addOffsetsToTxnHandler } from "@millrace/broker/apis/25-add-offsets-to-txn";
import { endTxnHandler } from "@millrace/broker/apis/26-end-txn";
import { writeTxnMarkersHandler } from "@millrace/broker/apis/27-write-txn-markers";
import { txnOffsetCommitHandler } from "@millrace/broker/apis/28-txn-offset-commit";
import { describeTransactionsHandler } from "@millrace/broker/apis/65-describe-transactions";
import type { Handler, RequestContext, TwoPhases } from "@millrace/broker/apis/handler";
import { BrokerConfigs } from "@millrace/broker/config/broker-configs";
import { RecentEvents } from "@millrace/broker/coordinator/recent-events";
import { Coordinators } from "@millrace/broker/coordinators";
import { offsetsTopic } from "@millrace/broker/groups-host";
import type { InterBroker } from "@millrace/broker/inter-broker";
import { noExtras } from "@millrace/broker/metadata/records";
import type { BrokerImage, MetadataImage, PartitionImage, TopicImage } from "@millrace/broker/metadata/image";
import { Deadlines } from "@millrace/broker/partitions/deadlines";
import { noPeers } from "@millrace/broker/partitions/isr-changes";
import { Partition } from "@millrace/broker/partitions/partition";
import { Partitions } from "@millrace/broker/partitions/partitions";
import type { ProducerIds } from "@millrace/broker/producer-ids";
import type { Services } from "@millrace/broker/services";
import { transactionsTopic } from "@millrace/broker/transactions-host";

const handlers: readonly Handler[] = [
  produceHandler,
  findCoordinatorHandler,
  initProducerIdHandler,
  addPartitionsToTxnHandler,
  addOffsetsToTxnHandler,
  endTxnHandler,
  writeTxnMarkersHandler,
  txnOffsetCommitHandler,
  describeTransactionsHandler,
];

/** What becomes of a request between two brokers. */
export type Fate =
  | "arrives"
  | "is lost"
  | "answer is lost"
  /** Its sender is told that it was lost; it arrives when the test lets it. */
  | "is late";

/** A request between two brokers, as a test sees it pass. */
export interface Passing {
  readonly from: number;
  readonly to: number;
  readonly api: string;
  readonly body: unknown;
}

interface Place {
  readonly log: PartitionLog;
  leader: number;
  leaderEpoch: number;
  /** Of the present leader; a former one's has resigned. */
  partition: Partition | null;
}

export interface TestClusterOptions {
  readonly brokers?: number;
  /** The leader of each partition. */
  readonly topics: Readonly<Record<string, readonly number[]>>;
  readonly settings?: Readonly<Record<string, string>>;
}

/**
 * Several brokers in one process, each with its own coordinators and its own picture of the metadata. Their partitions are replicated so
 * well that all of them see one log: who leads it can move at any moment, and what a former leader appends is refused.
 */
export class TestCluster {
  readonly clock: VirtualClock;
  readonly brokers: readonly TestBroker[];
  readonly fatal: unknown[] = [];
  /** Every request between brokers that was sent, in order. */
  readonly passed: Passing[] = [];
  /** Asked for each of them. */
  fateOf: (passing: Passing) => Fate = () => "arrives";
  /** Called when a request has been done; its answer waits for this. */
  onDone: (passing: Passing) => void | Promise<void> = () => {};
  /** Lets each request arrive that is late, in order. */
  readonly late: (() => Promise<unknown>)[] = [];
  /** Before a request arrives, and before its answer does. */
  latencyMs = 0;
  readonly #places: ReadonlyMap<string, readonly Place[]>;
  #nextProducerId = 1000;

  private constructor(options: TestClusterOptions, logs: LogDirectories, clock: VirtualClock, places: Places) {
    this.clock = clock;
    this.#places = places;
    const ids = Array.from({ length: options.brokers ?? 3 }, (_none, at) => at + 1);
    this.brokers = ids.map((id) => new TestBroker(this, id, logs, options.settings ?? {}));
    for (const broker of this.brokers) broker.learn();
  }

  static async open(options: TestClusterOptions): Promise<TestCluster> {
    const clock = new VirtualClock();
    const opened = await LogDirectories.open({
      paths: ["/data"],
      disk: new SimulatedDisk({ clock }),
      clock,
      random: new SeededRandom(1),
      logger: silentLogger,
      clusterId: null,
      nodeId: 1,
      limits: { journalBytes: 64 * 1024 },
    });
    if (!opened.ok) throw new Error(opened.message);
    const logs = opened.value;
    const configs = configsOf(1, options.settings ?? {});
    await logs.load((topic) => configs.topic(topic));
    const places = new Map<string, Place[]>();
    for (const [topic, leaders] of Object.entries(options.topics)) {
      const ofTopic: Place[] = [];
      places.set(topic, ofTopic);
      for (const [index, leader] of leaders.entries()) {
        const log = await logs.createLog({
          topic,
          partition: index,
          topicId: topicIdOf(topic),
          config: configs.topic(topic),
        });
        ofTopic.push({ log, leader, leaderEpoch: 0, partition: partitionOf(log, 0) });
      }
    }
    const cluster = new TestCluster(options, logs, clock, places);
    await clock.settle();
    return cluster;
  }

  broker(id: number): TestBroker {
    return must(
      this.brokers.find((each) => each.id === id),
      `broker ${id}`,
    );
  }

  nextProducerId(): number {
    return this.#nextProducerId++;
  }

  leaderOf(topic: string, index: number): number {
    return this.place(topic, index).leader;
  }

  place(topic: string, index: number): Place {
    return must(this.#places.get(topic)?.[index], `${topic}-${index}`);
  }

  topics(): readonly TopicImage[] {
    return Array.from(this.#places, ([name, places]) => ({
      name,
      id: topicIdOf(name),
      partitions: places.map(({ leader, leaderEpoch }, index): PartitionImage => ({
        index,
        replicas: [1, 2, 3],
        isr: [1, 2, 3],
        leader,
        leaderEpoch,
        partitionEpoch: leaderEpoch,
        ...noExtras,
      })),
    }));
  }

  /** Gives a partition another leader, or the same one in a new epoch; -1: none. Brokers that are deaf hear of it when they `learn`. */
  move(topic: string, index: number, leader: number, { deaf = [] }: { readonly deaf?: readonly number[] } = {}): void {
    const place = this.place(topic, index);
    place.partition?.resign();
    place.leader = leader;
    place.leaderEpoch += 1;
    place.partition = leader === -1 ? null : partitionOf(place.log, place.leaderEpoch);
    for (const broker of this.brokers) if (!deaf.includes(broker.id)) broker.learn();
  }

  /** Lets time pass until it is settled. */
  async run<T>(promise: Promise<T>, withinMs = 120_000): Promise<T> {
    const state = { isOver: false };
    const over = (): void => void (state.isOver = true);
    promise.then(over, over);
    await this.clock.settle();
    const untilMs = this.clock.monotonicMs() + withinMs;
    for (let stepMs = 10; !state.isOver && this.clock.monotonicMs() < untilMs; stepMs = Math.min(100, stepMs * 2))
      await this.clock.advance(stepMs);
    if (!state.isOver) throw new Error(`not settled within ${withinMs} ms of virtual time`);
    return promise;
  }

  /** One turn of the loop: what is to happen at once happens. */
  turn(): Promise<void> {
    return new Promise((resolve) => this.clock.afterTurn(resolve));
  }

  async batches(topic: string, index: number): Promise<readonly RecordBatchView[]> {
    const { log } = this.place(topic, index);
    const all: RecordBatchView[] = [];
    for (let offset = log.logStartOffset; offset < log.writtenOffset;) {
      const read = await log.read(offset, {
        sizeBytesMax: 1 << 20,
        upTo: log.writtenOffset,
        isWholeBatchGuaranteed: true,
      });
      if (!read.ok || read.value.slice === null) throw new Error(`${topic}-${index} at ${offset}`);
      const { slice } = read.value;
      const bytes = Buffer.alloc(slice.sizeBytes);
      await slice.file.read(bytes, slice.position);
      slice.release();
      for (const batch of batchesIn(bytes)) {
        if (batch.lastOffset >= offset) all.push(batch);
        offset = Math.max(offset, batch.lastOffset + 1) as typeof offset;
      }
    }
    return all;
  }

  /** A request to a broker, through both codecs. */
  async call<Req, Res, ReqInput, ResInput>(
    brokerId: number,
    api: Api<Req, Res, ReqInput, ResInput>,
    version: number,
    body: ReqInput,
  ): Promise<Res> {
    const handler = must(
      handlers.find((each) => each.api.key === api.key),
      `a handler of ${api.name}`,
    );
    const context: RequestContext = {
      version,
      correlationId: 1,
      clientId: "test",
      connection: { id: "1", clientHost: "127.0.0.1", listenerName: "PLAINTEXT", kind: "broker" },
    };
    const request = throughBytes(api.request, body, version);
    const handled = handler.handle(this.broker(brokerId).services, request, context);
    const answer = await (handler.phases === "two" ? (handled as TwoPhases<unknown>).answer : handled);
    return throughBytes(api.response, answer as ResInput, version);
  }

  async pass<Req, Res, ReqInput, ResInput>(
    from: number,
    to: number,
    api: Api<Req, Res, ReqInput, ResInput>,
    body: ReqInput,
  ): Promise<Result<Res, "unreachable">> {
    const passing: Passing = { from, to, api: api.name, body };
    this.passed.push(passing);
    const fate = this.fateOf(passing);
    await this.#travel();
    if (fate === "is late") this.late.push(() => this.call(to, api, api.versions[1], body));
    if (fate === "is lost" || fate === "is late" || !this.broker(to).isUp) return failed("unreachable");
    const answer = await this.call(to, api, api.versions[1], body);
    await this.onDone(passing);
    await this.#travel();
    return fate === "arrives" && this.broker(from).isUp ? ok(answer) : failed("unreachable");
  }

  #travel(): Promise<void> {
    return this.latencyMs === 0 ? this.turn() : new Promise((resolve) => this.clock.schedule(this.latencyMs, resolve));
  }
}

type Places = ReadonlyMap<string, readonly Place[]>;

/** One broker of the cluster: its coordinators, and the partitions that it believes to lead. */
export class TestBroker {
  readonly id: number;
  readonly services: Services;
  readonly coordinators: Coordinators;
  isUp = true;
  /** Replicas here of what others lead, as far behind as a test wants them. */
  followed: readonly Partition[] = [];
  readonly #cluster: TestCluster;
  #topics: ReadonlyMap<string, TopicImage> = new Map();
  readonly #led = new Map<string, Partition>();

  constructor(cluster: TestCluster, id: number, logs: LogDirectories, settings: Readonly<Record<string, string>>) {
    this.id = id;
    this.#cluster = cluster;
    const { clock } = cluster;
    const configs = configsOf(id, settings);
    const logger = silentLogger;
    const workers = new InlineWorkers({ disk: new SimulatedDisk({ clock }), clock });
    const rules = new Partitions({ logs, configs, clock, workers, logger });
    const partitions = {
      deadlines: new Deadlines(clock),
      queuedBytes: 0,
      leading: (topic: string, index: number) => this.#leading(topic, index),
      all: () => [...this.#led.values(), ...this.followed],
      rulesOf: (topic: string) => rules.rulesOf(topic),
    } as unknown as Partitions;
    const image = this.#image();
    const random = new SeededRandom(id);
    const producerIds = { next: async () => ok(cluster.nextProducerId()) } as unknown as ProducerIds;
    const fatal = (error: unknown): void => void cluster.fatal.push(error);
    const interBroker = this.#interBroker();
    this.coordinators = new Coordinators({
      clock,
      random,
      logger,
      configs,
      partitions,
      producerIds,
      interBroker,
      image: () => image,
      fatal,
    });
    this.services = {
      clock,
      random,
      logger,
      configs,
      partitions,
      producerIds,
      metadata: { image },
      topicCreation: { ensureInternalTopic: async () => ok(undefined) },
      identity: { nodeId: id, advertised: new Map([["PLAINTEXT", { host: `host${id}`, port: 9092 }]]) },
      groups: this.coordinators.groups.coordinator,
      transactions: this.coordinators.transactions,
      producerRefusals: new RecentEvents(),
    } as unknown as Services;
  }

  /** Takes over what the metadata says at this moment. */
  learn(): void {
    if (!this.isUp) return;
    const before = this.#topics;
    const topics = this.#cluster.topics();
    this.#topics = new Map(topics.map((topic) => [topic.name, topic]));
    for (const { name, partitions } of topics) {
      for (const { index, leader } of partitions) {
        const { partition } = this.#cluster.place(name, index);
        if (leader === this.id && partition !== null) this.#led.set(`${name}-${index}`, partition);
        else this.#led.delete(`${name}-${index}`);
      }
    }
    const changedTopics = topics.filter((topic) => JSON.stringify(before.get(topic.name)) !== JSON.stringify(topic));
    this.coordinators.apply({ changedTopics, deletedTopics: [] });
  }

  /** Its process is gone. What it led needs another leader. */
  crash(): void {
    this.isUp = false;
    this.coordinators.close();
    this.#led.clear();
  }

  #leading(topic: string, index: number): Result<Partition, ErrorCode> {
    const led = this.#led.get(`${topic}-${index}`);
    if (led !== undefined) return ok(led);
    const isThere = (this.#topics.get(topic)?.partitions.length ?? 0) > index;
    return failed(isThere ? ErrorCode.NOT_LEADER_OR_FOLLOWER : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
  }

  #image(): MetadataImage {
    const brokers = new Map<number, Partial<BrokerImage>>();
    for (const id of [1, 2, 3]) {
      const endpoints = [{ listener: "PLAINTEXT", host: `host${id}`, port: 9092 }];
      brokers.set(id, { id, rack: null, endpoints, isFenced: false });
    }
    return {
      offset: 0,
      brokers,
      topic: (name: string) => this.#topics.get(name),
      topicById: (id: string) => [...this.#topics.values()].find((topic) => topic.id === id),
      topics: () => this.#topics.values(),
    } as unknown as MetadataImage;
  }

  #interBroker(): InterBroker {
    const cluster = this.#cluster;
    return {
      leaderOf: (topic, partition) => {
        const leader = this.#topics.get(topic)?.partitions[partition]?.leader ?? -1;
        return leader === -1 ? null : leader;
      },
      request: async (to, api, message) => {
        type Build = (version: number) => Parameters<(typeof api)["request"]["write"]>[1];
        const body = typeof message === "function" ? (message as Build)(api.versions[1]) : message;
        return cluster.pass(this.id, to, api, body);
      },
    };
  }
}

/** The one place that knows how a leader's view of a log is made: it has no other replicas. */
function partitionOf(log: PartitionLog, leaderEpoch: number): Partition {
  const config = configsOf(1, {}).topic(log.topic);
  const context = { nodeId: 1, clock: new VirtualClock(), logger: silentLogger, peers: noPeers };
  const partition = new Partition(log, config, context);
  partition.lead({ replicas: [1], isr: [1], leader: 1, leaderEpoch, partitionEpoch: leaderEpoch });
  return partition;
}

function topicIdOf(topic: string): string {
  return Buffer.alloc(16, topic).toString("base64url");
}

function configsOf(nodeId: number, settings: Readonly<Record<string, string>>): BrokerConfigs {
  const texts = new Map(Object.entries(settings));
  return new BrokerConfigs({ nodeId, texts, overrides: { configVersion: 0, configsOf: () => new Map() } });
}

function throughBytes<Read, Write>(
  codec: {
    read(reader: ByteReader, version: number): Read;
    write(writer: ByteWriter, message: Write, version: number): void;
  },
  message: Write,
  version: number,
): Read {
  const writer = new ByteWriter();
  codec.write(writer, message, version);
  const bytes = Buffer.concat(writer.finish().map((part) => Buffer.from(part as Uint8Array)));
  return codec.read(new ByteReader(bytes), version);
}

export const internalTopics = { transactionsTopic, offsetsTopic } as const;
