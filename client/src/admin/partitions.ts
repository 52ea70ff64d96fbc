import { electLeaders } from "kafka-protocol-ts/messages/43-elect-leaders";
import { alterPartitionReassignments } from "kafka-protocol-ts/messages/45-alter-partition-reassignments";
import { listPartitionReassignments } from "kafka-protocol-ts/messages/46-list-partition-reassignments";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { brokerError } from "../errors.ts";
import type { TopicPartition } from "../topic-partition.ts";
import { partitionKey } from "../topic-partition.ts";
import type { BrokerConnection } from "../network/broker-connection.ts";
import type { CallOptions, Calls, Reply } from "./calls.ts";
import { check, reply, unsupported } from "./calls.ts";
import type { Outcome } from "./outcome.ts";
import { byPartition, byTopic, partitionName } from "./partitions-by-topic.ts";
import { controller } from "./routes.ts";

/** "not-needed": the leader is the right one already. */
export type Election = "elected" | "not-needed";

/** Which kind of election. */
export interface ElectLeadersOptions extends CallOptions {
  /** "preferred": the first replica; "unclean": any replica, where no other is left and records may be lost. */
  readonly kind?: "preferred" | "unclean";
}

/** Where the replicas of a partition shall lie, the preferred leader first. */
export interface Reassignment extends TopicPartition {
  /** Ids of brokers. */
  readonly replicas: readonly number[];
}

/** What a move may change. */
export interface ReassignOptions extends CallOptions {
  /** Refused unless there are as many replicas as before (Kafka 4.1). Default true. */
  readonly mayChangeReplicationFactor?: boolean;
}

/** A move that is under way. */
export interface OngoingReassignment extends TopicPartition {
  /** Those that are there and those that come. */
  readonly replicas: readonly number[];
  /** Those that come. */
  readonly addingReplicas: readonly number[];
  /** Those that go when the others are there. */
  readonly removingReplicas: readonly number[];
}

const elections = { preferred: 0, unclean: 1 } as const;

/**
 * Who leads partitions, and where their replicas lie.
 *
 * @example
 *     await admin.partitions.electLeaders([{ topic: "orders", partition: 0 }]);
 */
export class PartitionsAdmin {
  readonly #calls: Calls;

  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /**
   * Elects leaders of partitions, or of all that need it.
   *
   * Outcomes fail with PREFERRED_LEADER_NOT_AVAILABLE, ELIGIBLE_LEADERS_NOT_AVAILABLE, UNKNOWN_TOPIC_OR_PARTITION.
   */
  async electLeaders(
    partitions: readonly TopicPartition[] | "all",
    options: ElectLeadersOptions = {},
  ): Promise<readonly Outcome<TopicPartition, Election>[]> {
    const call = "partitions.electLeaders";
    const route = controller(this.#calls.wire);
    if (partitions === "all") {
      return this.#calls.ask({ call, route }, options, async (connection) =>
        [...(await this.#elect(connection, null, options)).values()].map(
          ({ item, told }): Outcome<TopicPartition, Election> => {
            const said = electionOf(told);
            if (said?.ok === true) return { item, ok: true, value: said.value };
            const broker = connection.name;
            return {
              item,
              ok: false,
              error: brokerError(told.errorCode, partitionName(item), told.errorMessage, { broker }),
            };
          },
        ),
      );
    }
    return this.#calls.each(
      {
        call,
        items: partitions,
        name: partitionName,
        topicOf: ({ topic }) => topic,
        route,
        send: async (connection, items) => {
          const said = await this.#elect(connection, items, options);
          return items.map((item) => electionOf(said.get(partitionKey(item))?.told));
        },
      },
      options,
    );
  }

  /**
   * Begins to move replicas; the call does not wait for the end, which `listReassignments` shows.
   *
   *     await admin.partitions.reassign([{ topic: "orders", partition: 0, replicas: [2, 3] }]);
   *
   * Outcomes fail with INVALID_REPLICA_ASSIGNMENT, INVALID_REPLICATION_FACTOR, UNKNOWN_TOPIC_OR_PARTITION.
   */
  async reassign(
    reassignments: readonly Reassignment[],
    options: ReassignOptions = {},
  ): Promise<readonly Outcome<Reassignment>[]> {
    const replicasOf = ({ replicas }: Reassignment): readonly number[] => replicas;
    return this.#alter("partitions.reassign", reassignments, { options, replicasOf });
  }

