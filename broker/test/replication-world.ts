import { InlineWorkers } from "@millrace/base/inline-workers";
import { silentLogger } from "@millrace/base/logger";
import type { Logger } from "@millrace/base/logger";
import { Prng } from "@millrace/base/prng";
import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import { KiB, MiB } from "@millrace/base/units";
import { BrokerConfigs } from "@millrace/broker/config/broker-configs";
import { ResourceType } from "@millrace/broker/config/resources";
import { RecentEvents } from "@millrace/broker/coordinator/recent-events";
import { FetchSessions } from "@millrace/broker/fetch/sessions";
import { ReplayedImage } from "@millrace/broker/metadata/image";
import type { MetadataDelta, PartitionImage } from "@millrace/broker/metadata/image";
import { noExtras } from "@millrace/broker/metadata/records";
import type { BrokerRecord, MetadataRecord } from "@millrace/broker/metadata/records";
import type { IsrChangeFailure, IsrProposal, IsrState } from "@millrace/broker/partitions/isr-changes";
import type { Partition } from "@millrace/broker/partitions/partition";
import { Partitions } from "@millrace/broker/partitions/partitions";
import type { ReplicaLink } from "@millrace/broker/replication/replica-link";
import { Replicas } from "@millrace/broker/replication/replicas";
import type { Services } from "@millrace/broker/services";
import { RecordingDisk } from "@millrace/simulator/recording-disk";
import { SeededRandom } from "@millrace/simulator/seeded-random";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { LogDirectories } from "@millrace/storage/log-directories";
import { fetch } from "kafka-protocol-ts/messages/01-fetch";
import type { FetchRequestInput, FetchResponse } from "kafka-protocol-ts/messages/01-fetch";

import { callFetch } from "./replication-calls.ts";

const newestFetch = fetch.versions[1];
const directory = "/data";

export interface WorldOptions {
  readonly seed?: number;
  /** Ids from 1 on. */
  readonly brokers?: number;
  readonly settings?: Readonly<Record<string, string>>;
  readonly racks?: Readonly<Record<number, string>>;
  readonly logger?: Logger;
  /** Whether disks have a journal; default: by the seed. */
  readonly isJournaled?: boolean;
}

export interface TopicOptions {
  readonly replicas?: readonly number[];
  /** Default: the replicas. */
  readonly isr?: readonly number[];
  readonly partitions?: number;
  readonly configs?: Readonly<Record<string, string>>;
}

/**
 * A few brokers of which each has only what replication needs: a disk, partitions, the Fetch handler and the fetchers. Their links are calls
 * of the other side's handler, through both codecs. Time is virtual. What a controller does is done here, by one image that all follow.
 */
export class ReplicationWorld {
  readonly clock: VirtualClock = new VirtualClock();
  readonly prng: Prng;
  readonly options: WorldOptions;
  readonly image: ReplayedImage = new ReplayedImage();
  readonly brokers = new Map<number, HalfBroker>();
  /** Each of "1>2": broker 1 does not reach broker 2. */
  readonly cuts = new Set<string>();
  /** What the controller does with proposals of leaders, in the order in which they came. */
  readonly proposals: IsrProposal[] = [];
  /** Set: no proposal gets through, and this is what the leader hears. */
  proposalFailure: IsrChangeFailure | null = null;
  linkLatencyMs = 1;
  /** What becomes of an answer on its way. */
  onResponse: (response: FetchResponse, follower: number) => FetchResponse = (response) => response;
  /** What must never happen: it is thrown by `check`. */
  readonly fatalErrors: unknown[] = [];

  private constructor(options: WorldOptions) {
    this.options = options;
    this.prng = new Prng(options.seed ?? 1);
  }

  static async open(options: WorldOptions = {}): Promise<ReplicationWorld> {
    const world = new ReplicationWorld(options);
    for (let id = 1; id <= (options.brokers ?? 3); id++) {
      const disk = new SimulatedDisk({ clock: world.clock });
      await disk.makeDirectory(directory);
      await disk.syncDirectory("/");
      await world.start(id, disk);
    }
    return world;
  }

