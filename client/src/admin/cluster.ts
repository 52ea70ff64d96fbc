import { metadata as metadataApi } from "kafka-protocol-ts/messages/03-metadata";
import { describeCluster } from "kafka-protocol-ts/messages/60-describe-cluster";
import { unregisterBroker } from "kafka-protocol-ts/messages/64-unregister-broker";
import type { BrokerConnection } from "../network/broker-connection.ts";
import type { BrokerMetadata } from "../network/metadata.ts";
import type { AclOperation } from "./acl-words.ts";
import { aclOperations } from "./acl-words.ts";
import type { CallOptions, Calls } from "./calls.ts";
import { check, unsupported } from "./calls.ts";
import { anyBroker, askMetadata, controller } from "./routes.ts";

/** What a broker says of its cluster. */
export interface ClusterDescription {
  /** Null where the broker is older than 0.10.1. */
  readonly clusterId: string | null;
  /** Of brokers in KRaft some broker that passes requests on; null where there is none. */
  readonly controllerId: number | null;
  /** In no order. Those that are fenced only where they were asked for. */
  readonly brokers: readonly ClusterBroker[];
  /** What whoever asks may do with the cluster; null where that was not asked for. */
  readonly authorizedOperations: ReadonlySet<AclOperation> | null;
}

/** A broker of the cluster and where it listens. */
export interface ClusterBroker extends BrokerMetadata {
  /** It is registered, but not in use: it starts, stops or was lost. Told only with `includeFenced`. */
  readonly isFenced: boolean;
}

/** What to tell of the cluster. */
export interface DescribeClusterOptions extends CallOptions {
  /** Also what whoever asks may do with the cluster. Default false. */
  readonly includeAuthorizedOperations?: boolean;
  /** Brokers that are registered but not in use, too (Kafka 4.0). */
  readonly includeFenced?: boolean;
}

/**
 * The cluster and its brokers; `quorum` has its controllers, `features` its feature levels.
 *
 * @example
 *     const { clusterId, brokers } = await admin.cluster.describe();
 */
export class ClusterAdmin {
  readonly #calls: Calls;

  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /**
   * The cluster's id and its brokers.
   *
   *     const { clusterId, brokers } = await admin.cluster.describe();
   *
   * @throws KafkaError UNSUPPORTED_VERSION for fenced brokers where the broker is older than 4.0.
   */
  async describe(options: DescribeClusterOptions = {}): Promise<ClusterDescription> {
    const parts = { call: "cluster.describe", route: anyBroker(this.#calls.wire) };
    return this.#calls.ask(parts, options, (connection) =>
      connection.serves(describeCluster)
        ? this.#described(connection, options)
        : this.#fromMetadata(connection, options),
    );
  }

  /**
   * Makes the cluster forget a broker that is gone for good. One that still runs registers again.
   *
   * @throws KafkaError BROKER_ID_NOT_REGISTERED.
   */
  async unregisterBroker(brokerId: number, options: CallOptions = {}): Promise<void> {
    const parts = { call: "cluster.unregisterBroker", route: controller(this.#calls.wire) };
    await this.#calls.ask(parts, options, async (connection) => {
      const answer = await connection.request(unregisterBroker, { brokerId });
      check(answer, `broker ${brokerId}`, connection);
    });
  }

  async #described(
    connection: BrokerConnection,
    { includeAuthorizedOperations = false, includeFenced = false }: DescribeClusterOptions,
  ): Promise<ClusterDescription> {
    if (includeFenced && connection.versionOf(describeCluster) < 2)
      throw unsupported(connection, "DescribeCluster", "tell fenced brokers");
    const answer = await connection.request(describeCluster, {
      includeClusterAuthorizedOperations: includeAuthorizedOperations,
      includeFencedBrokers: includeFenced,
    });
    check(answer, "cluster.describe", connection);
    return {
      clusterId: answer.clusterId,
      controllerId: answer.controllerId < 0 ? null : answer.controllerId,
      brokers: answer.brokers.map(({ brokerId, host, port, rack, isFenced }) => ({
        nodeId: brokerId,
        host,
        port,
        rack,
        isFenced,
      })),
      authorizedOperations: aclOperations.set(answer.clusterAuthorizedOperations),
    };
  }

  async #fromMetadata(
    connection: BrokerConnection,
    { includeAuthorizedOperations = false, includeFenced = false }: DescribeClusterOptions,
  ): Promise<ClusterDescription> {
    if (includeFenced) throw unsupported(connection, "DescribeCluster", "tell fenced brokers");
    const version = connection.versionOf(metadataApi);
    const maySay = version >= 8 && version <= 10;
    const answer = await askMetadata(this.#calls.wire, connection, {
      topics: [],
      ...(maySay ? { includeClusterAuthorizedOperations: includeAuthorizedOperations } : {}),
    });
    return {
      clusterId: answer.clusterId,
      controllerId: answer.controllerId < 0 ? null : answer.controllerId,
      brokers: answer.brokers.map((broker) => ({ ...broker, isFenced: false })),
      authorizedOperations: aclOperations.set(answer.clusterAuthorizedOperations),
    };
  }
}
