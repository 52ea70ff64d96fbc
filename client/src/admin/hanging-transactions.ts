import type { TopicPartition } from "../topic-partition.ts";
import { partitionKey } from "../topic-partition.ts";
import type { CallOptions, Calls } from "./calls.ts";
import type { Outcome } from "./outcome.ts";
import { anyBroker, askMetadata } from "./routes.ts";
import { fromMetadata } from "./topic-descriptions.ts";
import type { ActiveProducer, ListedTransaction, TransactionDescription } from "./transactions.ts";

/** Where to look for transactions that hang, and from which age on. */
export interface FindHangingOptions extends CallOptions {
  /** All partitions of these topics. Absent with `partitions`: of all topics. */
  readonly topics?: readonly string[];
  /** These partitions. */
  readonly partitions?: readonly TopicPartition[];
  /** What is younger is left alone: the broker's transaction.max.timeout.ms. Default 900,000. */
  readonly olderThanMs?: number;
}

/** An open transaction that no coordinator will end; `transactions.abort` takes it as it is. */
export interface HangingTransaction extends TopicPartition {
  /** Of its first record in the partition. */
  readonly startOffset: number;
  /** Who has begun it. */
  readonly producerId: number;
  /** Under which epoch. */
  readonly producerEpoch: number;
  /** Of the coordinator that ended the producer's last transaction; -1 where none has. */
  readonly coordinatorEpoch: number;
  /** Of the producer's last record there, milliseconds since 1970. */
  readonly lastTimestampMs: number;
}

/** What is asked of `transactions`. */
interface Asked {
  describeProducers(
    partitions: readonly TopicPartition[],
    options: CallOptions,
  ): Promise<readonly Outcome<TopicPartition, readonly ActiveProducer[]>[]>;
  list(options: CallOptions & { readonly producerIds: readonly number[] }): AsyncIterable<ListedTransaction>;
  describe(ids: readonly string[], options: CallOptions): Promise<readonly Outcome<string, TransactionDescription>[]>;
}

const olderThanMsDefault = 900_000;

/**
 * A transaction hangs where it is open in a partition for longer than any coordinator lets one be, and no coordinator
 * counts the partition to a transaction of this producer. Partitions that cannot be asked are no reason to fail.
 */
export async function findHanging(
  calls: Calls,
  transactions: Asked,
  options: FindHangingOptions,
): Promise<readonly HangingTransaction[]> {
  const { olderThanMs = olderThanMsDefault } = options;
  const youngestMs = calls.wire.world.clock.now() - olderThanMs;
  const partitions = await partitionsOf(calls, options);
  const callOptions = plain(options);
  const described = await transactions.describeProducers(partitions, callOptions);
  const open = described.flatMap((each): HangingTransaction[] => {
    if (!each.ok) return [];
    return each.value.flatMap(({ transactionStartOffset, coordinatorEpoch, ...producer }) => {
      if (transactionStartOffset === null || producer.lastTimestampMs > youngestMs) return [];
      const { producerId, producerEpoch, lastTimestampMs } = producer;
      const { topic, partition } = each.item;
      const found = { topic, partition, producerId, producerEpoch, lastTimestampMs };
      return [{ ...found, startOffset: transactionStartOffset, coordinatorEpoch: coordinatorEpoch ?? 0 }];
    });
  });
  if (open.length === 0) return [];
  const counted = await countedPartitions(transactions, new Set(open.map(({ producerId }) => producerId)), callOptions);
  return open.filter((each) => counted.get(each.producerId)?.has(partitionKey(each)) !== true);
}

/** By producer id, the partitions of its transaction. */
async function countedPartitions(
  transactions: Asked,
  producerIds: ReadonlySet<number>,
  options: CallOptions,
): Promise<ReadonlyMap<number, ReadonlySet<string>>> {
  const ids: string[] = [];
  for await (const { transactionalId } of transactions.list({ ...options, producerIds: [...producerIds] }))
    ids.push(transactionalId);
  const described = await transactions.describe(ids, options);
  const counted = new Map<number, ReadonlySet<string>>();
  for (const each of described) {
    if (each.ok) counted.set(each.value.producerId, new Set(each.value.partitions.map(partitionKey)));
    // What went away in between has been ended; any other failure leaves it open who ends the transaction.
    else if (each.error.code !== "TRANSACTIONAL_ID_NOT_FOUND") throw each.error;
  }
  return counted;
}

async function partitionsOf(calls: Calls, options: FindHangingOptions): Promise<readonly TopicPartition[]> {
  const { topics, partitions } = options;
  if (topics === undefined && partitions !== undefined) return partitions;
  const { wire } = calls;
  const parts = { call: "transactions.findHanging", route: anyBroker(wire) };
  const answer = await calls.ask(parts, options, (connection) =>
    askMetadata(wire, connection, {
      topics: topics?.map((name) => ({ name })) ?? null,
      allowAutoTopicCreation: false,
    }),
  );
  const found = answer.topics
    .map(fromMetadata)
    .flatMap(({ description }) =>
      description.partitions.map(({ index }) => ({ topic: description.name, partition: index })),
    );
  return [...(partitions ?? []), ...found];
}

function plain({ timeoutMs, signal }: CallOptions): CallOptions {
  return { ...(timeoutMs === undefined ? {} : { timeoutMs }), ...(signal === undefined ? {} : { signal }) };
}
