import { listOffsets } from "kafka-protocol-ts/messages/02-list-offsets";
import type { BrokerConnection } from "../network/broker-connection.ts";
import type { TopicPartition } from "../topic-partition.ts";
import { partitionKey } from "../topic-partition.ts";
import type { CallOptions, Calls } from "./calls.ts";
import { reply, leaderNewsMsMax, unsupported } from "./calls.ts";
import type { Outcome } from "./outcome.ts";
import { byPartition, byTopic, partitionName } from "./partitions-by-topic.ts";
import { leaderOf } from "./routes.ts";

/**
 * A place in a partition's log: its start, its end, its newest record by timestamp (Kafka 3.0), the start of what lies on
 * local disks (3.6), the end of what lies in the tiered store (3.9), the first offset that waits to be uploaded (4.2), or
 * the first record at or after a time in milliseconds.
 */
export type OffsetSpec =
  | "earliest"
  | "latest"
  | "max-timestamp"
  | "earliest-local"
  | "latest-tiered"
  | "earliest-pending-upload"
  | { readonly timestamp: number };

/** The place of one partition that is asked for. */
export interface OffsetQuery extends TopicPartition {
  /** Which place. */
  readonly at: OffsetSpec;
}

/** Whose eyes to look with. */
export interface OffsetOptions extends CallOptions {
  /** With "read_committed", "latest" is where the first open transaction begins. Default "read_uncommitted". */
  readonly isolation?: "read_uncommitted" | "read_committed";
}

/** A place in a log that was found. */
export interface ListedOffset {
  /** Null where there is no such place: no record is so young, or nothing is tiered. */
  readonly offset: number | null;
  /** Of the record that was found, in milliseconds; null where a place was asked for and no record. */
  readonly timestamp: number | null;
  /** Null where the broker does not say it. */
  readonly leaderEpoch: number | null;
}

const places = {
  latest: [-1, 0],
  earliest: [-2, 0],
  "max-timestamp": [-3, 7],
  "earliest-local": [-4, 8],
  "latest-tiered": [-5, 9],
  "earliest-pending-upload": [-6, 11],
} as const satisfies Record<string, readonly [timestamp: number, versionMin: number]>;

/** One request a leader. */
export async function listedOffsets(
  calls: Calls,
  call: string,
  queries: readonly OffsetQuery[],
  options: OffsetOptions,
): Promise<readonly Outcome<OffsetQuery, ListedOffset>[]> {
  const isolationLevel = options.isolation === "read_committed" ? 1 : 0;
  return calls.each(
    {
      call,
      items: queries,
      name: partitionName,
      route: leaderOf(calls.wire),
      topicOf: ({ topic }) => topic,
      unknownTopicMsMax: leaderNewsMsMax,
      send: async (connection, items) => {
        for (const { at } of items) requireServed(connection, at);
        const answer = await connection.request(listOffsets, (version) => ({
          replicaId: -1,
          isolationLevel,
          topics: byTopic(
            items,
            (name, partitions: { readonly partitionIndex: number; readonly timestamp: number }[]) => ({
              name,
              partitions,
            }),
            ({ partition, at }) => ({ partitionIndex: partition, timestamp: timestampOf(at) }),
          ),
          ...(version >= 10 ? { timeoutMs: calls.brokerTimeoutMs(options) } : {}),
        }));
        const said = byPartition(
          answer.topics,
          ({ name }) => name,
          ({ partitions }) => partitions.map((each) => [each.partitionIndex, each]),
        );
        return items.map((item) =>
          reply(said.get(partitionKey(item)), ({ offset, timestamp, leaderEpoch }) => ({
            offset: offset < 0 ? null : offset,
            timestamp: timestamp < 0 ? null : timestamp,
            leaderEpoch: leaderEpoch < 0 ? null : leaderEpoch,
          })),
        );
      },
    },
    options,
  );
}

function timestampOf(at: OffsetSpec): number {
  return typeof at === "string" ? places[at][0] : at.timestamp;
}

function requireServed(connection: BrokerConnection, at: OffsetSpec): void {
  if (typeof at !== "string" || connection.versionOf(listOffsets) >= places[at][1]) return;
  throw unsupported(connection, "ListOffsets", `find "${at}"`);
}
