import { describeConfigs } from "kafka-protocol-ts/messages/32-describe-configs";
import type { DescribeConfigsResponse } from "kafka-protocol-ts/messages/32-describe-configs";
import { alterConfigs } from "kafka-protocol-ts/messages/33-alter-configs";
import { incrementalAlterConfigs } from "kafka-protocol-ts/messages/44-incremental-alter-configs";
import { listConfigResources } from "kafka-protocol-ts/messages/74-list-config-resources";
import type { BrokerConnection } from "../network/broker-connection.ts";
import type { Wire } from "../network/wire.ts";
import { KafkaError } from "../errors.ts";
import type { Batch, CallOptions, Calls, Reply, ValidatingCallOptions } from "./calls.ts";
import { check, reply, unsupported } from "./calls.ts";
import { isMany } from "./outcome.ts";
import type { Outcome } from "./outcome.ts";
import type { Route } from "./routes.ts";
import { anyBroker } from "./routes.ts";
import { words } from "./words.ts";
import type { Words } from "./words.ts";

/** What kinds of things have settings. */
export type ConfigResourceType = "topic" | "broker" | "broker-logger" | "group" | "client-metrics";

/** What has settings. */
export interface ConfigResource {
  /** What `name` is the name of. */
  readonly type: ConfigResourceType;
  /** Of a broker or its loggers the id: "1". Of brokers "" stands for what all of them share. */
  readonly name: string;
}

/** Where the value of a setting comes from, the strongest first in its synonyms. */
export type ConfigSource =
  | "topic"
  | "broker"
  | "all-brokers"
  | "static"
  | "default"
  | "broker-logger"
  | "client-metrics"
  | "group";

/** How the text of a setting is to be read. */
export type ConfigValueType =
  | "boolean"
  | "string"
  | "int"
  | "short"
  | "long"
  | "double"
  | "list"
  | "class"
  | "password";

/** A place that has, or would have, the say over a setting. */
export interface ConfigSynonym {
  /** The name of the setting there, which may be another one: "log.retention.ms" of "retention.ms". */
  readonly name: string;
  /** Null where it is sensitive, or not set. */
  readonly value: string | null;
  /** The place. */
  readonly source: ConfigSource | "unknown";
}

/** One setting with its value and where that comes from. */
export interface ConfigEntry {
  /** Kafka's name: "retention.ms". */
  readonly name: string;
  /** Null where it is sensitive, or not set. */
  readonly value: string | null;
  /** Where the value comes from; "unknown" where the broker names a place that is newer than this client. */
  readonly source: ConfigSource | "unknown";
  /** It cannot be changed while the broker runs. */
  readonly isReadOnly: boolean;
  /** A secret: its value is never told. */
  readonly isSensitive: boolean;
  /** What its text is to be read as; "unknown" where the broker is older than 2.6. */
  readonly type: ConfigValueType | "unknown";
  /** Empty unless they were asked for. */
  readonly synonyms: readonly ConfigSynonym[];
  /** Null unless it was asked for, and where the broker has none. */
  readonly documentation: string | null;
}

/** What to tell of settings. */
export interface DescribeConfigsOptions extends CallOptions {
  /** Only these settings. */
  readonly names?: readonly string[];
  /** Also the other places that have a say. Default false. */
  readonly includeSynonyms?: boolean;
  /** Also what the broker says that a setting is for (Kafka 2.6). Default false. */
  readonly includeDocumentation?: boolean;
}

/** What to do with single settings; those that are not named stay as they are. */
export interface ConfigChanges {
  /** New values by the names of the settings; always text, as "3600000". */
  readonly set?: Readonly<Record<string, string>>;
  /** Back to what holds without it. */
  readonly delete?: readonly string[];
  /** Values that lists get, separated by commas. */
  readonly append?: Readonly<Record<string, string>>;
  /** Values that lists lose, separated by commas. */
  readonly subtract?: Readonly<Record<string, string>>;
}

/** A resource with what to do with its settings. */
export interface ConfigChange extends ConfigResource {
  /** What to do with single settings of it. */
  readonly changes: ConfigChanges;
}

/** A resource with all the settings that it shall have. */
export interface ConfigReplacement extends ConfigResource {
  /** Values by the names of the settings. Those that are missing go back to their defaults. */
  readonly config: Readonly<Record<string, string>>;
}

/** Which resources to list. */
export interface ListConfigResourcesOptions extends CallOptions {
  /** Absent: all that can be listed. */
  readonly types?: readonly ConfigResourceType[];
}

