import { failed, ok } from "@millrace/base/result";
import type { Uuid } from "@millrace/storage/types";
import { ResourceType } from "../../config/resources.ts";
import type { MetadataRecord, PartitionRecord } from "../records.ts";
import { collisionForm, metadataTopic, validateTopicName } from "../topics.ts";
import { checkTopicConfigs } from "./alter-configs.ts";
import { duplicatesOf } from "./decision.ts";
import type { Decision, DecisionContext, ItemResult } from "./decision.ts";
import { checkReplicas, newPartition, placeableBrokers, placeReplicas, startOf } from "./replicas.ts";

/** A topic as a client asks for it. */
export interface TopicWish {
  readonly name: string;
  /** -1: the broker's default, or as many as there are assignments. */
  readonly numPartitions: number;
  /** -1: the broker's default, or as the assignments have it. */
  readonly replicationFactor: number;
  readonly assignments: readonly { readonly partitionIndex: number; readonly brokerIds: readonly number[] }[];
  readonly configs: readonly { readonly name: string; readonly value: string | null }[];
}

export interface CreatedTopic {
  readonly id: Uuid;
  readonly numPartitions: number;
  readonly replicationFactor: number;
  readonly overrides: ReadonlyMap<string, string>;
}

/** One result for each wish, in order. Each topic is created or not by itself. */
export function createTopics(
  context: DecisionContext,
  wishes: readonly TopicWish[],
): Decision<readonly ItemResult<CreatedTopic>[]> {
  const limit = context.configs.broker["millrace.partitions.per.request.max"];
  if (partitionsOf(context, wishes) > limit) {
    const refused = failed("too-many-partitions" as const, "Excessively large number of partitions per request.");
    return { response: wishes.map(() => refused), records: [] };
  }
  const duplicates = duplicatesOf(wishes.map(({ name }) => name));
  const records: MetadataRecord[] = [];
  /** Names that this request has taken, by their form: they collide with later ones of it. */
  const taken = new Map<string, string>();
  const response = wishes.map((wish): ItemResult<CreatedTopic> => {
    if (duplicates.has(wish.name)) return failed("bad-request", "Duplicate topic name.");
    const named = checkName(context, wish.name, taken);
    if (!named.ok) return named;
    const configs = checkTopicConfigs(context, wish.configs);
    if (!configs.ok) return configs;
    const id = context.newTopicId();
    const isAssigned = wish.assignments.length > 0;
    const replicas = isAssigned ? assigned(context, wish) : placed(context, wish, id);
    if (!replicas.ok) return replicas;
    const partitions = newPartitions(context, { topicId: id, firstIndex: 0, replicas: replicas.value, isAssigned });
    if (!partitions.ok) return partitions;
    taken.set(collisionForm(wish.name), wish.name);
    records.push({ type: "topic", name: wish.name, id });
    records.push(...partitions.value);
    for (const [name, value] of configs.value) {
      records.push({ type: "config", resourceType: ResourceType.TOPIC, resourceName: wish.name, name, value });
    }
    return ok({
      id,
      numPartitions: replicas.value.length,
      replicationFactor: replicas.value[0]?.length ?? 0,
      overrides: configs.value,
    });
  });
  return { response, records };
}

function partitionsOf({ configs }: DecisionContext, wishes: readonly TopicWish[]): number {
  let count = 0;
  for (const { numPartitions, assignments } of wishes) {
    if (assignments.length > 0) count += assignments.length;
    else if (numPartitions === -1) count += configs.broker["num.partitions"];
    else count += Math.max(0, numPartitions);
  }
  return count;
}

/** New partitions of a topic, each with a leader. */
export function newPartitions(
  { image }: DecisionContext,
  added: {
    readonly topicId: Uuid;
    readonly firstIndex: number;
    readonly replicas: readonly (readonly number[])[];
    /** The client chose the replicas. */
    readonly isAssigned: boolean;
  },
): ItemResult<readonly PartitionRecord[]> {
  const records: PartitionRecord[] = [];
  for (const [offset, replicas] of added.replicas.entries()) {
    const index = added.firstIndex + offset;
    const partition = newPartition(image, { topicId: added.topicId, index, replicas });
    if (partition !== null) {
      records.push(partition);
      continue;
    }
    if (!added.isAssigned) {
      return failed(
        "invalid-replication-factor",
        `Unable to replicate the partition ${replicas.length} time(s): All brokers are currently fenced or in controlled shutdown.`,
      );
    }
    return failed(
      "invalid-assignment",
      `All brokers specified in the manual partition assignment for partition ${index} are fenced or in controlled shutdown.`,
    );
  }
  return ok(records);
}

function checkName(context: DecisionContext, name: string, taken: ReadonlyMap<string, string>): ItemResult<string> {
  if (name === metadataTopic) {
    return failed("bad-request", `Creation of internal topic ${metadataTopic} is prohibited.`);
  }
  const valid = validateTopicName(name);
  if (!valid.ok) return valid;
  if (context.image.topic(name) !== undefined) return failed("topic-exists", `Topic '${name}' already exists.`);
  const colliding = context.image.collidingTopic(name) ?? taken.get(collisionForm(name));
  if (colliding === undefined) return valid;
  return failed("invalid-topic-name", `Topic '${name}' collides with existing topic: ${colliding}`);
}

/** Where the broker chooses. */
function placed(context: DecisionContext, wish: TopicWish, id: Uuid): ItemResult<readonly (readonly number[])[]> {
  const { broker } = context.configs;
  if (wish.replicationFactor < -1 || wish.replicationFactor === 0) {
    return failed(
      "invalid-replication-factor",
      "Replication factor must be larger than 0, or -1 to use the default value.",
    );
  }
  if (wish.numPartitions < -1 || wish.numPartitions === 0) {
    return failed("invalid-partitions", "Number of partitions was set to an invalid non-positive value.");
  }
  return placeReplicas({
    brokers: placeableBrokers(context.image),
    count: wish.numPartitions === -1 ? broker["num.partitions"] : wish.numPartitions,
    replicationFactor: wish.replicationFactor === -1 ? broker["default.replication.factor"] : wish.replicationFactor,
    start: startOf(id),
  });
}

/** Where the client chose. */
function assigned(context: DecisionContext, wish: TopicWish): ItemResult<readonly (readonly number[])[]> {
  const given = "A manual partition assignment was specified, but";
  if (wish.replicationFactor !== -1) return failed("bad-request", `${given} replication factor was not set to -1.`);
  if (wish.numPartitions !== -1) return failed("bad-request", `${given} numPartitions was not set to -1.`);
  const replicas: (readonly number[])[] = [];
  for (const { partitionIndex, brokerIds } of wish.assignments) {
    if (replicas[partitionIndex] !== undefined) {
      return failed(
        "invalid-assignment",
        `Found multiple manual partition assignments for partition ${partitionIndex}`,
      );
    }
    const isInRange = partitionIndex >= 0 && partitionIndex < wish.assignments.length;
    if (!isInRange) {
      return failed("invalid-assignment", "partitions should be a consecutive 0-based integer sequence");
    }
    const checked = checkReplicas(context.image, brokerIds, wish.assignments[0]?.brokerIds.length ?? null);
    if (!checked.ok) return checked;
    replicas[partitionIndex] = checked.value;
  }
  return ok(replicas);
}