  /**
   * Calls moves off: the partitions keep the replicas that they had.
   *
   * Outcomes fail with NO_REASSIGNMENT_IN_PROGRESS.
   */
  async cancelReassignments(
    partitions: readonly TopicPartition[],
    options: CallOptions = {},
  ): Promise<readonly Outcome<TopicPartition>[]> {
    return this.#alter("partitions.cancelReassignments", partitions, { options, replicasOf: () => null });
  }

  /** The moves that are under way, of all partitions or of those that are named. */
  async listReassignments(
    options: CallOptions & { readonly partitions?: readonly TopicPartition[] } = {},
  ): Promise<readonly OngoingReassignment[]> {
    const { partitions } = options;
    const call = "partitions.listReassignments";
    return this.#calls.ask({ call, route: controller(this.#calls.wire) }, options, async (connection) => {
      const answer = await connection.request(listPartitionReassignments, {
        timeoutMs: this.#calls.brokerTimeoutMs(options),
        topics:
          partitions === undefined
            ? null
            : byTopic(
                partitions,
                (name, partitionIndexes: number[]) => ({ name, partitionIndexes }),
                ({ partition }) => partition,
              ),
      });
      check(answer, call, connection);
      return answer.topics.flatMap(({ name: topic, partitions: found }) =>
        found.map(({ partitionIndex: partition, ...rest }) => ({ topic, partition, ...rest })),
      );
    });
  }

  async #elect(
    connection: BrokerConnection,
    partitions: readonly TopicPartition[] | null,
    options: ElectLeadersOptions,
  ) {
    const { kind = "preferred" } = options;
    if (kind !== "preferred" && connection.versionOf(electLeaders) < 1)
      throw unsupported(connection, "ElectLeaders", "elect another than the preferred replica");
    const answer = await connection.request(electLeaders, {
      electionType: elections[kind],
      topicPartitions:
        partitions === null
          ? null
          : byTopic(
              partitions,
              (topic, each: number[]) => ({ topic, partitions: each }),
              ({ partition }) => partition,
            ),
      timeoutMs: this.#calls.brokerTimeoutMs(options),
    });
    check(answer, "partitions.electLeaders", connection);
    return byPartition(
      answer.replicaElectionResults,
      ({ topic }) => topic,
      ({ topic, partitionResult }) =>
        partitionResult.map((told) => [told.partitionId, { item: { topic, partition: told.partitionId }, told }]),
    );
  }

  async #alter<Item extends TopicPartition>(
    call: string,
    items: readonly Item[],
    parts: {
      readonly options: ReassignOptions;
      readonly replicasOf: (item: Item) => readonly number[] | null;
    },
  ): Promise<readonly Outcome<Item>[]> {
    const { options, replicasOf } = parts;
    const { mayChangeReplicationFactor = true } = options;
    interface Partition {
      readonly partitionIndex: number;
      readonly replicas: readonly number[] | null;
    }
    return this.#calls.each(
      {
        call,
        items,
        name: partitionName,
        topicOf: ({ topic }) => topic,
        route: controller(this.#calls.wire),
        send: async (connection, open) => {
          if (!mayChangeReplicationFactor && connection.versionOf(alterPartitionReassignments) < 1)
            throw unsupported(connection, "AlterPartitionReassignments", "hold the replication factor");
          const answer = await connection.request(alterPartitionReassignments, {
            timeoutMs: this.#calls.brokerTimeoutMs(options),
            ...(mayChangeReplicationFactor ? {} : { allowReplicationFactorChange: false }),
            topics: byTopic(
              open,
              (name, partitions: Partition[]) => ({ name, partitions }),
              (item) => ({ partitionIndex: item.partition, replicas: replicasOf(item) }),
            ),
          });
          check(answer, call, connection);
          const said = byPartition(
            answer.responses,
            ({ name }) => name,
            ({ partitions }) => partitions.map((each) => [each.partitionIndex, each]),
          );
          return open.map((item) => reply(said.get(partitionKey(item)), () => {}));
        },
      },
      options,
    );
  }
}

function electionOf(
  told: { readonly errorCode: number; readonly errorMessage: string | null } | undefined,
): Reply<Election> {
  if (told?.errorCode === ErrorCode.ELECTION_NOT_NEEDED) return { ok: true, value: "not-needed" };
  return reply(told, (): Election => "elected");
}
