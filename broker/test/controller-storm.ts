import { Prng } from "@millrace/base/prng";
import { BrokerConfigs } from "@millrace/broker/config/broker-configs";
import { ResourceType } from "@millrace/broker/config/resources";
import { alterConfigs } from "@millrace/broker/metadata/controller/alter-configs";
import { alterPartitions } from "@millrace/broker/metadata/controller/alter-partition";
import { fenceBroker, unregisterBroker } from "@millrace/broker/metadata/controller/brokers";
import { createPartitions } from "@millrace/broker/metadata/controller/create-partitions";
import { createTopics } from "@millrace/broker/metadata/controller/create-topics";
import type { Decision, DecisionContext } from "@millrace/broker/metadata/controller/decision";
import { deleteTopics } from "@millrace/broker/metadata/controller/delete-topics";
import {
  electLeaders,
  electMissingLeaders,
  rebalanceLeaders,
} from "@millrace/broker/metadata/controller/elect-leaders";
import { UpgradeType, updateFeatures } from "@millrace/broker/metadata/controller/features";
import { BrokerSessions, heartbeat } from "@millrace/broker/metadata/controller/heartbeats";
import { isActive, keepsEligibleLeaders } from "@millrace/broker/metadata/controller/partition-changes";
import { alterReassignments, isMoving } from "@millrace/broker/metadata/controller/reassignments";
import { registerBroker } from "@millrace/broker/metadata/controller/registration";
import { clusterFeatures } from "@millrace/broker/metadata/features";
import { ReplayedImage } from "@millrace/broker/metadata/image";
import type { MetadataDelta, PartitionAt, PartitionImage } from "@millrace/broker/metadata/image";
import type { MetadataRecord } from "@millrace/broker/metadata/records";
import { registration, wish } from "./metadata-world.ts";

const brokerIds = [1, 2, 3, 4, 5];
const sessionMs = 9000;

/** A process under a broker id. What it has of each partition is in `Data`. */
interface Process {
  epoch: number;
  isUp: boolean;
  /** It was told to stop, and asks whether it may. */
  wantsToStop: boolean;
  /** When it stopped, records were missing that it had acknowledged. */
  hasLost: boolean;
  metadataOffset: number;
}

/** The records of one partition, by who has them. A record is a number that is given once. */
interface Data {
  readonly logs: Map<number, number[]>;
  /** Acknowledged: whoever leads has them. */
  committed: number[];
}

export interface StormCounts {
  steps: number;
  elections: number;
  uncleanElections: number;
  committed: number;
  movesEnded: number;
  eligibleLeadersElected: number;
  refused: number;
}

/**
 * A cluster of five brokers in bad weather, seen from its controller: brokers come, fall silent, lose records and stop,
 * topics come, move and go, leaders propose what they please. The partitions have records, and after each decision all
 * that was acknowledged must be with whoever may lead.
 */
export class ControllerStorm {
  readonly image = new ReplayedImage();
  readonly counts: StormCounts = {
    steps: 0,
    elections: 0,
    uncleanElections: 0,
    committed: 0,
    movesEnded: 0,
    eligibleLeadersElected: 0,
    refused: 0,
  };
  readonly #random: Prng;
  readonly #context: DecisionContext;
  readonly #sessions = new BrokerSessions();
  readonly #processes = new Map<number, Process>();
  readonly #data = new Map<string, Data>();
  /** Brokers may lose records that they had acknowledged: machines crash, and nothing is synced. */
  readonly #losesRecords: boolean;
  #nowMs = 0;
  #nextRecord = 0;
  /** What may lead without having everything: this decision was asked for it. */
  #isUncleanAllowed = false;
  /** The decision is about what a leader says of its followers. */
  #isProposed = false;

