import { KafkaError } from "../errors.ts";
import type { TopicPartition } from "../topic-partition.ts";
import { partitionKey } from "../topic-partition.ts";
import type { CallOptions, Calls } from "./calls.ts";
import { alteredOffsets, fetchedOffsets } from "./group-offsets.ts";
import { listedOffsets } from "./offsets.ts";
import type { OffsetSpec } from "./offsets.ts";
import type { Outcome } from "./outcome.ts";
import { valuesOf } from "./outcome.ts";
import { partitionName } from "./partitions-by-topic.ts";
import { anyBroker, askMetadata } from "./routes.ts";
import { fromMetadata } from "./topic-descriptions.ts";
import { brokerError } from "../errors.ts";

/**
 * Where the group shall go on: an end of the log, an offset, so many records after (or, below 0, before) where it stands,
 * the first record at or after a time, or the first one that is not older than so long. Where no record is so young, the
 * end.
 */
export type ResetTarget =
  | "earliest"
  | "latest"
  | { readonly offset: number }
  | { readonly shiftBy: number }
  | { readonly timestamp: number }
  | { readonly ageMs: number };

/** Where to, and of what. */
export interface ResetOffsetsOptions extends CallOptions {
  /** Where the group shall go on. */
  readonly to: ResetTarget;
  /** All partitions of these topics. */
  readonly topics?: readonly string[];
  /** These partitions. Absent with `topics`: those in which the group has committed. */
  readonly partitions?: readonly TopicPartition[];
  /** Nothing is committed. Default false. */
  readonly dryRun?: boolean;
}

/** Where a group stood in a partition, and where it shall go on. */
export interface OffsetReset {
  /** Null where nothing was committed. */
  readonly from: number | null;
  /** The next record to be read. */
  readonly to: number;
}

type Planned = Outcome<TopicPartition, OffsetReset>;

const call = "groups.resetOffsets";

/** Plans, and commits what could be planned. */
export async function resetOffsets(
  calls: Calls,
  groupId: string,
  options: ResetOffsetsOptions,
): Promise<readonly Planned[]> {
  const committed = await committedOf(calls, groupId, options);
  const partitions = await partitionsOf(calls, options, committed);
  const plan = await planOf(calls, { partitions, committed, options });
  if (options.dryRun === true) return plan;
  const moves = plan.flatMap((each) => (each.ok ? [{ ...each.item, offset: each.value.to }] : []));
  const done = await alteredOffsets(calls, { call, groupId, offsets: moves }, options);
  const failures = new Map(done.flatMap((each) => (each.ok ? [] : [[partitionKey(each.item), each.error]])));
  return plan.map((each): Planned => {
    const error = failures.get(partitionKey(each.item));
    return error === undefined ? each : { item: each.item, ok: false, error };
  });
}

async function committedOf(
  calls: Calls,
  groupId: string,
  options: CallOptions,
): Promise<ReadonlyMap<string, TopicPartition & { readonly offset: number }>> {
  const { timeoutMs, signal } = options;
  const fetchOptions = {
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(signal === undefined ? {} : { signal }),
  };
  const outcomes = await calls.one(fetchedOffsets(calls, [groupId], fetchOptions), fetchOptions);
  return new Map(
    outcomes.flatMap((each) => {
      if (!each.ok || each.value.offset === null) return [];
      return [[partitionKey(each.item), { ...each.item, offset: each.value.offset }]];
    }),
  );
}

async function partitionsOf(
  calls: Calls,
  options: ResetOffsetsOptions,
  committed: ReadonlyMap<string, TopicPartition>,
): Promise<readonly TopicPartition[]> {
  const { topics, partitions } = options;
  if (topics === undefined && partitions === undefined)
    return [...committed.values()].map(({ topic, partition }) => ({ topic, partition }));
  const { wire } = calls;
  const found = new Map((partitions ?? []).map((each) => [partitionKey(each), each]));
  if (topics !== undefined && topics.length > 0) {
    const answer = await calls.ask({ call, route: anyBroker(wire) }, options, (connection) =>
      askMetadata(wire, connection, { topics: topics.map((name) => ({ name })), allowAutoTopicCreation: false }),
    );
    for (const { name, errorCode, description } of answer.topics.map(fromMetadata)) {
      if (errorCode !== 0) throw brokerError(errorCode, `topic ${name}`);
      for (const { index } of description.partitions) {
        const item = { topic: description.name, partition: index };
        found.set(partitionKey(item), item);
      }
    }
  }
  return [...found.values()];
}

async function planOf(
  calls: Calls,
  parts: {
    readonly partitions: readonly TopicPartition[];
    readonly committed: ReadonlyMap<string, { readonly offset: number }>;
    readonly options: ResetOffsetsOptions;
  },
): Promise<readonly Planned[]> {
  const { partitions, committed, options } = parts;
  const listed = async (at: OffsetSpec): Promise<readonly Outcome<TopicPartition, number | null>[]> => {
    const queries = partitions.map((each) => ({ ...each, at }));
    const outcomes = await listedOffsets(calls, call, queries, options);
    return outcomes.map((each) => (each.ok ? { ...each, value: each.value.offset } : each));
  };
  const now = calls.wire.world.clock.now();
  const { to } = options;
  const spec: OffsetSpec | null =
    typeof to === "string"
      ? to
      : "timestamp" in to
        ? { timestamp: to.timestamp }
        : "ageMs" in to
          ? { timestamp: now - to.ageMs }
          : null;
  const [starts, ends, found] = await Promise.all([
    listed("earliest"),
    listed("latest"),
    spec === null || typeof spec === "string" ? null : listed(spec),
  ]);
  return partitions.map((item, at): Planned => {
    const [start, end, place] = [starts[at], ends[at], found?.[at]];
    for (const each of [start, end, place]) if (each?.ok === false) return { item, ok: false, error: each.error };
    const [startOffset, endOffset] = valuesOf([start, end].filter((each) => each !== undefined));
    const from = committed.get(partitionKey(item))?.offset ?? null;
    const wanted = wantedOffset(to, {
      from,
      start: startOffset ?? 0,
      end: endOffset ?? 0,
      found: place?.ok === true ? place.value : null,
    });
    if (wanted === null) {
      const sentence = `${partitionName(item)}: the group has committed nothing from which it could be moved`;
      return { item, ok: false, error: new KafkaError("INVALID_REQUEST", sentence) };
    }
    const value = { from, to: Math.min(Math.max(wanted, startOffset ?? 0), endOffset ?? 0) };
    return { item, ok: true, value };
  });
}

function wantedOffset(
  to: ResetTarget,
  known: {
    readonly from: number | null;
    readonly start: number;
    readonly end: number;
    readonly found: number | null;
  },
): number | null {
  const { from, start, end, found } = known;
  if (to === "earliest") return start;
  if (to === "latest") return end;
  if ("offset" in to) return to.offset;
  if ("shiftBy" in to) return from === null ? null : from + to.shiftBy;
  return found ?? end;
}
