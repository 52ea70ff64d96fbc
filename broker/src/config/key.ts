/** Kafka's config types. Bytes and durations are ints or longs; the unit stands in the key's name. */
export type ConfigKind = "boolean" | "string" | "int" | "short" | "long" | "double" | "list" | "password";

/** What one setting is: a row of a table. Parsing, typed values, DescribeConfigs and docs/config.md come from it. */
export interface ConfigKey {
  readonly kind: ConfigKind;
  /** As text where a number can not hold it exactly (2^63 - 1); null: there is none. */
  readonly default: ConfigDefault;
  readonly min?: number;
  readonly max?: number;
  /** A value outside the bounds that is allowed all the same. */
  readonly orEqual?: number;
  /** Of a string the value, of a list each element. */
  readonly oneOf?: readonly string[];
  readonly ignoresCase?: boolean;
  /** A list that must name something. */
  readonly isNonEmpty?: boolean;
  readonly form?: "throttled-replicas" | "client-match" | "offset-reset";
  readonly doc: string;
  /** Why the default, the mode or the key itself is not Apache Kafka's; `kafka` is its default, null where it has no such key. */
  readonly differs?: { readonly kafka: string | null; readonly why: string };
  /** Setting it changes nothing here: accepted, with a warning. */
  readonly inert?: Missing;
  /** A value other than the default stops the start: to ignore it would be unsafe. */
  readonly refused?: Missing;
}

/** What a setting without effect waits for, or will never need. */
export type Missing =
  | "cluster"
  | "lz4-levels"
  | "new-groups"
  | "one-loop"
  | "security"
  | "share-groups"
  | "single-quorum"
  | "system-buffers"
  | "telemetry"
  | "tiering";

export const whyMissing: Readonly<Record<Missing, string>> = {
  cluster: "It matters once there is more than one broker.",
  "lz4-levels": "The codec that is used has one effort.",
  "new-groups": "Groups of the share and streams protocols are not built yet.",
  "one-loop": "One event loop and its thread pool serve a node; more cores are more nodes.",
  security: "Authentication, authorization and TLS are not built yet.",
  "share-groups": "Share groups are not built yet.",
  "single-quorum": "A single node is a quorum of one.",
  "system-buffers":
    "The operating system sizes its buffers; that of a socket to which files are sent is bounded by us.",
  telemetry: "Metrics of clients are not received yet.",
  tiering: "Tiered storage is not built yet.",
};

export type ConfigDefault = string | number | boolean | readonly string[] | null;

export interface TopicKey extends ConfigKey {
  /** The broker key that stands in for a topic without an override. */
  readonly fallback?: string;
}

export interface BrokerKey extends ConfigKey {
  /** Read-only: by file and restart. Per-broker: changeable, for one broker. Cluster-wide: changeable, also for all brokers at once. */
  readonly mode: "read-only" | "per-broker" | "cluster-wide";
  /** The least value that may be set while the broker runs, where the file may give a smaller one. */
  readonly dynamicMin?: number;
  /** Keys that are asked in turn while this one has no value: the same setting in a coarser unit. */
  readonly otherwise?: readonly string[];
  /** What a value must be multiplied with to be milliseconds, where the name's unit is another. */
  readonly unitMs?: number;
}

export interface GroupKey extends ConfigKey {
  readonly fallback?: string;
  /** Broker keys between whose values a group's value must lie. */
  readonly within?: { readonly min?: string; readonly max?: string };
}

export type ConfigTable<Row extends ConfigKey = ConfigKey> = Readonly<Record<string, Row>>;

type ElementOf<Row> = Row extends { readonly oneOf: readonly (infer Word)[] } ? Word : string;

type ValueOf<Row extends ConfigKey> =
  | (Row["default"] extends null ? (Row extends { readonly otherwise: readonly string[] } ? never : null) : never)
  | (Row["kind"] extends "boolean"
      ? boolean
      : Row["kind"] extends "list"
        ? readonly ElementOf<Row>[]
        : Row["kind"] extends "string" | "password"
          ? ElementOf<Row>
          : number);

/** The typed settings of a table: `config["segment.bytes"]`. */
export type ConfigOf<Table extends ConfigTable> = { readonly [Name in keyof Table]: ValueOf<Table[Name]> };

/** Kafka's codes for DescribeConfigs. */
export const codeOfKind: Readonly<Record<ConfigKind, number>> = {
  boolean: 1,
  string: 2,
  int: 3,
  short: 4,
  long: 5,
  double: 6,
  list: 7,
  password: 9,
};
