import { assert, must, unreachable } from "@millrace/base/assert";
import type { Uuid } from "@millrace/storage/types";
import type { Overrides, ResourceType } from "../config/resources.ts";
import { ResourceType as Resource } from "../config/resources.ts";
import { differenceOf } from "./image-difference.ts";
import type {
  BrokerRecord,
  ControllerRecord,
  MetadataRecord,
  PartitionChangeRecord,
  PartitionExtras,
  PartitionRecord,
  RecordBatch,
} from "./records.ts";
import { ReplicaCounts } from "./replica-counts.ts";
import { collisionForm } from "./topics.ts";

/** A topic as it was at one moment: never changed in place. */
export interface TopicImage {
  readonly name: string;
  readonly id: Uuid;
  /** By index, without gaps. */
  readonly partitions: readonly PartitionImage[];
}

export interface PartitionImage extends PartitionExtras {
  readonly index: number;
  readonly replicas: readonly number[];
  readonly isr: readonly number[];
  /** -1: nobody leads. */
  readonly leader: number;
  readonly leaderEpoch: number;
  readonly partitionEpoch: number;
}

/** A partition and the topic that it is of, both as they were at one moment. */
export interface PartitionAt {
  readonly topic: TopicImage;
  readonly partition: PartitionImage;
}

export type BrokerImage = Omit<BrokerRecord, "type">;

export type ControllerImage = Omit<ControllerRecord, "type">;

/** What a batch of records changed. */
export interface MetadataDelta {
  readonly deletedTopics: readonly TopicImage[];
  /** New ones, and those that got partitions, leaders or an ISR: as they are now. */
  readonly changedTopics: readonly TopicImage[];
  /** Names of topics that were there and have other settings now. */
  readonly reconfiguredTopics: readonly string[];
  /** A dynamic setting of this or of all brokers changed: every topic may have other settings. */
  readonly isBrokerReconfigured: boolean;
  /** Ids of brokers that registered, were fenced, unfenced or removed, or of which something else is known now. */
  readonly changedBrokers: readonly number[];
}

/** What readers see: topics, settings, features, brokers. Valid until the next turn; take parts, not the whole. */
export interface MetadataImage extends Overrides {
  /** Of the last record that is in it; -1 while there is none. */
  readonly offset: number;
  readonly topicCount: number;
  readonly partitionCount: number;
  readonly features: ReadonlyMap<string, number>;
  readonly brokers: ReadonlyMap<number, BrokerImage>;
  /** Nodes of the controller quorum that said where they are. */
  readonly controllers: ReadonlyMap<number, ControllerImage>;
  /** The first producer id that no block holds. */
  readonly nextProducerId: number;
  topics(): IterableIterator<TopicImage>;
  topic(name: string): TopicImage | undefined;
  topicById(id: Uuid): TopicImage | undefined;
  /** A topic whose name differs from `name` in . and _ only. */
  collidingTopic(name: string): string | undefined;
  /** Partitions of which the broker has a replica: those that it leads or is in sync with are among them. */
  partitionsOf(brokerId: number): Generator<PartitionAt>;
  /** Names of resources of a type that have settings. */
  configuredResources(type: ResourceType): IterableIterator<string>;
}

const nothing: ReadonlyMap<string, string> = new Map();

/** The image as the metadata service holds it: changed by replay, and by nothing else. */
export class ReplayedImage implements MetadataImage {
  #offset = -1;
  #configVersion = 0;
  #partitionCount = 0;
  #nextProducerId = 0;
  #byName = new Map<string, TopicImage>();
  #byId = new Map<Uuid, TopicImage>();
  #byForm = new Map<string, Set<string>>();
  #configs = new Map<ResourceType, Map<string, Map<string, string>>>();
  #features = new Map<string, number>();
  #brokers = new Map<number, BrokerImage>();
  #controllers = new Map<number, ControllerImage>();
  #replicaCounts = new ReplicaCounts();
  /** Partitions of topics that the batch in replay has touched: copied once a batch, not once a record. */
  readonly #drafts = new Map<Uuid, PartitionImage[]>();

  get offset(): number {
    return this.#offset;
  }

  get configVersion(): number {
    return this.#configVersion;
  }

  get topicCount(): number {
    return this.#byName.size;
  }

  get partitionCount(): number {
    return this.#partitionCount;
  }

  get features(): ReadonlyMap<string, number> {
    return this.#features;
  }

  get brokers(): ReadonlyMap<number, BrokerImage> {
    return this.#brokers;
  }

  get controllers(): ReadonlyMap<number, ControllerImage> {
    return this.#controllers;
  }

  get nextProducerId(): number {
    return this.#nextProducerId;
  }

  topics(): IterableIterator<TopicImage> {
    return this.#byName.values();
  }

  topic(name: string): TopicImage | undefined {
    return this.#byName.get(name);
  }

  topicById(id: Uuid): TopicImage | undefined {
    return this.#byId.get(id);
  }

