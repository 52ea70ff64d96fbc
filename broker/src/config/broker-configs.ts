import { must } from "@millrace/base/assert";
import { brokerKeys } from "./broker-keys.ts";
import type { BrokerConfig } from "./broker-keys.ts";
import { clientMetricsKeys } from "./client-metrics-keys.ts";
import { groupKeys } from "./group-keys.ts";
import type { GroupConfig } from "./group-keys.ts";
import { codeOfKind } from "./key.ts";
import type { BrokerKey, ConfigKey, ConfigTable, GroupKey, TopicKey } from "./key.ts";
import { allBrokers, ConfigSource, ResourceType } from "./resources.ts";
import type { Overrides } from "./resources.ts";
import { topicKeys } from "./topic-keys.ts";
import type { TopicConfig } from "./topic-keys.ts";
import { defaultsOf, isSensitive, parseValue } from "./value.ts";
import type { ParsedValue, Value } from "./value.ts";

/** One setting as DescribeConfigs shows it. */
export interface ConfigEntry {
  readonly name: string;
  /** Null: no value, or a secret. */
  readonly value: string | null;
  readonly isReadOnly: boolean;
  readonly source: ConfigSource;
  readonly isSensitive: boolean;
  /** Kafka's number of the kind; 0 where the setting is unknown here. */
  readonly type: number;
  readonly doc: string;
  /** All values that were given for it, the one that counts first. */
  readonly synonyms: readonly ConfigSynonym[];
}

export interface ConfigSynonym {
  readonly name: string;
  readonly value: string | null;
  readonly source: ConfigSource;
}

const brokerTable: ConfigTable<BrokerKey> = brokerKeys;
const topicTable: ConfigTable<TopicKey> = topicKeys;
const groupTable: ConfigTable<GroupKey> = groupKeys;
const clientMetricsTable: ConfigTable = clientMetricsKeys;

const brokerDefaults = defaultsOf(brokerTable);
const topicDefaults = defaultsOf(topicTable);
const groupDefaults = defaultsOf(groupTable);
const clientMetricsDefaults = defaultsOf(clientMetricsTable);

const nothing: ReadonlyMap<string, string> = new Map();

/**
 * What is set, by whom, and what counts: a topic's override, then this broker's dynamic value, then the one for all
 * brokers, then file, environment and command line, then the default. Typed values are computed once a change.
 */
export class BrokerConfigs {
  readonly nodeId: number;
  readonly #static: ReadonlyMap<string, string>;
  readonly #overrides: Overrides;
  #version = -1;
  #broker: BrokerConfig | null = null;
  /** What a topic without overrides has: one object for all of them. */
  #topicBase: TopicConfig | null = null;
  readonly #topics = new Map<string, TopicConfig>();
  /** What a group without overrides has, and the groups that have some. */
  #groupBase: GroupConfig | null = null;
  readonly #groups = new Map<string, GroupConfig>();

  constructor(options: {
    readonly nodeId: number;
    /** Texts that were given at start; all valid. */
    readonly texts: ReadonlyMap<string, string>;
    readonly overrides: Overrides;
  }) {
    this.nodeId = options.nodeId;
    this.#static = options.texts;
    this.#overrides = options.overrides;
  }

  /** This broker's settings: a snapshot, never changed in place. */
  get broker(): BrokerConfig {
    this.#refresh();
    this.#broker ??= fromEntries<BrokerConfig>(brokerTable, (name) => this.#effective(name).value);
    return this.#broker;
  }

  /** A topic's settings: a snapshot, never changed in place. A name that is no topic has the defaults. */
  topic(name: string): TopicConfig {
    this.#refresh();
    let config = this.#topics.get(name);
    if (config === undefined) {
      this.#topics.set(name, (config = this.topicWith(this.#overrides.configsOf(ResourceType.TOPIC, name))));
    }
    return config;
  }