  constructor(seed: number) {
    this.#random = new Prng(seed);
    this.#losesRecords = this.#random.chance(0.5);
    const texts = new Map([["min.insync.replicas", this.#random.chance(0.7) ? "2" : "1"]]);
    this.#context = {
      image: this.image,
      configs: new BrokerConfigs({ nodeId: 1, texts, overrides: this.image }),
      newTopicId: () => this.#random.bytes(16).toString("base64url"),
    };
    if (this.#random.chance(0.6)) this.#keepEligibleLeaders(true);
  }

  /** One event. What it breaks is thrown. */
  step(): void {
    this.counts.steps++;
    this.#nowMs += this.#random.between(0, 1000);
    const roll = this.#random.fraction();
    if (roll < 0.3) for (let move = 0; move < 6; move++) this.#move();
    else if (roll < 0.55) this.#propose();
    else if (roll < 0.75) this.#heartbeat(this.#anyBroker());
    else if (roll < 0.83) this.#start(this.#anyBroker());
    else if (roll < 0.88) this.#stop(this.#anyBroker());
    else if (roll < 0.92) this.#fenceExpired();
    else this.#administer();
  }

  /** The weather is fine: all come back, catch up, and every partition has the leader that it should have. */
  calm(): void {
    // Whoever died is dead to all: its id is free.
    this.#nowMs += sessionMs;
    for (let round = 0; round < 8; round++) {
      for (const id of brokerIds) {
        const process = this.#processes.get(id);
        const broker = this.image.brokers.get(id);
        const isGoing = broker === undefined || broker.isInControlledShutdown;
        // Whoever was about to stop stops, and comes back.
        if (process !== undefined && isGoing) process.isUp = false;
        if (process !== undefined) process.wantsToStop = false;
        if (isGoing) this.#follow(fenceBroker(this.#context, id));
        if (this.#processes.get(id)?.isUp !== true) this.#start(id);
        this.#heartbeat(id, true);
      }
      for (const at of this.#partitions()) {
        for (const id of at.partition.replicas) this.#replicate(at, id, true);
        this.#expand(at);
      }
    }
    while (this.#follow(rebalanceLeaders(this.#context)).hasMore);
    for (const { topic, partition } of this.#partitions()) {
      const name = `${topic.name}-${partition.index}`;
      const { leader, replicas, isr, elr, lastKnownElr } = partition;
      const state = JSON.stringify(partition);
      require(!isMoving(partition), () => `${name} has come to the end of its move: ${state}`);
      require(leader === replicas[0], () => `${name} is led by its first replica: ${state}`);
      require(isr.length === replicas.length, () => `${name} has all replicas in sync: ${state}`);
      require(elr.length + lastKnownElr.length === 0, () => `${name} needs no eligible leaders: ${state}`);
    }
  }

  *#partitions(): Generator<PartitionAt> {
    for (const { id } of [...this.image.topics()]) {
      const { length } = this.image.topicById(id)?.partitions ?? [];
      for (let index = 0; index < length; index++) {
        const topic = this.image.topicById(id);
        const partition = topic?.partitions[index];
        if (topic !== undefined && partition !== undefined) yield { topic, partition };
      }
    }
  }

  #some<T>(items: readonly T[]): T[] {
    return items.filter(() => this.#random.chance(0.5));
  }

  #anyBroker(): number {
    return this.#random.pick(brokerIds);
  }

  #anyPartition(): PartitionAt | undefined {
    const all = [...this.#partitions()];
    return all.length === 0 ? undefined : this.#random.pick(all);
  }

  #dataOf({ topic, partition }: PartitionAt): Data {
    const key = `${topic.id} ${partition.index}`;
    let data = this.#data.get(key);
    if (data === undefined) this.#data.set(key, (data = { logs: new Map(), committed: [] }));
    return data;
  }

  #logOf(at: PartitionAt, broker: number): number[] {
    const { logs } = this.#dataOf(at);
    let log = logs.get(broker);
    if (log === undefined) logs.set(broker, (log = []));
    return log;
  }

  // --- Records -------------------------------------------------------------------------------------------------------

  /** A leader takes a record, a follower gets some, or what all in sync have is acknowledged. */
  #move(): void {
    const at = this.#anyPartition();
    if (at === undefined || this.#processes.get(at.partition.leader)?.isUp !== true) return;
    const roll = this.#random.fraction();
    if (roll < 0.3) this.#logOf(at, at.partition.leader).push(this.#nextRecord++);
    else if (roll < 0.7) this.#replicate(at, this.#random.pick(at.partition.replicas));
    else this.#commit(at);
  }

  #replicate(at: PartitionAt, follower: number, isAll = false): void {
    const { leader } = at.partition;
    if (leader === -1 || follower === leader || this.#processes.get(follower)?.isUp !== true) return;
    if (this.#processes.get(leader)?.isUp !== true) return;
    const log = this.#logOf(at, leader);
    const known = this.#logOf(at, follower);
    let same = 0;
    while (same < log.length && known[same] === log[same]) same++;
    const upTo = isAll ? log.length : this.#random.between(same, log.length);
    this.#dataOf(at).logs.set(follower, log.slice(0, upTo));
  }

  #commit(at: PartitionAt): void {
    const { isr, leader, replicas } = at.partition;
    const minInSync = this.#context.configs.topic(at.topic.name)["min.insync.replicas"];
    // With eligible leaders nothing is committed while too few are in sync (KIP-966).
    if (keepsEligibleLeaders(this.image) && isr.length < Math.min(minInSync, replicas.length)) return;
    // A follower that is gone has not said that it has anything.
    if (isr.some((id) => this.#processes.get(id)?.isUp !== true)) return;
    const log = this.#logOf(at, leader);
    const isShared = (record: number, index: number): boolean =>
      isr.every((id) => this.#logOf(at, id)[index] === record);
    const firstMissing = log.findIndex((record, index) => !isShared(record, index));
    const highWatermark = firstMissing === -1 ? log.length : firstMissing;
    const data = this.#dataOf(at);
    if (highWatermark <= data.committed.length) return;
    this.counts.committed += highWatermark - data.committed.length;
    data.committed = log.slice(0, highWatermark);
  }

  #propose(): void {
    const at = this.#anyPartition();
    if (at === undefined) return;
    if (this.#random.chance(0.7)) {
      this.#expand(at);
      return;
    }
    const { partition, topic } = at;
    const sender = this.#random.chance(0.8) ? partition.leader : this.#anyBroker();
    const isStale = this.#random.chance(0.2);
    const newIsr = this.#some(partition.replicas).filter((id) => id === sender || partition.isr.includes(id));
    if (!newIsr.includes(sender) && this.#random.chance(0.9)) newIsr.push(sender);
    const decision = alterPartitions(this.#context, this.#senderOf(sender), [
      {
        topicId: topic.id,
        partitionIndex: partition.index,
        leaderEpoch: partition.leaderEpoch - (isStale && this.#random.chance(0.5) ? 1 : 0),
        partitionEpoch: partition.partitionEpoch - (isStale ? 1 : 0),
        newIsr: newIsr.map((brokerId) => ({ brokerId, brokerEpoch: this.image.brokers.get(brokerId)?.epoch ?? 0 })),
      },
    ]);
    require(!isStale || decision.records.length === 0, () => "what is based on an old state changes nothing");
    this.#followProposal(decision);
  }

  /** The leader proposes everybody who has what it has. */
  #expand(at: PartitionAt): void {
    const { partition, topic } = at;
    const { leader, isr, replicas, leaderEpoch, partitionEpoch } = partition;
    if (leader === -1 || this.#processes.get(leader)?.isUp !== true) return;
    const log = this.#logOf(at, leader);
    const hasAll = (id: number): boolean => {
      const own = this.#logOf(at, id);
      return own.length === log.length && own.every((record, index) => record === log[index]);
    };
    const isUp = (id: number): boolean => this.#processes.get(id)?.isUp === true;
    const caughtUp = replicas.filter((id) => isr.includes(id) || (isUp(id) && hasAll(id)));
    const newIsr = caughtUp.filter((id) => id === leader || isActive(this.image.brokers.get(id)));
    const proposed = newIsr.map((brokerId) => ({
      brokerId,
      brokerEpoch: this.#processes.get(brokerId)?.epoch ?? -1,
    }));
    const proposal = { topicId: topic.id, partitionIndex: partition.index, leaderEpoch, partitionEpoch };
    this.#followProposal(alterPartitions(this.#context, this.#senderOf(leader), [{ ...proposal, newIsr: proposed }]));
  }

  #followProposal(decision: Decision<unknown>): void {
    this.#isProposed = true;
    this.#follow(decision);
    this.#isProposed = false;
  }

  #senderOf(brokerId: number): { readonly brokerId: number; readonly brokerEpoch: number } {
    return { brokerId, brokerEpoch: this.#processes.get(brokerId)?.epoch ?? -1 };
  }

  // --- Brokers -------------------------------------------------------------------------------------------------------

  #start(id: number): void {
    const before = this.#processes.get(id);
    if (before?.isUp === true) return;
    const isClean = before !== undefined && !before.hasLost;
    const decided = registerBroker(
      this.#context,
      { ...registration(id, `rack ${id % 3}`), previousBrokerEpoch: isClean ? before.epoch : -1 },
      { isAlive: (broker) => this.#random.chance(0.3) && this.#sessions.isAlive(broker, this.#nowMs, sessionMs) },
    );
    if (!decided.response.ok) return;
    if (before?.hasLost === true) this.#excuseLosses(id, decided.records);
    this.#follow(decided);
    const { brokerEpoch } = decided.response.value;
    const process = { epoch: brokerEpoch, isUp: true, wantsToStop: false, hasLost: false, metadataOffset: -1 };
    this.#processes.set(id, process);
    this.#sessions.touch(id, this.#nowMs, -1);
  }

  /** Without eligible leaders the last one in sync is believed, whatever it has lost: Kafka's bargain before KIP-966. */
  #excuseLosses(id: number, records: readonly MetadataRecord[]): void {
    if (keepsEligibleLeaders(this.image)) return;
    for (const at of this.#partitions()) {
      const { topic, partition } = at;
      const change = records.find(
        (record) =>
          record.type === "partition-change" && record.topicId === topic.id && record.index === partition.index,
      );
      const { isr, elr } = change?.type === "partition-change" ? change : partition;
      const data = this.#dataOf(at);
      const isLast = isr.length === 0 ? elr.includes(id) : isr.length === 1 && isr.includes(id);
      if (isLast) data.committed = commonPart(data.committed, this.#logOf(at, id));
    }
  }

  #stop(id: number): void {
    const process = this.#processes.get(id);
    if (process?.isUp !== true) return;
    if (this.#random.chance(0.5)) {
      process.wantsToStop = true;
      return;
    }
    process.isUp = false;
    if (!this.#losesRecords || this.#random.chance(0.5)) return;
    process.hasLost = true;
    for (const at of this.#partitions()) {
      const log = this.#logOf(at, id);
      log.length = this.#random.between(0, log.length);
    }
  }

  #heartbeat(id: number, isCalm = false): void {
    const process = this.#processes.get(id);
    if (process?.isUp !== true) return;
    process.metadataOffset = isCalm || this.#random.chance(0.9) ? this.image.offset : process.metadataOffset;
    this.#sessions.touch(id, this.#nowMs, process.metadataOffset);
    const decision = heartbeat(this.#context, this.#sessions, {
      brokerId: id,
      brokerEpoch: process.epoch,
      currentMetadataOffset: process.metadataOffset,
      wantFence: !isCalm && this.#random.chance(0.03),
      wantShutDown: process.wantsToStop,
    });
    this.#follow(decision);
    if (decision.response.ok && decision.response.value.shouldShutDown) process.isUp = false;
    // It was unregistered: what it was is of no use to it, and it starts anew.
    if (!decision.response.ok) process.isUp = false;
  }

  #fenceExpired(): void {
    const [silent] = this.#sessions.expired(this.image, this.#nowMs, sessionMs);
    if (silent !== undefined) this.#follow(fenceBroker(this.#context, silent));
  }

