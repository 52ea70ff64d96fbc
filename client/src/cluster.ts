import type { Logger } from "@millrace/base/logger";
import { nodeWorld } from "@millrace/base/node/node-world";
import type { TlsClientOptions } from "@millrace/base/world";
import { installNodeAccelerators } from "kafka-protocol-ts/node";
import { Admin } from "./admin/admin.ts";
import { Consumer } from "./consumer/consumer.ts";
import type { ConsumerOptions } from "./consumer/options.ts";
import { abortedError, KafkaError } from "./errors.ts";
import { parseAddress } from "./network/address.ts";
import { checkSasl } from "./network/sasl.ts";
import type { SaslOptions } from "./network/sasl.ts";
import { Wire } from "./network/wire.ts";
import type { ClientWorld } from "./network/wire.ts";
import { Producer } from "./producer/producer.ts";
import type { ProducerOptions } from "./producer/options.ts";

/** How to reach a cluster. Times are milliseconds. */
export interface ClusterOptions {
  /** "host:port" of some brokers; the others are learned from them. */
  readonly brokers: readonly string[];
  /** Told to the brokers with each request: for their logs and quotas. Default "millrace". */
  readonly clientId?: string;
  /** For a connection with all that comes before its first request but authentication. Default 10,000. */
  readonly connectTimeoutMs?: number;
  /** A request without an answer for so long ends its connection. Default 30,000. */
  readonly requestTimeoutMs?: number;
  /** What is known of a topic is asked for again when it is so old. Default 300,000. */
  readonly metadataMaxAgeMs?: number;
  /** `true` trusts the authorities that the platform trusts. Absent: in the clear. */
  readonly tls?: TlsClientOptions | boolean;
  /** Who this client says that it is. Absent: nobody asks. */
  readonly sasl?: SaslOptions;
  /** Hears what may need somebody's eyes. Absent: nobody does. */
  readonly logger?: Logger;
  /** Closes the cluster when it is aborted. */
  readonly signal?: AbortSignal;
  /** Another clock and network than this machine's, as in a simulation. */
  readonly world?: ClientWorld;
}

/**
 * A Kafka cluster, and what talks to it. It connects at first use; closing it closes what was made from it.
 *
 * @example
 *     await using cluster = new Cluster({ brokers: ["localhost:9092"], clientId: "billing" });
 *     await using producer = cluster.producer();
 *     await producer.send("log", { value: "started" });
 */
export class Cluster implements AsyncDisposable {
  /**
   * Connections and metadata, for what is built on this client. It has no stable form: it may change with every version.
   *
   * @internal
   */
  readonly wire: Wire;
  #admin: Admin | null = null;

  /** @throws KafkaError INVALID_CONFIG, naming the option. */
  constructor(options: ClusterOptions) {
    installNodeAccelerators();
    const { clientId = "millrace", tls, sasl, logger, signal } = options;
    const bootstrap = options.brokers.map(parseAddress);
    if (bootstrap.length === 0) throw new KafkaError("INVALID_CONFIG", "brokers: no broker address was given");
    if (sasl !== undefined) checkSasl(sasl);
    this.wire = new Wire(options.world ?? nodeWorld(), {
      bootstrap,
      clientId,
      connectTimeoutMs: positive("connectTimeoutMs", options.connectTimeoutMs ?? 10_000),
      requestTimeoutMs: positive("requestTimeoutMs", options.requestTimeoutMs ?? 30_000),
      metadataMaxAgeMs: positive("metadataMaxAgeMs", options.metadataMaxAgeMs ?? 300_000),
      ...(tls === undefined || tls === false ? {} : { tls: tls === true ? {} : tls }),
      ...(sasl === undefined ? {} : { sasl }),
      ...(logger === undefined ? {} : { logger }),
    });
    if (signal?.aborted === true) throw abortedError(signal, "the cluster");
    signal?.addEventListener("abort", () => void this.close(), { once: true, signal: this.wire.closed });
  }

  /** Always the same one: it has nothing to be closed. */
  admin(): Admin {
    return (this.#admin ??= new Admin(this.wire));
  }

  /**
   * A producer of its own, with batches and an identity of its own. Close it, or the cluster.
   *
   *     await using producer = cluster.producer({ lingerMs: 5 });
   *
   * @throws KafkaError INVALID_CONFIG, naming the option.
   */
  producer(options: ProducerOptions = {}): Producer {
    return new Producer(this.wire, options);
  }

  /**
   * A consumer of its own: with the option `group` a member of a group. Close it, or the cluster.
   *
   *     await using consumer = cluster.consumer({ group: "billing" });
   *
   * @throws KafkaError INVALID_CONFIG, naming the option.
   */
  consumer(options: ConsumerOptions = {}): Consumer {
    return new Consumer(this.wire, options);
  }

  /** Settles when a broker has answered; every call does this by itself, but fails later. */
  async connect(): Promise<void> {
    await this.wire.any();
  }

  /** Closes all connections. What still waits for an answer fails. */
  async close(): Promise<void> {
    await this.wire.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function positive(name: string, value: number): number {
  if (value > 0) return value;
  throw new KafkaError("INVALID_CONFIG", `${name}: ${value} is not a time in milliseconds above 0`);
}