  broker(id: number): HalfBroker {
    const broker = this.brokers.get(id);
    if (broker === undefined) throw new Error(`broker ${id} is down`);
    return broker;
  }

  get running(): readonly HalfBroker[] {
    return [...this.brokers.values()];
  }

  // --- The controller -------------------------------------------------------------------------------------------------

  async createTopic(name: string, options: TopicOptions = {}): Promise<string> {
    const { replicas = [1, 2, 3], partitions = 1, configs = {} } = options;
    const id = Buffer.alloc(16, name).toString("base64url");
    const { isr = replicas } = options;
    const leader = isr[0] ?? -1;
    const records: MetadataRecord[] = [{ type: "topic", name, id }];
    for (const [key, value] of Object.entries(configs))
      records.push({ type: "config", resourceType: ResourceType.TOPIC, resourceName: name, name: key, value });
    for (let index = 0; index < partitions; index++)
      records.push({
        ...{ type: "partition", topicId: id, index, replicas, isr, leader, leaderEpoch: 0, partitionEpoch: 0 },
        ...noExtras,
      });
    await this.replay(records);
    return id;
  }

  partitionOf(topic: string, index = 0): PartitionImage {
    const found = this.image.topic(topic)?.partitions[index];
    if (found === undefined) throw new Error(`there is no ${topic}-${index}`);
    return found;
  }

  /** Another leader, or another ISR under the same one. Settled when every broker has followed. */
  async change(
    topic: string,
    { leader, isr }: { readonly leader?: number; readonly isr?: readonly number[] },
    index = 0,
  ): Promise<void> {
    await this.replay([
      this.changeRecord(topic, index, { ...(leader !== undefined && { leader }), ...(isr && { isr }) }),
    ]);
  }

  changeRecord(
    topic: string,
    index: number,
    change: { readonly leader?: number; readonly isr?: readonly number[] },
  ): MetadataRecord {
    const before = this.partitionOf(topic, index);
    const { leader = before.leader, isr = before.isr } = change;
    return {
      type: "partition-change",
      topicId: this.image.topic(topic)?.id ?? "",
      index,
      isr,
      leader,
      leaderEpoch:
        leader === before.leader && change.leader === undefined ? before.leaderEpoch : before.leaderEpoch + 1,
      partitionEpoch: before.partitionEpoch + 1,
      replicas: null,
      ...noExtras,
    };
  }

  async replay(records: readonly MetadataRecord[]): Promise<void> {
    if (records.length === 0) return;
    const { offset } = this.image;
    const delta = this.image.replay({ offset: offset + 1, timeMs: 0, records });
    await Promise.all(this.running.map((broker) => broker.follow(delta)));
  }

  async alterIsr(from: number, proposal: IsrProposal): Promise<Result<IsrState, IsrChangeFailure>> {
    this.proposals.push(proposal);
    if (this.proposalFailure !== null) return failed(this.proposalFailure);
    const topic = this.image.topicById(proposal.topicId);
    const before = topic?.partitions[proposal.index];
    const { leaderEpoch, partitionEpoch } = proposal;
    if (topic === undefined || before === undefined) return failed("stale");
    const isCurrent =
      before.leader === from && before.leaderEpoch === leaderEpoch && before.partitionEpoch === partitionEpoch;
    if (!isCurrent) return failed("stale");
    for (const { brokerId, brokerEpoch } of proposal.isr) {
      const broker = this.image.brokers.get(brokerId);
      const isEligible =
        broker !== undefined && !broker.isFenced && (brokerEpoch === -1 || brokerEpoch === broker.epoch);
      if (!isEligible) return failed("refused");
    }
    const isr = proposal.isr.map(({ brokerId }) => brokerId);
    const change = { ...this.changeRecord(topic.name, proposal.index, { isr }), leaderEpoch } as MetadataRecord;
    void this.replay([change]);
    return ok({ leaderEpoch, partitionEpoch: partitionEpoch + 1, isr });
  }

