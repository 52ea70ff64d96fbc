import { alterReplicaLogDirs } from "kafka-protocol-ts/messages/34-alter-replica-log-dirs";
import { describeLogDirs } from "kafka-protocol-ts/messages/35-describe-log-dirs";
import { ErrorCode } from "kafka-protocol-ts/errors";
import type { KafkaError } from "../errors.ts";
import { brokerError } from "../errors.ts";
import type { TopicPartition } from "../topic-partition.ts";
import { partitionKey } from "../topic-partition.ts";
import { brokerIds } from "./brokers.ts";
import type { CallOptions, Calls } from "./calls.ts";
import { check, reply } from "./calls.ts";
import type { Outcome } from "./outcome.ts";
import { byPartition, byTopic, partitionName } from "./partitions-by-topic.ts";
import { brokerOf } from "./routes.ts";

/** A directory in which a broker keeps replicas. */
export interface LogDir {
  /** On the broker's machine. */
  readonly path: string;
  /** Why the directory cannot be used; null where it can. */
  readonly error: KafkaError | null;
  /** Of the volume; null where the broker does not say (Kafka 3.3). */
  readonly totalBytes: number | null;
  /** Of the volume; null where the broker does not say (Kafka 3.3). */
  readonly usableBytes: number | null;
  /** Nothing new is put there (Kafka 4.3). */
  readonly isCordoned: boolean;
  /** What lies in it. */
  readonly replicas: readonly LogDirReplica[];
}

/** A replica in a directory. */
export interface LogDirReplica extends TopicPartition {
  /** All its segments together. */
  readonly sizeBytes: number;
  /** Records behind the high watermark; of a copy that is being made, behind the replica that it shall replace. */
  readonly offsetLag: number;
  /** A copy that is being made and will replace the replica. */
  readonly isFuture: boolean;
}

/** Which brokers and partitions to look at. */
export interface DescribeLogDirsOptions extends CallOptions {
  /** Absent: all brokers. */
  readonly brokers?: readonly number[];
  /** Only replicas of these partitions. */
  readonly partitions?: readonly TopicPartition[];
}

/** A replica that shall lie in another directory of its broker. */
export interface ReplicaMove extends TopicPartition {
  /** Whose replica. */
  readonly brokerId: number;
  /** The directory in which it shall lie, one of the broker's own. */
  readonly path: string;
}

/**
 * What lies on the disks of brokers.
 *
 * @example
 *     for (const outcome of await admin.logDirs.describe()) if (outcome.ok) console.log(outcome.item, outcome.value);
 */
export class LogDirsAdmin {
  readonly #calls: Calls;

  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /**
   * The directories of brokers with their replicas and sizes.
   *
   *     for (const each of await admin.logDirs.describe()) if (each.ok) console.log(each.item, each.value);
   *
   * Outcomes are by the broker's id; they fail where it cannot be reached, and with CLUSTER_AUTHORIZATION_FAILED.
   */
  async describe(options: DescribeLogDirsOptions = {}): Promise<readonly Outcome<number, readonly LogDir[]>[]> {
    const call = "logDirs.describe";
    const topics =
      options.partitions === undefined
        ? null
        : byTopic(
            options.partitions,
            (topic, partitions: number[]) => ({ topic, partitions }),
            ({ partition }) => partition,
          );
    return this.#calls.each(
      {
        call,
        items: options.brokers ?? (await brokerIds(this.#calls, call, options)),
        name: (brokerId) => `broker ${brokerId}`,
        route: brokerOf(this.#calls.wire, (brokerId: number) => brokerId),
        send: async (connection, items) => {
          const version = connection.versionOf(describeLogDirs);
          const answer = await connection.request(describeLogDirs, { topics });
          // Before v3 an empty answer is how a broker says that it may not be asked.
          const isDenied = version < 3 && answer.results.length === 0;
          check(isDenied ? { errorCode: ErrorCode.CLUSTER_AUTHORIZATION_FAILED } : answer, call, connection);
          const broker = connection.name;
          const value = answer.results.map(
            ({ logDir: path, errorCode, topics: found, totalBytes, usableBytes, isCordoned }): LogDir => ({
              path,
              error: errorCode === 0 ? null : brokerError(errorCode, `directory ${path}`, null, { broker }),
              totalBytes: totalBytes < 0 ? null : totalBytes,
              usableBytes: usableBytes < 0 ? null : usableBytes,
              isCordoned,
              replicas: found.flatMap(({ name: topic, partitions }) =>
                partitions.map(({ partitionIndex, partitionSize, offsetLag, isFutureKey }) => ({
                  topic,
                  partition: partitionIndex,
                  sizeBytes: partitionSize,
                  offsetLag,
                  isFuture: isFutureKey,
                })),
              ),
            }),
          );
          return items.map(() => ({ ok: true, value }) as const);
        },
      },
      options,
    );
  }

  /**
   * Has brokers move replicas between their directories, in the background: `describe` shows how far they are.
   *
   * Outcomes fail with LOG_DIR_NOT_FOUND; a replica that is not there yet will be made in the directory, and its outcome
   * is REPLICA_NOT_AVAILABLE.
   */
  async moveReplicas(
    moves: readonly ReplicaMove[],
    options: CallOptions = {},
  ): Promise<readonly Outcome<ReplicaMove>[]> {
    return this.#calls.each(
      {
        call: "logDirs.moveReplicas",
        items: moves,
        name: (item) => `${partitionName(item)} on broker ${item.brokerId}`,
        topicOf: ({ topic }) => topic,
        route: brokerOf(this.#calls.wire, ({ brokerId }: ReplicaMove) => brokerId),
        final: ["REPLICA_NOT_AVAILABLE", "KAFKA_STORAGE_ERROR"],
        send: async (connection, items) => {
          const answer = await connection.request(alterReplicaLogDirs, {
            dirs: [...Map.groupBy(items, ({ path }) => path)].map(([path, each]) => ({
              path,
              topics: byTopic(
                each,
                (name, partitions: number[]) => ({ name, partitions }),
                ({ partition }) => partition,
              ),
            })),
          });
          const said = byPartition(
            answer.results,
            ({ topicName }) => topicName,
            ({ partitions }) => partitions.map((each) => [each.partitionIndex, each]),
          );
          return items.map((item) => reply(said.get(partitionKey(item)), () => {}));
        },
      },
      options,
    );
  }
}
