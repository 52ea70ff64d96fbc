import { failed, ok } from "@millrace/base/result";
import { brokerKeys } from "../../config/broker-keys.ts";
import { clientMetricsKeys } from "../../config/client-metrics-keys.ts";
import { groupKeys } from "../../config/group-keys.ts";
import type { BrokerKey, ConfigTable, GroupKey, TopicKey } from "../../config/key.ts";
import { allBrokers } from "../../config/resources.ts";
import { topicKeys } from "../../config/topic-keys.ts";
import { parseValue } from "../../config/value.ts";
import type { ParsedValue } from "../../config/value.ts";
import type { DecisionContext, ItemResult } from "./decision.ts";

const topicTable: ConfigTable<TopicKey> = topicKeys;
const brokerTable: ConfigTable<BrokerKey> = brokerKeys;
const groupTable: ConfigTable<GroupKey> = groupKeys;
const clientMetricsTable: ConfigTable = clientMetricsKeys;

type Overrides = ReadonlyMap<string, string>;

/** Whether a topic may have these overrides: each by itself, and all of them together with what they leave to the broker. */
export function checkTopicOverrides(
  { configs }: Pick<DecisionContext, "configs">,
  overrides: Overrides,
): ItemResult<Overrides> {
  for (const [name, text] of overrides) {
    const key = topicTable[name];
    if (key === undefined) return failed("invalid-config", `Unknown topic config name: ${name}`);
    const parsed = parseValue(name, key, text);
    if (!parsed.ok) return failed("invalid-config", parsed.message);
  }
  const config = configs.topicWith(overrides);
  if (config["remote.storage.enable"]) {
    return failed(
      "invalid-config",
      "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.",
    );
  }
  const [least, most] = ["min.compaction.lag.ms", "max.compaction.lag.ms"] as const;
  if (config[least] > config[most]) {
    const settings = `${least} (${config[least]}) > ${most} (${config[most]})`;
    return failed("invalid-config", `conflict topic config setting ${settings}`);
  }
  return ok(overrides);
}

/**
 * Whether a broker, or with an empty name all brokers, may have these dynamic values. A name that nobody knows is kept,
 * as in Kafka: it may belong to a plugin or to a newer version.
 */
export function checkBrokerOverrides(resource: string, overrides: Overrides): ItemResult<Overrides> {
  const withMode = (mode: BrokerKey["mode"]): string[] =>
    [...overrides.keys()].filter((name) => brokerTable[name]?.mode === mode);
  const fixed = withMode("read-only");
  if (fixed.length > 0) {
    return failed("bad-request", `Cannot update these configs dynamically: [${fixed.join(", ")}]`);
  }
  const own = withMode("per-broker");
  if (resource === allBrokers && own.length > 0) {
    return failed(
      "bad-request",
      `Cannot update these configs at default cluster level, broker id must be specified: [${own.join(", ")}]`,
    );
  }
  for (const [name, text] of overrides) {
    const key = brokerTable[name];
    if (key === undefined) continue;
    const parsed = parseValue(name, dynamically(key), text);
    if (!parsed.ok) return failed("bad-request", parsed.message);
  }
  return ok(overrides);
}

/** The row as it binds those who change the setting while the broker runs: no connection at all could not be undone. */
function dynamically(key: BrokerKey): BrokerKey {
  return key.dynamicMin === undefined ? key : { ...key, min: key.dynamicMin };
}

export function checkGroupOverrides(
  { configs }: Pick<DecisionContext, "configs">,
  overrides: Overrides,
): ItemResult<Overrides> {
  for (const [name, text] of overrides) {
    const key = groupTable[name];
    if (key === undefined) return failed("invalid-config", `Unknown group config name: ${name}`);
    const parsed = parseValue(name, key, text);
    if (!parsed.ok) return failed("invalid-config", parsed.message);
    const { min, max } = key.within ?? {};
    const value = Number(parsed.value.value);
    if (min !== undefined && value < configs.brokerNumber(min)) {
      return failed("invalid-config", `${name} must be greater than or equal to ${min}`);
    }
    if (max !== undefined && value > configs.brokerNumber(max)) {
      return failed("invalid-config", `${name} must be less than or equal to ${max}`);
    }
  }
  return ok(overrides);
}

const pushIntervalMs = { min: 100, max: 3_600_000 };

export function checkClientMetricsOverrides(overrides: Overrides): ItemResult<Overrides> {
  for (const [name, text] of overrides) {
    const key = clientMetricsTable[name];
    if (key === undefined) return failed("bad-request", `Unknown client metrics configuration: ${name}`);
    const parsed = parseValue(name, key, text);
    if (!parsed.ok) return failed("invalid-config", parsed.message);
    if (name === "interval.ms" && !isPushInterval(parsed.value)) {
      return failed(
        "bad-request",
        `Invalid value ${parsed.value.text} for interval.ms, interval must be between 100 and 3600000 (1 hour)`,
      );
    }
  }
  return ok(overrides);
}

function isPushInterval({ value }: ParsedValue): boolean {
  return Number(value) >= pushIntervalMs.min && Number(value) <= pushIntervalMs.max;
}

export function isTopicList(name: string): boolean {
  return topicTable[name]?.kind === "list";
}

export function isBrokerList(name: string): boolean {
  return brokerTable[name]?.kind === "list";
}

export function isClientMetricsList(name: string): boolean {
  return clientMetricsTable[name]?.kind === "list";
}
