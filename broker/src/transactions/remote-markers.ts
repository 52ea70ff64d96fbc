import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { Clock } from "@millrace/base/world";
import { errorName, ErrorCode } from "kafka-protocol-ts/errors";
import { writeTxnMarkers } from "kafka-protocol-ts/messages/27-write-txn-markers";
import type {
  WriteTxnMarkersRequestInput,
  WriteTxnMarkersResponse,
} from "kafka-protocol-ts/messages/27-write-txn-markers";
import type { TransactionMarker } from "../coordinator/shard-log.ts";
import type { InterBroker } from "../inter-broker.ts";
import { BrokerBatches } from "./broker-batches.ts";
import type { MarkerFailure } from "./marker-writer.ts";

export interface RemoteMarkersOptions {
  readonly clock: Clock;
  readonly interBroker: InterBroker;
  /** How long a broker has for its answer. */
  readonly timeoutMs: number;
  fatal(error: unknown): void;
}

/** A marker on its way to the broker that leads its partition. */
interface Outgoing {
  readonly topic: string;
  readonly partition: number;
  readonly marker: TransactionMarker;
  isCurrent(): boolean;
  settle(result: Result<void, MarkerFailure>): void;
}

/** Of one request: it is answered when the slowest of its partitions is. */
const MARKERS_MAX = 1_000;
/** From this version of transactions on a marker's epoch is above that of the records that it ends (KIP-890, KIP-1228). */
const RAISED_EPOCH_VERSION = 2;

/**
 * Markers for partitions that other brokers lead, by WriteTxnMarkers: of each broker one request is under way, with all markers that are
 * due. One failure is one try: whoever wrote the marker looks again for the leader, and comes again.
 */
export class RemoteMarkers {
  readonly #options: RemoteMarkersOptions;
  readonly #batches: BrokerBatches<Outgoing>;

  constructor(options: RemoteMarkersOptions) {
    this.#options = options;
    this.#batches = new BrokerBatches({
      clock: options.clock,
      itemsMax: MARKERS_MAX,
      // The answer names producers and partitions, and nothing else of a marker.
      keyOf: ({ marker }) => marker.producerId,
      fitsInto: ({ marker }, entry) => isSame(marker, entry.marker),
      isDue: (brokerId, item) => this.#isDue(brokerId, item),
      send: (brokerId, items) => this.#send(brokerId, items),
      fatal: (error) => options.fatal(error),
    });
  }

  /** Settles when the marker is committed in its partition, or is not as far as anybody knows. Not sent any more once `isCurrent` says no. */
  write(
    brokerId: number,
    topic: string,
    partition: number,
    marker: TransactionMarker,
    isCurrent: () => boolean,
  ): Promise<Result<void, MarkerFailure>> {
    return new Promise((settle) => {
      this.#batches.add(brokerId, { topic, partition, marker, isCurrent, settle });
    });
  }

  #isDue(brokerId: number, { topic, partition, isCurrent, settle }: Outgoing): boolean {
    if (isCurrent() && this.#options.interBroker.leaderOf(topic, partition) === brokerId) return true;
    settle(failed("not-leader"));
    return false;
  }

  async #send(brokerId: number, items: readonly Outgoing[]): Promise<void> {
    const { interBroker, timeoutMs } = this.#options;
    const answer = await interBroker.request(brokerId, writeTxnMarkers, requestOf(items), { timeoutMs });
    if (!answer.ok) {
      const message = answer.message ?? `broker ${brokerId} gave no answer`;
      for (const { settle } of items) settle(failed("unreachable", message));
      return;
    }
    const codes = codesOf(answer.value);
    for (const { topic, partition, marker, settle } of items) {
      const code = codes.get(marker.producerId)?.get(topic)?.get(partition);
      settle(resultOf(brokerId, code));
    }
  }
}

function isSame(one: TransactionMarker, other: TransactionMarker): boolean {
  return (
    one.producerEpoch === other.producerEpoch &&
    one.outcome === other.outcome &&
    one.coordinatorEpoch === other.coordinatorEpoch &&
    one.isEpochRaised === other.isEpochRaised
  );
}

function requestOf(items: readonly Outgoing[]): WriteTxnMarkersRequestInput {
  const byProducer = new Map<number, { readonly marker: TransactionMarker; topics: Map<string, Set<number>> }>();
  for (const { marker, topic, partition } of items) {
    let entry = byProducer.get(marker.producerId);
    if (entry === undefined) byProducer.set(marker.producerId, (entry = { marker, topics: new Map() }));
    const partitions = entry.topics.get(topic);
    if (partitions === undefined) entry.topics.set(topic, new Set([partition]));
    else partitions.add(partition);
  }
  return {
    markers: Array.from(byProducer.values(), ({ marker, topics }) => ({
      producerId: marker.producerId,
      producerEpoch: marker.producerEpoch,
      transactionResult: marker.outcome === "commit",
      coordinatorEpoch: marker.coordinatorEpoch,
      transactionVersion: marker.isEpochRaised === true ? RAISED_EPOCH_VERSION : 0,
      topics: Array.from(topics, ([name, partitions]) => ({ name, partitionIndexes: [...partitions] })),
    })),
  };
}

type Codes = ReadonlyMap<number, ReadonlyMap<string, ReadonlyMap<number, number>>>;

function codesOf({ markers }: WriteTxnMarkersResponse): Codes {
  return new Map(
    markers.map(({ producerId, topics }) => [
      producerId,
      new Map(
        topics.map(({ name, partitions }) => [
          name,
          new Map(partitions.map(({ partitionIndex, errorCode }) => [partitionIndex, errorCode])),
        ]),
      ),
    ]),
  );
}

/** Nothing that another broker says makes a partition gone: its metadata may be older than ours. */
function resultOf(brokerId: number, code: number | undefined): Result<void, MarkerFailure> {
  switch (code) {
    case ErrorCode.NONE:
      return ok(undefined);
    case undefined:
      return failed("unreachable", `the answer of broker ${brokerId} does not name it`);
    case ErrorCode.INVALID_PRODUCER_EPOCH:
      return failed("stale-producer-epoch", `broker ${brokerId} knows a newer one`);
    case ErrorCode.TRANSACTION_COORDINATOR_FENCED:
      return failed("stale-coordinator-epoch", `broker ${brokerId} knows a newer one`);
    case ErrorCode.NOT_LEADER_OR_FOLLOWER:
    case ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
      return failed("not-leader", `broker ${brokerId} does not lead it`);
    case ErrorCode.NOT_ENOUGH_REPLICAS:
    case ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND:
      return failed("not-enough-replicas");
    case ErrorCode.REQUEST_TIMED_OUT:
      return failed("timed-out");
    default:
      return failed("not-ready", `broker ${brokerId} answered ${errorName(code)}`);
  }
}