  collidingTopic(name: string): string | undefined {
    for (const other of this.#byForm.get(collisionForm(name)) ?? []) if (other !== name) return other;
    return undefined;
  }

  *partitionsOf(brokerId: number): Generator<PartitionAt> {
    for (const id of this.#replicaCounts.topicsOf(brokerId)) {
      const topic = must(this.#byId.get(id), `the topic with id ${id}`);
      for (const partition of topic.partitions) if (partition.replicas.includes(brokerId)) yield { topic, partition };
    }
  }

  configsOf(type: ResourceType, name: string): ReadonlyMap<string, string> {
    return this.#configs.get(type)?.get(name) ?? nothing;
  }

  configuredResources(type: ResourceType): IterableIterator<string> {
    return (this.#configs.get(type) ?? new Map<string, Map<string, string>>()).keys();
  }

  /** Takes over a batch, all of it. A record that does not fit is a bug of who decided it: the CRC vouches for the bytes. */
  replay(batch: RecordBatch): MetadataDelta {
    assert(batch.offset === this.#offset + 1, () => `metadata record ${batch.offset} follows ${this.#offset}`);
    const deleted: TopicImage[] = [];
    const changed = new Set<Uuid>();
    const reconfigured = new Set<string>();
    const changedBrokers = new Set<number>();
    let isBrokerReconfigured = false;
    for (const record of batch.records) {
      this.#offset++;
      switch (record.type) {
        case "topic":
          this.#addTopic({ name: record.name, id: record.id, partitions: [] });
          changed.add(record.id);
          break;
        case "partition":
          this.#addPartition(record);
          changed.add(record.topicId);
          break;
        case "partition-change":
          this.#changePartition(record);
          changed.add(record.topicId);
          break;
        case "topic-removed":
          deleted.push(this.#removeTopic(record.id));
          break;
        case "config": {
          const type = record.resourceType as ResourceType;
          this.#configure(type, record.resourceName, record.name, record.value);
          if (type === Resource.TOPIC) reconfigured.add(record.resourceName);
          if (type === Resource.BROKER) isBrokerReconfigured = true;
          break;
        }
        case "producer-ids":
          assert(record.nextId >= this.#nextProducerId, "producer ids are given once");
          this.#nextProducerId = record.nextId;
          break;
        case "feature":
          // Level 0 is that of a feature that nobody finalised.
          if (record.level === 0) this.#features.delete(record.name);
          else this.#features.set(record.name, record.level);
          break;
        case "broker":
          this.#brokers.set(record.id, record);
          changedBrokers.add(record.id);
          break;
        case "broker-removed":
          assert(this.#brokers.get(record.id)?.epoch === record.epoch, () => `broker ${record.id} is the one removed`);
          this.#brokers.delete(record.id);
          changedBrokers.add(record.id);
          break;
        case "controller":
          this.#controllers.set(record.id, record);
          break;
        case "controller-removed":
          this.#controllers.delete(record.id);
          break;
        default:
          unreachable(record);
      }
    }
    this.#drafts.clear();
    const changedTopics = [...changed].flatMap((id) => this.#byId.get(id) ?? []);
    for (const topic of changedTopics) reconfigured.delete(topic.name);
    return {
      deletedTopics: deleted,
      changedTopics,
      reconfiguredTopics: [...reconfigured],
      isBrokerReconfigured,
      changedBrokers: [...changedBrokers],
    };
  }

  /** The fewest records that make this image: what a snapshot holds. */
  *records(): Generator<MetadataRecord> {
    for (const [name, level] of this.#features) yield { type: "feature", name, level };
    for (const topic of this.#byName.values()) {
      yield { type: "topic", name: topic.name, id: topic.id };
      for (const partition of topic.partitions) yield { type: "partition", topicId: topic.id, ...partition };
    }
    for (const [resourceType, resources] of this.#configs) {
      for (const [resourceName, configs] of resources) {
        for (const [name, value] of configs) yield { type: "config", resourceType, resourceName, name, value };
      }
    }
    if (this.#nextProducerId > 0) yield { type: "producer-ids", brokerId: -1, nextId: this.#nextProducerId };
    for (const broker of this.#brokers.values()) yield { ...broker, type: "broker" };
    for (const controller of this.#controllers.values()) yield { ...controller, type: "controller" };
  }

  /** Begins from a snapshot: the fewest records, in the place of all up to and with `offset`. */
  restore(records: readonly MetadataRecord[], offset: number): void {
    assert(this.#offset === -1, "a snapshot comes first");
    this.replay({ offset: 0, timeMs: 0, records });
    this.#offset = offset;
  }

  /**
   * Becomes the image of a snapshot that is ahead of it, as a node does that was away for too long to read the log
   * from where it was. The delta is what differs between the two.
   */
  replaceBy(records: readonly MetadataRecord[], offset: number): MetadataDelta {
    assert(offset >= this.#offset, () => `a snapshot at ${offset} follows ${this.#offset}`);
    const next = new ReplayedImage();
    next.restore(records, offset);
    const delta = differenceOf(this, next);
    this.#offset = next.#offset;
    // Whoever computed something from the settings of before has to do it again.
    this.#configVersion++;
    this.#partitionCount = next.#partitionCount;
    this.#nextProducerId = next.#nextProducerId;
    this.#byName = next.#byName;
    this.#byId = next.#byId;
    this.#byForm = next.#byForm;
    this.#configs = next.#configs;
    this.#features = next.#features;
    this.#brokers = next.#brokers;
    this.#controllers = next.#controllers;
    this.#replicaCounts = next.#replicaCounts;
    return delta;
  }

  #addTopic(topic: TopicImage): void {
    assert(!this.#byName.has(topic.name), () => `topic ${topic.name} is new`);
    assert(!this.#byId.has(topic.id), () => `topic id ${topic.id} is new`);
    const form = collisionForm(topic.name);
    const alike = this.#byForm.get(form);
    if (alike === undefined) this.#byForm.set(form, new Set([topic.name]));
    else alike.add(topic.name);
    this.#set(topic);
  }

  #set(topic: TopicImage): void {
    this.#byName.set(topic.name, topic);
    this.#byId.set(topic.id, topic);
  }

  #addPartition(record: PartitionRecord): void {
    const topic = must(this.#byId.get(record.topicId), `the topic with id ${record.topicId}`);
    assert(
      record.index === topic.partitions.length,
      () => `partition ${record.index} of ${topic.name} is the next one`,
    );
    this.#partitionCount++;
    const { leader, leaderEpoch, partitionEpoch, index } = record;
    const draft = this.#draft(topic);
    const before = draft.at(-1);
    const replicas = sameList(record.replicas, before?.replicas);
    const isr = sameList(record.isr, replicas, before?.isr);
    draft.push({ index, replicas, isr, leader, leaderEpoch, partitionEpoch, ...extrasOf(record) });
    this.#replicaCounts.add(topic.id, replicas);
  }

  #changePartition(record: PartitionChangeRecord): void {
    const topic = must(this.#byId.get(record.topicId), `the topic with id ${record.topicId}`);
    const before = must(topic.partitions[record.index], `partition ${record.index} of ${topic.name}`);
    assert(record.leaderEpoch >= before.leaderEpoch, "a leader epoch never goes back");
    assert(record.partitionEpoch > before.partitionEpoch, "a partition epoch grows with each change");
    const { index, leader, leaderEpoch, partitionEpoch } = record;
    const replicas = record.replicas === null ? before.replicas : sameList(record.replicas, before.replicas);
    const isr = sameList(record.isr, replicas, before.isr);
    if (replicas !== before.replicas) {
      this.#replicaCounts.remove(topic.id, before.replicas);
      this.#replicaCounts.add(topic.id, replicas);
    }
    const changed = { index, replicas, isr, leader, leaderEpoch, partitionEpoch, ...extrasOf(record) };
    this.#draft(topic)[index] = changed;
  }

  #draft(topic: TopicImage): PartitionImage[] {
    let partitions = this.#drafts.get(topic.id);
    if (partitions === undefined) {
      partitions = [...topic.partitions];
      this.#drafts.set(topic.id, partitions);
      this.#set({ ...topic, partitions });
    }
    return partitions;
  }

  #removeTopic(id: Uuid): TopicImage {
    const topic = must(this.#byId.get(id), `the topic with id ${id}`);
    this.#byId.delete(id);
    this.#byName.delete(topic.name);
    const alike = this.#byForm.get(collisionForm(topic.name));
    alike?.delete(topic.name);
    if (alike?.size === 0) this.#byForm.delete(collisionForm(topic.name));
    if (this.#configs.get(Resource.TOPIC)?.delete(topic.name) === true) this.#configVersion++;
    this.#partitionCount -= topic.partitions.length;
    for (const { replicas } of topic.partitions) this.#replicaCounts.remove(id, replicas);
    return topic;
  }

  #configure(type: ResourceType, resource: string, name: string, value: string | null): void {
    this.#configVersion++;
    const resources = this.#configs.get(type) ?? new Map<string, Map<string, string>>();
    this.#configs.set(type, resources);
    const configs = resources.get(resource) ?? new Map<string, string>();
    resources.set(resource, configs);
    if (value === null) configs.delete(name);
    else configs.set(name, value);
    if (configs.size === 0) resources.delete(resource);
  }
}

function extrasOf({ addingReplicas, removingReplicas, elr, lastKnownElr }: PartitionExtras): PartitionExtras {
  return {
    addingReplicas: sameList(addingReplicas, nobody),
    removingReplicas: sameList(removingReplicas, nobody),
    elr: sameList(elr, nobody),
    lastKnownElr: sameList(lastKnownElr, nobody),
  };
}

const nobody: readonly number[] = [];

/** One of the known lists where it is equal: thousands of partitions have the same replicas, and lists are never changed. */
function sameList(list: readonly number[], ...known: readonly (readonly number[] | undefined)[]): readonly number[] {
  return known.find((each) => each?.length === list.length && each.every((id, at) => id === list[at])) ?? list;
}