  /** A broker is not heard of any more: it leaves every ISR that has another, and others lead. */
  async fence(id: number): Promise<void> {
    const broker = this.image.brokers.get(id);
    if (broker === undefined || broker.isFenced) return;
    const records: MetadataRecord[] = [{ type: "broker", ...broker, isFenced: true }];
    for (const topic of this.image.topics()) {
      for (const { index, isr, leader } of topic.partitions) {
        if (!isr.includes(id)) continue;
        const rest = isr.filter((other) => other !== id);
        const kept = rest.length > 0 ? rest : isr;
        if (leader !== id) records.push(this.changeRecord(topic.name, index, { isr: kept }));
        else records.push(this.changeRecord(topic.name, index, { isr: kept, leader: this.#electable(rest) }));
      }
    }
    await this.replay(records);
  }

  /** It is heard of again. */
  async unfence(id: number): Promise<void> {
    const broker = this.image.brokers.get(id);
    if (broker === undefined || !broker.isFenced) return;
    await this.replay([{ type: "broker", ...broker, isFenced: false }, ...this.#elections(id)]);
  }

  #electable(isr: readonly number[]): number {
    return isr.find((id) => this.brokers.has(id) && this.image.brokers.get(id)?.isFenced === false) ?? -1;
  }

  /** A broker comes up (again): it leads what has no leader, where it is in sync. */
  async #register(id: number): Promise<number> {
    await this.fence(id);
    const epoch = this.image.offset + 1;
    await this.replay([registration(id, epoch, this.options.racks?.[id] ?? null), ...this.#elections(id)]);
    return epoch;
  }

  #elections(id: number): readonly MetadataRecord[] {
    const records: MetadataRecord[] = [];
    for (const topic of this.image.topics()) {
      for (const { index, isr, leader } of topic.partitions)
        if (leader === -1 && isr.includes(id)) records.push(this.changeRecord(topic.name, index, { leader: id }));
    }
    return records;
  }

  // --- Brokers --------------------------------------------------------------------------------------------------------

  async start(id: number, inner: SimulatedDisk): Promise<HalfBroker> {
    const broker = new HalfBroker(this, id, inner);
    await broker.open();
    this.brokers.set(id, broker);
    const epoch = await this.#register(id);
    await broker.join(epoch);
    return broker;
  }

  /** The power goes: what was not synced may be lost. Gives the disk as it is found afterwards. */
  crash(id: number): SimulatedDisk {
    const broker = this.broker(id);
    this.brokers.delete(id);
    return broker.losePower();
  }

  cut(a: number, b: number): void {
    this.cuts.add(`${a}>${b}`).add(`${b}>${a}`);
    for (const id of [a, b]) this.brokers.get(id)?.breakLinks();
  }

  heal(): void {
    this.cuts.clear();
  }

  /** Lets time pass until something has come to its end. */
  async run<T>(work: Promise<T>, withinMs = 10_000): Promise<T> {
    let isSettled = false;
    const settled = work.finally(() => {
      isSettled = true;
    });
    settled.catch(() => {});
    await this.until(() => isSettled, withinMs);
    return settled;
  }

  check(): void {
    if (this.fatalErrors.length > 0) throw this.fatalErrors[0];
  }

  async until(condition: () => boolean, withinMs = 10_000): Promise<void> {
    await this.clock.runUntil(() => this.fatalErrors.length > 0 || condition(), { withinMs });
    this.check();
  }
}

function registration(id: number, epoch: number, rack: string | null): { readonly type: "broker" } & BrokerRecord {
  return {
    type: "broker",
    ...{ id, epoch, incarnationId: "AAAAAAAAAAAAAAAAAAAAAQ", rack, isFenced: false },
    endpoints: [{ listener: "PLAINTEXT", host: `host${id}`, port: 9092 }],
    ...{ isInControlledShutdown: false, directoryIds: [], cordonedDirectoryIds: [], features: [] },
  };
}

/** One incarnation of a broker. */
export class HalfBroker {
  readonly id: number;
  readonly #world: ReplicationWorld;
  readonly #inner: SimulatedDisk;
  #disk: RecordingDisk | null = null;
  #logs: LogDirectories | null = null;
  #partitions: Partitions | null = null;
  #services: Services | null = null;
  #replicas: Replicas | null = null;
  #epoch = -1;
  #isDown = false;
  /** Deltas one after the other; those that come before it has joined are in the image with which it does. */
  #following: Promise<void> | null = null;
  /** Of the requests that others have sent here, or that this one has sent. */
  readonly #breakers = new Set<() => void>();
  /** It hears nothing of the controller: what changes meanwhile it follows afterwards. */
  #deaf: Promise<void> | null = null;

  constructor(world: ReplicationWorld, id: number, inner: SimulatedDisk) {
    this.#world = world;
    this.id = id;
    this.#inner = inner;
  }

  get disk(): RecordingDisk {
    return this.#must(this.#disk);
  }
  get partitions(): Partitions {
    return this.#must(this.#partitions);
  }
  get services(): Services {
    return this.#must(this.#services);
  }
  get replicas(): Replicas {
    return this.#must(this.#replicas);
  }
  get logs(): LogDirectories {
    return this.#must(this.#logs);
  }
  get epoch(): number {
    return this.#epoch;
  }
  get isDown(): boolean {
    return this.#isDown;
  }

  #must<T>(value: T | null): T {
    if (value === null) throw new Error(`broker ${this.id} is not there`);
    return value;
  }

  partition(topic: string, index = 0): Partition {
    const { image } = this.#world;
    const found = this.partitions.replica(image.topic(topic)?.id ?? "", index);
    if (found === undefined) throw new Error(`broker ${this.id} has no replica of ${topic}-${index}`);
    return found;
  }

  async open(): Promise<void> {
    const world = this.#world;
    const { clock, image, prng } = world;
    const logger = world.options.logger ?? silentLogger;
    this.#disk = await RecordingDisk.over(this.#inner, directory);
    const random = new SeededRandom(prng.uint32());
    const isDrawn = prng.chance(0.5);
    const isJournaled = world.options.isJournaled ?? isDrawn;
    const texts = new Map(Object.entries({ "node.id": String(this.id), ...world.options.settings }));
    const configs = new BrokerConfigs({ nodeId: this.id, texts, overrides: image });
    const opened = await LogDirectories.open({
      ...{ paths: [directory], disk: this.#disk, clock, random, logger, nodeId: this.id },
      clusterId: "AAAAAAAAAAAAAAAAAAAAAA",
      limits: { journalBytes: isJournaled ? MiB : 0, unsyncedBytesMax: 256 * KiB },
      areReplicated: true,
      onFailure: (error) => {
        if (!this.#isDown) world.fatalErrors.push(error);
      },
    });
    if (!opened.ok) throw new Error(opened.message);
    this.#logs = opened.value;
    const loaded = await opened.value.load((topic) => configs.topic(topic));
    if (!loaded.ok) throw new Error(loaded.message);
    const offline = loaded.value.flatMap((report) => report.offline);
    if (offline.length > 0) throw new Error(JSON.stringify(offline));
    const workers = new InlineWorkers();
    this.#partitions = new Partitions({
      ...{ logs: opened.value, configs, clock, workers, logger },
      peers: {
        isrChanges: { propose: async (proposal) => this.#propose(proposal) },
        brokerEpoch: () => this.#epoch,
        eligibleEpoch: (id) => {
          const broker = image.brokers.get(id);
          return broker === undefined || broker.isFenced ? null : broker.epoch;
        },
      },
    });
    const fatal = (error: unknown): void => {
      if (!this.#isDown) world.fatalErrors.push(error);
    };
    this.#replicas = new Replicas({
      ...{ partitions: this.#partitions, configs, clock, logger, fatal },
      brokerEpoch: () => this.#epoch,
      connect: (leader) => this.#link(leader),
    });
    const identity: Partial<Services["identity"]> = { nodeId: this.id, rack: world.options.racks?.[this.id] ?? null };
    this.#services = {
      ...{ clock, random, logger, configs, identity, logs: opened.value, partitions: this.#partitions },
      metadata: { image },
      producerRefusals: new RecentEvents(),
      fetchSessions: new FetchSessions({
        ...{ slotsMax: 100, evictionMs: 120_000, random, monotonicMs: () => clock.monotonicMs() },
      }),
    } as unknown as Services;
  }

  async #propose(proposal: IsrProposal): Promise<Result<IsrState, IsrChangeFailure>> {
    await new Promise<void>((resolve) => this.#world.clock.schedule(this.#world.linkLatencyMs, resolve));
    if (this.#isDown) return failed("unknown");
    return this.#world.alterIsr(this.id, proposal);
  }

  /** Has its roles from the image as it is. */
  async join(epoch: number): Promise<void> {
    const { image } = this.#world;
    this.#epoch = epoch;
    const joined = (async () => {
      await this.partitions.start(image);
      this.replicas.apply({ changedTopics: [...image.topics()], deletedTopics: [] });
    })();
    this.#following = joined;
    await joined;
  }

  async follow(delta: MetadataDelta): Promise<void> {
    if (this.#following === null) return;
    const turn = this.#following.then(async () => {
      await this.#deaf;
      if (this.#isDown) return;
      await this.partitions.apply(delta);
      if (!this.#isDown) this.replicas.apply(delta);
    });
    this.#following = turn.catch((error: unknown) => {
      if (!this.#isDown) this.#world.fatalErrors.push(error);
    });
    if (this.#deaf === null) await this.#following;
  }

  /** It hears nothing new of the controller until the function that is returned is called. */
  deafen(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#deaf = promise;
    return () => {
      this.#deaf = null;
      resolve();
    };
  }

  losePower(): SimulatedDisk {
    this.#isDown = true;
    this.breakLinks();
    this.replicas.close();
    this.partitions.close();
    const after = this.#inner.afterPowerLoss(this.#world.prng);
    this.#inner.switchOff();
    return after;
  }

  async stop(): Promise<SimulatedDisk> {
    this.#isDown = true;
    this.breakLinks();
    this.replicas.close();
    this.partitions.close();
    await this.logs.close();
    this.#world.brokers.delete(this.id);
    return this.#inner.afterPowerLoss(this.#world.prng);
  }

  breakLinks(): void {
    for (const breakOne of [...this.#breakers]) breakOne();
  }

  #link(leader: number): ReplicaLink {
    let isClosed = false;
    return {
      fetch: (request) => {
        if (isClosed) return Promise.reject(new Error("the link is closed"));
        return this.#call(leader, request);
      },
      close: () => {
        isClosed = true;
      },
    };
  }

  #call(leader: number, request: FetchRequestInput): Promise<FetchResponse> {
    const world = this.#world;
    const { promise, resolve, reject } = Promise.withResolvers<FetchResponse>();
    const other = world.brokers.get(leader);
    if (other === undefined) return Promise.reject(new Error(`broker ${leader} is down`));
    const ends = [this.#breakers, other.#breakers];
    const breakOne = (): void => {
      for (const breakers of ends) breakers.delete(breakOne);
      reject(new Error(`the link from ${this.id} to ${leader} is cut`));
    };
    for (const breakers of ends) breakers.add(breakOne);
    const isCut = (): boolean => world.cuts.has(`${this.id}>${leader}`) || world.brokers.get(leader) !== other;
    world.clock.schedule(world.linkLatencyMs, () => {
      if (isCut()) return breakOne();
      callFetch(other.services, request, newestFetch).then((response) => {
        world.clock.schedule(world.linkLatencyMs, () => {
          if (isCut()) return breakOne();
          for (const breakers of ends) breakers.delete(breakOne);
          resolve(world.onResponse(response, this.id));
        });
      }, breakOne);
    });
    return promise;
  }
}