const resourceTypes: Words<ConfigResourceType> = words("config resource", {
  topic: 2,
  broker: 4,
  "broker-logger": 8,
  "client-metrics": 16,
  group: 32,
});
const sources: Words<ConfigSource> = words("config source", {
  topic: 1,
  broker: 2,
  "all-brokers": 3,
  static: 4,
  default: 5,
  "broker-logger": 6,
  "client-metrics": 7,
  group: 8,
});
const valueTypes: Words<ConfigValueType> = words("config type", {
  boolean: 1,
  string: 2,
  int: 3,
  short: 4,
  long: 5,
  double: 6,
  list: 7,
  class: 8,
  password: 9,
});
const operations = { set: 0, delete: 1, append: 2, subtract: 3 } as const;

const resourceName = ({ type, name }: ConfigResource): string =>
  type === "broker" && name === "" ? "all brokers" : `${type.replace("-", " ")} ${name}`;

const topicOfResource = ({ type, name }: ConfigResource): string | null => (type === "topic" ? name : null);

/**
 * Settings of topics, brokers, their loggers, groups and client metrics.
 *
 * @example
 *     await admin.configs.alter({ type: "topic", name: "orders", changes: { set: { "retention.ms": "3600000" } } });
 */
export class ConfigsAdmin {
  readonly #calls: Calls;

  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /**
   * The settings by name, with those that have their default. A setting of one broker is told by that broker alone.
   *
   *     const config = await admin.configs.describe({ type: "topic", name: "orders" });
   *     config.get("retention.ms")?.value;
   *
   * @throws KafkaError of a single resource: UNKNOWN_TOPIC_OR_PARTITION, INVALID_REQUEST for a type that the broker does
   * not know.
   */
  describe(resource: ConfigResource, options?: DescribeConfigsOptions): Promise<ReadonlyMap<string, ConfigEntry>>;
  describe(
    resources: readonly ConfigResource[],
    options?: DescribeConfigsOptions,
  ): Promise<readonly Outcome<ConfigResource, ReadonlyMap<string, ConfigEntry>>[]>;
  async describe(
    resources: ConfigResource | readonly ConfigResource[],
    options: DescribeConfigsOptions = {},
  ): Promise<ReadonlyMap<string, ConfigEntry> | readonly Outcome<ConfigResource, ReadonlyMap<string, ConfigEntry>>[]> {
    const { names, includeSynonyms = false, includeDocumentation = false } = options;
    const batch: Batch<ConfigResource, ReadonlyMap<string, ConfigEntry>> = {
      call: "configs.describe",
      items: isMany(resources) ? resources : [resources],
      name: resourceName,
      topicOf: topicOfResource,
      route: ownerOf(this.#calls.wire),
      send: async (connection, items) => {
        const { results } = await connection.request(describeConfigs, (version) => ({
          resources: items.map(({ type, name }) => ({
            resourceType: resourceTypes.code(type),
            resourceName: name,
            configurationKeys: names ?? null,
          })),
          includeSynonyms,
          includeDocumentation: includeDocumentation && version >= 3,
        }));
        return repliesTo(items, results, entriesOf);
      },
    };
    return isMany(resources) ? this.#calls.each(batch, options) : this.#calls.one(batch, options);
  }

  /**
   * Changes single settings; the others stay as they are.
   *
   *     await admin.configs.alter({ type: "topic", name: "orders", changes: { set: { "retention.ms": "1000" } } });
   *
   * @throws KafkaError of a single resource: INVALID_CONFIG for a name or value that is not allowed, INVALID_REQUEST for
   * what only a restart changes.
   */
  alter(change: ConfigChange, options?: ValidatingCallOptions): Promise<void>;
  alter(changes: readonly ConfigChange[], options?: ValidatingCallOptions): Promise<readonly Outcome<ConfigChange>[]>;
  async alter(
    changes: ConfigChange | readonly ConfigChange[],
    options: ValidatingCallOptions = {},
  ): Promise<void | readonly Outcome<ConfigChange>[]> {
    const { validateOnly = false } = options;
    const batch: Batch<ConfigChange, void> = {
      call: "configs.alter",
      items: isMany(changes) ? changes : [changes],
      name: resourceName,
      topicOf: topicOfResource,
      route: ownerOf(this.#calls.wire),
      send: async (connection, items) => {
        const { responses } = await connection.request(incrementalAlterConfigs, {
          resources: items.map((item) => ({
            resourceType: resourceTypes.code(item.type),
            resourceName: item.name,
            configs: operationsOf(item.changes),
          })),
          validateOnly,
        });
        return repliesTo(items, responses, () => {});
      },
    };
    return isMany(changes) ? this.#calls.each(batch, options) : this.#calls.one(batch, options);
  }

  /**
   * Replaces all settings of a resource: what is not named gets its default back. Only for brokers that do not serve
   * IncrementalAlterConfigs; `alter` loses nothing that somebody else has set meanwhile.
   *
   * @throws KafkaError of a single resource, as `alter`.
   */
  replace(replacement: ConfigReplacement, options?: ValidatingCallOptions): Promise<void>;
  replace(
    replacements: readonly ConfigReplacement[],
    options?: ValidatingCallOptions,
  ): Promise<readonly Outcome<ConfigReplacement>[]>;
  async replace(
    replacements: ConfigReplacement | readonly ConfigReplacement[],
    options: ValidatingCallOptions = {},
  ): Promise<void | readonly Outcome<ConfigReplacement>[]> {
    const { validateOnly = false } = options;
    const batch: Batch<ConfigReplacement, void> = {
      call: "configs.replace",
      items: isMany(replacements) ? replacements : [replacements],
      name: resourceName,
      topicOf: topicOfResource,
      route: ownerOf(this.#calls.wire),
      send: async (connection, items) => {
        const { responses } = await connection.request(alterConfigs, {
          resources: items.map(({ type, name, config }) => ({
            resourceType: resourceTypes.code(type),
            resourceName: name,
            configs: Object.entries(config).map(([key, value]) => ({ name: key, value })),
          })),
          validateOnly,
        });
        return repliesTo(items, responses, () => {});
      },
    };
    return isMany(replacements) ? this.#calls.each(batch, options) : this.#calls.one(batch, options);
  }

  /**
   * Names of what has settings. Brokers before 4.1 list client metrics only.
   *
   *     await admin.configs.list({ types: ["client-metrics"] });
   *
   * @throws KafkaError UNSUPPORTED_VERSION where the broker lists no such resources.
   */
  async list(options: ListConfigResourcesOptions = {}): Promise<readonly ConfigResource[]> {
    const { types } = options;
    const parts = { call: "configs.list", route: anyBroker(this.#calls.wire) };
    return this.#calls.ask(parts, options, async (connection) => {
      const isOld = connection.versionOf(listConfigResources) < 1;
      if (isOld && types?.some((type) => type !== "client-metrics") !== false)
        throw unsupported(connection, "ListConfigResources", "list anything but client metrics");
      const answer = await connection.request(
        listConfigResources,
        isOld
          ? {}
          : {
              resourceTypes: (types ?? []).map((type) => resourceTypes.code(type)),
            },
      );
      check(answer, "configs.list", connection);
      return answer.configResources.flatMap(({ resourceName: name, resourceType }) => {
        const type = resourceTypes.word(resourceType);
        return type === "unknown" ? [] : [{ type, name }];
      });
    });
  }
}

/** A broker knows its own settings and loggers, and nobody else does. */
function ownerOf<Item extends ConfigResource>(wire: Wire): Route<Item> {
  const ownerId = ({ type, name }: Item): number | null => {
    if (type !== "broker-logger" && (type !== "broker" || name === "")) return null;
    if (/^\d+$/.test(name)) return Number(name);
    throw new KafkaError("INVALID_CONFIG", `${type}: "${name}" is not the id of a broker`);
  };
  return {
    prepare: async () => {},
    key: (item) => `${ownerId(item) ?? ""}`,
    connect: async (item): Promise<BrokerConnection> => {
      const nodeId = ownerId(item);
      return nodeId === null ? wire.any() : wire.broker(nodeId);
    },
    forget: () => {},
  };
}

function operationsOf(changes: ConfigChanges) {
  const { set = {}, delete: deleted = [], append = {}, subtract = {} } = changes;
  const withValue = (configs: Readonly<Record<string, string>>, configOperation: number) =>
    Object.entries(configs).map(([name, value]) => ({ name, configOperation, value }));
  return [
    ...withValue(set, operations.set),
    ...deleted.map((name) => ({ name, configOperation: operations.delete, value: null })),
    ...withValue(append, operations.append),
    ...withValue(subtract, operations.subtract),
  ];
}

function repliesTo<
  Answer extends {
    readonly resourceType: number;
    readonly resourceName: string;
    readonly errorCode: number;
    readonly errorMessage: string | null;
  },
  Value,
>(items: readonly ConfigResource[], answers: readonly Answer[], value: (answer: Answer) => Value): Reply<Value>[] {
  return items.map(({ type, name }) => {
    const found = answers.find(
      (answer) => answer.resourceName === name && answer.resourceType === resourceTypes.code(type),
    );
    return reply(found, value);
  });
}

function entriesOf({ configs }: DescribeConfigsResponse["results"][number]): ReadonlyMap<string, ConfigEntry> {
  return new Map(
    configs.map(({ name, value, readOnly, configSource, isSensitive, synonyms, configType, documentation }) => [
      name,
      {
        name,
        value,
        source: sources.word(configSource),
        isReadOnly: readOnly,
        isSensitive,
        type: valueTypes.word(configType),
        synonyms: synonyms.map((synonym) => ({ ...synonym, source: sources.word(synonym.source) })),
        documentation,
      },
    ]),
  );
}