  // --- Administrators ------------------------------------------------------------------------------------------------

  #administer(): void {
    const roll = this.#random.fraction();
    const at = this.#anyPartition();
    if (at === undefined || (roll < 0.2 && this.image.topicCount < 4)) this.#createTopic();
    else if (roll < 0.25) this.#follow(deleteTopics(this.#context, [{ name: at.topic.name, id: null }]));
    else if (roll < 0.3) this.#addPartition(at);
    else if (roll < 0.6) this.#reassign(at);
    else if (roll < 0.7) this.#setMinInSync(at);
    else if (roll < 0.78) this.#follow(rebalanceLeaders(this.#context));
    else if (roll < 0.83) this.#elect(at);
    else if (roll < 0.88) this.#uncleanly(() => this.#follow(electMissingLeaders(this.#context)));
    else if (roll < 0.91) this.#follow(unregisterBroker(this.#context, this.#anyBroker()));
    else if (roll < 0.93) this.#sessions.reset(this.image, this.#nowMs);
    else if (roll < 0.96) this.#keepEligibleLeaders(this.#random.chance(0.8));
    else this.#fenceExpired();
  }

  #createTopic(): void {
    const name = `t${this.#nextRecord++}`;
    const numPartitions = this.#random.between(1, 3);
    const replicationFactor = this.#random.between(1, 3);
    const isUnclean = this.#random.chance(0.1);
    const configs = isUnclean ? [{ name: "unclean.leader.election.enable", value: "true" }] : [];
    this.#follow(createTopics(this.#context, [wish(name, { numPartitions, replicationFactor, configs })]));
  }

  #addPartition({ topic }: PartitionAt): void {
    if (topic.partitions.length >= 4) return;
    const count = topic.partitions.length + 1;
    this.#follow(createPartitions(this.#context, [{ name: topic.name, count, assignments: null }]));
  }

  #reassign({ topic, partition }: PartitionAt): void {
    const target = this.#random.chance(0.25) ? null : this.#some(brokerIds).slice(0, 3).reverse();
    const move = { topic: topic.name, partitionIndex: partition.index, replicas: target };
    this.#follow(alterReassignments(this.#context, [move]));
  }

  #setMinInSync({ topic }: PartitionAt): void {
    const value = this.#random.pick(["1", "2", "3"]);
    const ofCluster = this.#random.chance(0.3);
    const changes = [{ name: "min.insync.replicas", operation: 0, value }];
    const resource = ofCluster
      ? { type: ResourceType.BROKER, name: "", changes, replacesAll: false }
      : { type: ResourceType.TOPIC, name: topic.name, changes, replacesAll: false };
    const both = this.#random.chance(0.3);
    const other = { type: ResourceType.TOPIC, name: topic.name, changes, replacesAll: false };
    this.#follow(alterConfigs(this.#context, both && ofCluster ? [resource, other] : [resource]));
  }

  #elect({ topic, partition }: PartitionAt): void {
    const kind = this.#random.chance(0.7) ? "preferred" : "unclean";
    const names = [{ topic: topic.name, partitionIndex: partition.index }];
    const elect = (): unknown => this.#follow(electLeaders(this.#context, kind, names));
    if (kind === "unclean") this.#uncleanly(elect);
    else elect();
  }

  #keepEligibleLeaders(areKept: boolean): void {
    const how = areKept
      ? { level: 1, upgradeType: UpgradeType.UPGRADE }
      : { level: 0, upgradeType: UpgradeType.SAFE_DOWNGRADE };
    const update = { feature: "eligible.leader.replicas.version", ...how };
    this.#follow(updateFeatures(this.#context, [update], clusterFeatures));
  }

  #uncleanly(decide: () => unknown): void {
    this.#isUncleanAllowed = true;
    decide();
    this.#isUncleanAllowed = false;
  }

  // --- What must hold ------------------------------------------------------------------------------------------------

  #follow<T>(decision: Decision<T>): T {
    const { records, response } = decision;
    if (records.length === 0) {
      this.counts.refused++;
      return response;
    }
    const before = new Map([...this.#partitions()].map((at) => [`${at.topic.id} ${at.partition.index}`, at.partition]));
    const delta = this.image.replay({ offset: this.image.offset + 1, timeMs: 0, records });
    this.#dropLogs(delta);
    for (const at of this.#partitions()) {
      const was = before.get(`${at.topic.id} ${at.partition.index}`);
      if (was === at.partition) continue;
      if (was !== undefined) this.#checkChange(at, was);
      this.#checkPartition(at);
    }
    // What a broker is decides who may lead: then partitions that did not change are looked at, too.
    if (delta.changedBrokers.length > 0) for (const at of this.#partitions()) this.#checkPartition(at);
    return response;
  }

  /** A replica that is taken away deletes what it has. */
  #dropLogs({ changedTopics }: MetadataDelta): void {
    for (const topic of changedTopics) {
      for (const partition of topic.partitions) {
        const { logs } = this.#dataOf({ topic, partition });
        for (const id of logs.keys()) if (!partition.replicas.includes(id)) logs.delete(id);
      }
    }
  }

  #checkChange(at: PartitionAt, before: PartitionImage): void {
    const after = at.partition;
    const states = (): string => `${JSON.stringify(before)} -> ${JSON.stringify(after)}`;
    require(after.partitionEpoch > before.partitionEpoch, () => `a partition epoch grows: ${states()}`);
    require(after.leaderEpoch >= before.leaderEpoch, () => `a leader epoch never goes back: ${states()}`);
    if (isMoving(before) && !isMoving(after)) this.counts.movesEnded++;
    if (after.leader === before.leader) return;
    this.counts.elections++;
    require(after.leaderEpoch > before.leaderEpoch, () => `a new leader has a new epoch: ${states()}`);
    if (after.leader === -1 || before.isr.includes(after.leader)) return;
    // The leader of before said that they have everything.
    if (this.#isProposed) return;
    if (before.elr.includes(after.leader)) {
      this.counts.eligibleLeadersElected++;
      require(!before.isr.some((id) => after.isr.includes(id)), () => `ISR members come first: ${states()}`);
      return;
    }
    const isUncleanTopic = this.#context.configs.topic(at.topic.name)["unclean.leader.election.enable"];
    const ledLast = before.lastKnownElr.includes(after.leader) && before.isr.length === 0;
    require(this.#isUncleanAllowed || isUncleanTopic || ledLast, () => `an election is clean: ${states()}`);
    this.counts.uncleanElections++;
    const data = this.#dataOf(at);
    data.committed = commonPart(data.committed, this.#logOf(at, after.leader));
  }

  #checkPartition(at: PartitionAt): void {
    const { leader, replicas, isr, elr, lastKnownElr, addingReplicas, removingReplicas } = at.partition;
    const state = (what: string) => (): string => `${at.topic.name}: ${what}: ${JSON.stringify(at.partition)}`;
    const isHere = (id: number): boolean => replicas.includes(id);
    const active = (id: number): boolean => isActive(this.image.brokers.get(id));
    for (const list of [replicas, isr, elr, addingReplicas, removingReplicas]) {
      require(new Set(list).size === list.length && list.every(isHere), state("lists hold replicas, each once"));
    }
    require(leader === -1 || (isr.includes(leader) && active(leader)), state("the leader is in sync and alive"));
    require(isr.every((id) => active(id)) || (isr.length === 1 && leader === -1), state("only the last one stays"));
    require(!elr.some((id) => isr.includes(id)), state("ELR and ISR have no one in common"));
    require(isr.length + elr.length + lastKnownElr.length > 0, state("somebody has everything, or had it last"));
    require(isr.length > 0 || elr.length > 0 || !lastKnownElr.some(active), state("who led last leads again"));
    const couldLead = [...isr, ...(isr.length === 0 ? elr : [])].some(active);
    require(leader !== -1 || !couldLead, state("whoever can lead leads"));
    const isDone = replicas.every((id) => removingReplicas.includes(id) || isr.includes(id));
    require(!isMoving(at.partition) || !isDone, state("a move that has all it needs has ended"));
    const minInSync = this.#context.configs.topic(at.topic.name)["min.insync.replicas"];
    require(elr.length === 0 || isr.length < Math.min(minInSync, replicas.length), state("ELR is for too few in sync"));
    this.#checkRecords(at);
  }

  /** Whoever leads, or may lead next, has all that was acknowledged, unless it has lost it since. */
  #checkRecords(at: PartitionAt): void {
    const { committed } = this.#dataOf(at);
    for (const id of [...at.partition.isr, ...at.partition.elr]) {
      if (this.#processes.get(id)?.hasLost === true) continue;
      const log = this.#logOf(at, id);
      require(committed.every((record, index) => log[index] === record), () =>
        `broker ${id} has [${log}] of [${committed}] in ${at.topic.name}: ${JSON.stringify(at.partition)}`);
    }
  }
}

function commonPart(a: readonly number[], b: readonly number[]): number[] {
  const end = a.findIndex((record, index) => record !== b[index]);
  return a.slice(0, end === -1 ? a.length : end);
}

function require(holds: boolean, what: () => string): void {
  if (!holds) throw new Error(what());
}