  /** What a topic with these overrides would have. */
  topicWith(overrides: ReadonlyMap<string, string>): TopicConfig {
    this.#refresh();
    this.#topicBase ??= fromEntries<TopicConfig>(topicTable, (name) => this.#topicValue(name, nothing).value);
    if (overrides.size === 0) return this.#topicBase;
    return fromEntries<TopicConfig>(topicTable, (name) => this.#topicValue(name, overrides).value);
  }

  /** A group's settings: a snapshot, never changed in place. A group that nobody knows has the broker's. */
  group(name: string): GroupConfig {
    this.#refresh();
    const overrides = this.#overrides.configsOf(ResourceType.GROUP, name);
    if (overrides.size === 0) {
      this.#groupBase ??= fromEntries<GroupConfig>(groupTable, (key) => this.#groupValue(key, nothing));
      return this.#groupBase;
    }
    let config = this.#groups.get(name);
    if (config === undefined) {
      config = fromEntries<GroupConfig>(groupTable, (key) => this.#groupValue(key, overrides));
      this.#groups.set(name, config);
    }
    return config;
  }

  /** The text that counts for one setting of a topic: what APPEND adds to. */
  topicText(name: string, overrides: ReadonlyMap<string, string>): string | null {
    return this.#topicValue(name, overrides).text;
  }

  /** The text that counts for a broker's setting before any dynamic value. */
  brokerText(name: string): string | null {
    return (this.#given(name, this.#static) ?? brokerDefaults.get(name))?.text ?? null;
  }

  /** A broker-wide number by name, for bounds that rows of other tables name. */
  brokerNumber(name: string): number {
    return Number(this.#effective(name).value);
  }

  describeTopic(overrides: ReadonlyMap<string, string>): ConfigEntry[] {
    return Object.entries(topicTable).map(([name, key]) =>
      this.#entry(name, key, {
        value: this.#topicValue(name, overrides).text,
        own: ownSynonym(name, key, overrides, ConfigSource.TOPIC),
        inherited: key.fallback === undefined ? [] : this.#synonymsOf(key.fallback),
      }),
    );
  }

  /** Everything of this broker; unknown names that were set are shown as secrets, as nobody knows what they hold. */
  describeBroker(): ConfigEntry[] {
    const known = Object.entries(brokerTable).map(([name, key]) =>
      this.#entry(name, key, {
        value: this.#plain(name).text,
        own: null,
        inherited: this.#synonymsOf(name),
        isReadOnly: key.mode === "read-only",
      }),
    );
    const dynamic = new Set([...this.#perBroker.keys(), ...this.#clusterWide.keys()]);
    const unknown = [...dynamic].filter((name) => brokerTable[name] === undefined);
    return [...known, ...unknown.map((name) => unknownEntry(name, this.#unknownSources(name)))];
  }

  /** What was set for all brokers at once, and nothing else. */
  describeAllBrokers(): ConfigEntry[] {
    return [...this.#clusterWide.keys()].map((name) => {
      const key = brokerTable[name];
      if (key === undefined) return unknownEntry(name, [ConfigSource.CLUSTER]);
      const own = ownSynonym(name, key, this.#clusterWide, ConfigSource.CLUSTER);
      return this.#entry(name, key, {
        value: own?.value ?? null,
        own,
        inherited: [],
        isReadOnly: key.mode === "read-only",
      });
    });
  }

  describeGroup(name: string): ConfigEntry[] {
    const overrides = this.#overrides.configsOf(ResourceType.GROUP, name);
    return Object.entries(groupTable).map(([name, key]) => {
      const own = ownSynonym(name, key, overrides, ConfigSource.GROUP);
      const fallback = must(groupDefaults.get(name), name);
      const inherited =
        key.fallback === undefined
          ? [{ name, value: fallback.text, source: ConfigSource.DEFAULT }]
          : this.#synonymsOf(key.fallback);
      return this.#entry(name, key, { value: own?.value ?? inherited[0]?.value ?? fallback.text, own, inherited });
    });
  }

  describeClientMetrics(name: string): ConfigEntry[] {
    const overrides = this.#overrides.configsOf(ResourceType.CLIENT_METRICS, name);
    return Object.entries(clientMetricsTable).map(([name, key]) => {
      const own = ownSynonym(name, key, overrides, ConfigSource.CLIENT_METRICS);
      return this.#entry(name, key, {
        value: own?.value ?? must(clientMetricsDefaults.get(name), name).text,
        own,
        inherited: [],
      });
    });
  }

  get #perBroker(): ReadonlyMap<string, string> {
    return this.#overrides.configsOf(ResourceType.BROKER, String(this.nodeId));
  }

