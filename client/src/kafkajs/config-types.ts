import type { ClientWorld } from "../network/wire.ts";
import type { logCreator } from "./logger.ts";
import type { PartitionAssigner } from "./assigner-types.ts";
import type { Message, PartitionMetadata } from "./message-types.ts";

/** Addresses, or who knows them. Asked whenever a client connects. */
export type BrokersFunction = () => string[] | Promise<string[]>;

export interface KafkaConfig {
  /** "host:port" */
  readonly brokers: readonly string[] | BrokersFunction;
  /** `ca`, `cert`, `key`, `passphrase`, `servername`, `rejectUnauthorized` and `minVersion` of Node's TLS options are used. */
  readonly ssl?: SslOptions | object | boolean;
  readonly sasl?: SASLOptions | Mechanism;
  readonly clientId?: string;
  /** Milliseconds. Default 1000. */
  readonly connectionTimeout?: number;
  readonly authenticationTimeout?: number;
  readonly reauthenticationThreshold?: number;
  /** Milliseconds. Default 30000. */
  readonly requestTimeout?: number;
  /** False: no request is given up for its time. */
  readonly enforceRequestTimeout?: boolean;
  readonly retry?: RetryOptions;
  /** Not used: the warning says so. */
  readonly socketFactory?: unknown;
  readonly logLevel?: number;
  readonly logCreator?: logCreator;
  /** Not of KafkaJS: another clock and network than this machine's, as in a simulation. */
  readonly world?: ClientWorld;
}

export interface SslOptions {
  readonly ca?: unknown;
  readonly cert?: unknown;
  readonly key?: unknown;
  readonly passphrase?: string;
  readonly servername?: string;
  readonly rejectUnauthorized?: boolean;
  readonly minVersion?: string;
}

export interface OauthbearerProviderResponse {
  readonly value: string;
  /** SASL extensions. */
  readonly extensions?: Readonly<Record<string, string>>;
}

interface MechanismOptions {
  plain: { readonly username: string; readonly password: string };
  "scram-sha-256": { readonly username: string; readonly password: string };
  "scram-sha-512": { readonly username: string; readonly password: string };
  /** Not served: a broker of Amazon takes OAUTHBEARER, too. */
  aws: {
    readonly authorizationIdentity: string;
    readonly accessKeyId: string;
    readonly secretAccessKey: string;
    readonly sessionToken?: string;
  };
  oauthbearer: { readonly oauthBearerProvider: () => Promise<OauthbearerProviderResponse> };
}

export type SASLMechanism = keyof MechanismOptions;
export type SASLOptions = {
  [Name in SASLMechanism]: { readonly mechanism: Name } & MechanismOptions[Name];
}[SASLMechanism];

/** A mechanism of the program's own. Not served. */
export interface Mechanism {
  readonly mechanism: string;
  readonly authenticationProvider: unknown;
}

/** Times are milliseconds. */
export interface RetryOptions {
  /** The longest pause. Default 30000. */
  readonly maxRetryTime?: number;
  /** The first pause. Default 300. */
  readonly initialRetryTime?: number;
  /** By how much a pause differs by chance: 0.2 is up to 20 %. Default 0.2. */
  readonly factor?: number;
  /** How much longer each pause is than the one before. Default 2. */
  readonly multiplier?: number;
  /** Tries after the first. Default 5. */
  readonly retries?: number;
  /** Consumers: whether to begin anew after a crash. */
  readonly restartOnFailure?: (error: Error) => Promise<boolean>;
}

export interface ProducerConfig {
  readonly createPartitioner?: ICustomPartitioner;
  readonly retry?: RetryOptions;
  /** Milliseconds. Default 300000. */
  readonly metadataMaxAge?: number;
  /** Default true. */
  readonly allowAutoTopicCreation?: boolean;
  /** Only what `isIdempotent` says, and that acks must be -1: sends with acks -1 are idempotent anyway. */
  readonly idempotent?: boolean;
  readonly transactionalId?: string;
  /** Milliseconds. Default 60000. */
  readonly transactionTimeout?: number;
  /** Batches of a partition that may be without an answer; 1 to 5, more counts as 5. */
  readonly maxInFlightRequests?: number;
}

export interface PartitionerArgs {
  topic: string;
  partitionMetadata: PartitionMetadata[];
  message: Message;
}

export type ICustomPartitioner = () => (args: PartitionerArgs) => number;
export type DefaultPartitioner = ICustomPartitioner;
export type LegacyPartitioner = ICustomPartitioner;

export interface ConsumerConfig {
  readonly groupId: string;
  /** Default: round robin. */
  readonly partitionAssigners?: PartitionAssigner[];
  /** Milliseconds. Default 300000. */
  readonly metadataMaxAge?: number;
  /** Milliseconds. Default 30000. */
  readonly sessionTimeout?: number;
  /** Milliseconds. Default 60000. */
  readonly rebalanceTimeout?: number;
  /** Milliseconds. Default 3000. */
  readonly heartbeatInterval?: number;
  /** Default 1048576. */
  readonly maxBytesPerPartition?: number;
  /** Default 1. */
  readonly minBytes?: number;
  /** Default 10485760. */
  readonly maxBytes?: number;
  /** Default 5000. */
  readonly maxWaitTimeInMs?: number;
  readonly retry?: RetryOptions;
  /** Default true. */
  readonly allowAutoTopicCreation?: boolean;
  /** Has no meaning here: a broker has one Fetch at a time, and others do not wait behind it. */
  readonly maxInFlightRequests?: number;
  /** Default false: records of open and aborted transactions are not seen. */
  readonly readUncommitted?: boolean;
  readonly rackId?: string;
}

export interface AdminConfig {
  readonly retry?: RetryOptions;
}