  get #clusterWide(): ReadonlyMap<string, string> {
    return this.#overrides.configsOf(ResourceType.BROKER, allBrokers);
  }

  #refresh(): void {
    if (this.#version === this.#overrides.configVersion) return;
    this.#version = this.#overrides.configVersion;
    this.#broker = null;
    this.#topicBase = null;
    this.#topics.clear();
    this.#groupBase = null;
    this.#groups.clear();
  }

  #topicValue(name: string, overrides: ReadonlyMap<string, string>): ParsedValue {
    const key = must(topicTable[name], name);
    const own = parsedFrom(name, key, overrides);
    if (own !== null) return own;
    return key.fallback === undefined ? must(topicDefaults.get(name), name) : this.#effective(key.fallback);
  }

  /** The broker's bounds may have changed since the group's value was set: they count. */
  #groupValue(name: string, overrides: ReadonlyMap<string, string>): Value {
    const key = must(groupTable[name], name);
    const own = parsedFrom(name, key, overrides);
    if (own === null)
      return key.fallback === undefined
        ? must(groupDefaults.get(name), name).value
        : this.#effective(key.fallback).value;
    if (typeof own.value !== "number" || key.within === undefined) return own.value;
    const { min, max } = key.within;
    const least = min === undefined ? -Infinity : this.brokerNumber(min);
    return Math.max(least, Math.min(own.value, max === undefined ? Infinity : this.brokerNumber(max)));
  }

  /** A broker key's value without those of coarser units. */
  #plain(name: string): ParsedValue {
    const key = must(brokerTable[name], name);
    const dynamic =
      key.mode === "read-only" ? null : (this.#given(name, this.#perBroker) ?? this.#given(name, this.#clusterWide));
    return dynamic ?? this.#given(name, this.#static) ?? must(brokerDefaults.get(name), name);
  }

  /** A broker key's value, or that of the first of its coarser units that has one. */
  #effective(name: string): ParsedValue {
    const plain = this.#plain(name);
    if (plain.value !== null) return plain;
    for (const other of brokerTable[name]?.otherwise ?? []) {
      const value = this.#plain(other);
      if (value.value === null) continue;
      return inUnit(value, { fromMs: brokerTable[other]?.unitMs, toMs: brokerTable[name]?.unitMs });
    }
    return plain;
  }

  #given(name: string, texts: ReadonlyMap<string, string>): ParsedValue | null {
    return parsedFrom(name, must(brokerTable[name], name), texts);
  }

  /** Everything that was given for a broker key, in the order in which it counts; only if the key itself was given. */
  #synonymsOf(name: string): ConfigSynonym[] {
    const key = must(brokerTable[name], name);
    const names = [name, ...(key.otherwise ?? [])];
    const levels = [
      { texts: this.#perBroker, source: ConfigSource.BROKER },
      { texts: this.#clusterWide, source: ConfigSource.CLUSTER },
      { texts: this.#static, source: ConfigSource.STATIC },
    ];
    const synonyms: ConfigSynonym[] = [];
    for (const { texts, source } of levels) {
      for (const synonym of names) {
        const isDynamic = source !== ConfigSource.STATIC;
        if (isDynamic && brokerTable[synonym]?.mode === "read-only") continue;
        const parsed = this.#given(synonym, texts);
        if (parsed !== null) synonyms.push({ name: synonym, value: shown(synonym, parsed.text), source });
      }
    }
    for (const synonym of names) {
      const text = brokerDefaults.get(synonym)?.text ?? null;
      if (text !== null) synonyms.push({ name: synonym, value: shown(synonym, text), source: ConfigSource.DEFAULT });
    }
    // As in Kafka: a value that stands only under a coarser unit's name is not listed.
    const first = synonyms.findIndex((synonym) => synonym.name === name);
    return first === -1 ? [] : synonyms.slice(first);
  }

  #unknownSources(name: string): ConfigSource[] {
    const sources: ConfigSource[] = [];
    if (this.#perBroker.has(name)) sources.push(ConfigSource.BROKER);
    if (this.#clusterWide.has(name)) sources.push(ConfigSource.CLUSTER);
    return sources;
  }

  #entry(
    name: string,
    key: ConfigKey,
    parts: {
      readonly value: string | null;
      readonly own: ConfigSynonym | null;
      readonly inherited: readonly ConfigSynonym[];
      readonly isReadOnly?: boolean;
    },
  ): ConfigEntry {
    const synonyms = parts.own === null ? parts.inherited : [parts.own, ...parts.inherited];
    const sensitive = isSensitive(key.kind);
    return {
      name,
      value: sensitive ? null : parts.value,
      isReadOnly: parts.isReadOnly ?? false,
      source: synonyms[0]?.source ?? ConfigSource.DEFAULT,
      isSensitive: sensitive,
      type: codeOfKind[key.kind],
      doc: key.doc,
      synonyms,
    };
  }
}

function fromEntries<Config>(table: ConfigTable, valueOf: (name: string) => Value): Config {
  return Object.freeze(Object.fromEntries(Object.keys(table).map((name) => [name, valueOf(name)]))) as Config;
}

/** Null: not given, or no longer valid, in which case the next level counts. */
function parsedFrom(name: string, key: ConfigKey, texts: ReadonlyMap<string, string>): ParsedValue | null {
  const text = texts.get(name);
  if (text === undefined) return null;
  const parsed = parseValue(name, key, text);
  return parsed.ok ? parsed.value : null;
}

function inUnit(
  parsed: ParsedValue,
  { fromMs, toMs = 1 }: { readonly fromMs: number | undefined; readonly toMs: number | undefined },
): ParsedValue {
  if (fromMs === undefined) return parsed;
  const value = Math.max(-1, (Number(parsed.value) * fromMs) / toMs);
  return { value, text: String(value) };
}

function ownSynonym(
  name: string,
  key: ConfigKey,
  overrides: ReadonlyMap<string, string>,
  source: ConfigSource,
): ConfigSynonym | null {
  const parsed = parsedFrom(name, key, overrides);
  return parsed === null ? null : { name, value: isSensitive(key.kind) ? null : parsed.text, source };
}

function shown(name: string, text: string | null): string | null {
  return isSensitive(must(brokerTable[name], name).kind) ? null : text;
}

function unknownEntry(name: string, sources: readonly ConfigSource[]): ConfigEntry {
  return {
    name,
    value: null,
    isReadOnly: true,
    source: sources[0] ?? ConfigSource.DEFAULT,
    isSensitive: true,
    type: 0,
    doc: "",
    synonyms: sources.map((source) => ({ name, value: null, source })),
  };
}
