import { failed, ok } from "@millrace/base/result";
import { allBrokers, isResourceType, ResourceType } from "../../config/resources.ts";
import { splitList } from "../../config/value.ts";
import type { MetadataImage } from "../image.ts";
import type { ConfigRecord } from "../records.ts";
import {
  checkBrokerOverrides,
  checkClientMetricsOverrides,
  checkGroupOverrides,
  checkTopicOverrides,
  isBrokerList,
  isClientMetricsList,
  isTopicList,
} from "./check-configs.ts";
import { duplicatesOf } from "./decision.ts";
import type { Decision, DecisionContext, ItemResult } from "./decision.ts";
import { checkMinInSync, withoutVoidEligibility } from "./eligible-leaders.ts";

/** Kafka's numbers. */
export const ConfigOperation = { SET: 0, DELETE: 1, APPEND: 2, SUBTRACT: 3 } as const;

export interface ConfigChange {
  readonly name: string;
  /** One of ConfigOperation; from outside, so it may be anything. */
  readonly operation: number;
  readonly value: string | null;
}

/** What a string of an answer can hold: a list that grows by APPEND, or broken UTF-8, could not be shown again. */
const textBytesMax = 32_767;

/** Changes of one resource: all of them are made, or none. */
export interface ResourceChanges {
  readonly type: number;
  readonly name: string;
  readonly changes: readonly ConfigChange[];
  /** Settings that are not named lose their overrides: AlterConfigs, where IncrementalAlterConfigs leaves them. */
  readonly replacesAll: boolean;
}

/** One result for each resource, in order. */
export function alterConfigs(
  context: DecisionContext,
  resources: readonly ResourceChanges[],
): Decision<readonly ItemResult<null>[]> {
  const keyOf = ({ type, name }: ResourceChanges): string => `${type} ${name}`;
  const duplicates = duplicatesOf(resources.map(keyOf));
  const records: ConfigRecord[] = [];
  const response = resources.map((resource): ItemResult<null> => {
    if (duplicates.has(keyOf(resource))) return failed("bad-request", "Each resource must appear at most once.");
    const decided = alterResource(context, resource);
    if (!decided.ok) return decided;
    records.push(...decided.value);
    return ok(null);
  });
  return { response, records: [...records, ...withoutVoidEligibility(context, records)] };
}

/** The overrides of a topic that is about to be, as CreateTopics gives them. */
export function checkTopicConfigs(
  context: DecisionContext,
  given: readonly { readonly name: string; readonly value: string | null }[],
): ItemResult<ReadonlyMap<string, string>> {
  const overrides = new Map<string, string>();
  for (const { name, value } of given) {
    if (value === null) return failed("invalid-config", `Null value not supported for topic configs: ${name}`);
    overrides.set(name, value);
  }
  return checkTopicOverrides(context, overrides);
}

function alterResource(context: DecisionContext, resource: ResourceChanges): ItemResult<readonly ConfigRecord[]> {
  const { type, name, changes } = resource;
  if (!isResourceType(type)) return failed("bad-request", `Unknown resource type ${type}`);
  if (duplicatesOf(changes.map((change) => change.name)).size > 0) {
    return failed("bad-request", "Error due to duplicate config keys");
  }
  const valueless = changes.filter(({ operation, value }) => value === null && operation !== ConfigOperation.DELETE);
  if (valueless.length > 0) {
    return failed("bad-request", `Null value not supported for : ${valueless.map((change) => change.name).join(",")}`);
  }
  if (type === ResourceType.BROKER_LOGGER) return alterLogLevels(context, resource);
  const known = checkResource(context, type, name);
  if (!known.ok) return known;
  const before = context.image.configsOf(type, name);
  const changed = changedOverrides(context, { ...resource, type }, before);
  if (!changed.ok) return changed;
  const long = [name, ...[...changed.value].flat()].find((text) => Buffer.byteLength(text) > textBytesMax);
  if (long !== undefined) {
    return failed("invalid-config", `A name or value is longer than ${textBytesMax} bytes: ${long.slice(0, 40)}...`);
  }
  const checked = checkOverrides(context, type, name, changed.value);
  if (!checked.ok) return checked;
  const records = difference(type, name, before, checked.value);
  for (const record of records) {
    const allowed = checkMinInSync(context, record);
    if (!allowed.ok) return allowed;
  }
  return ok(records);
}

type Alterable = Exclude<ResourceType, typeof ResourceType.BROKER_LOGGER>;

/** Whether there is such a resource, and it may have settings. */
function checkResource({ image, configs }: DecisionContext, type: Alterable, name: string): ItemResult<null> {
  switch (type) {
    case ResourceType.TOPIC:
      if (name === "") return failed("bad-request", "Default topic resources are not allowed.");
      if (image.topic(name) === undefined) return failed("unknown-topic", `The topic '${name}' does not exist.`);
      return ok(null);
    case ResourceType.BROKER:
      return name === allBrokers ? ok(null) : checkNodeId(name, image, configs.nodeId);
    case ResourceType.GROUP:
      return name === "" ? failed("bad-request", "Default group resources are not allowed.") : ok(null);
    case ResourceType.CLIENT_METRICS:
      return name === "" ? failed("bad-request", "Subscription name can't be empty") : ok(null);
  }
}

function checkNodeId(name: string, { brokers }: MetadataImage, nodeId: number): ItemResult<null> {
  if (!/^[+-]?\d+$/.test(name)) return failed("bad-request", `Node id must be an integer, but it is: ${name}`);
  if (Number(name) === nodeId || brokers.has(Number(name))) return ok(null);
  return failed("bad-request", `Unexpected broker id, expected ${nodeId}, but received ${name}`);
}

function checkOverrides(
  context: DecisionContext,
  type: Alterable,
  name: string,
  overrides: ReadonlyMap<string, string>,
): ItemResult<ReadonlyMap<string, string>> {
  switch (type) {
    case ResourceType.TOPIC:
      return checkTopicOverrides(context, overrides);
    case ResourceType.BROKER:
      return checkBrokerOverrides(name, overrides);
    case ResourceType.GROUP:
      return checkGroupOverrides(context, overrides);
    case ResourceType.CLIENT_METRICS:
      return checkClientMetricsOverrides(overrides);
  }
}

function changedOverrides(
  context: DecisionContext,
  { type, changes, replacesAll }: ResourceChanges & { readonly type: Alterable },
  before: ReadonlyMap<string, string>,
): ItemResult<ReadonlyMap<string, string>> {
  const overrides = new Map(replacesAll ? [] : before);
  for (const { name, operation, value } of changes) {
    switch (operation) {
      case ConfigOperation.SET:
        overrides.set(name, value ?? "");
        break;
      case ConfigOperation.DELETE:
        overrides.delete(name);
        break;
      case ConfigOperation.APPEND:
      case ConfigOperation.SUBTRACT: {
        const isAppend = operation === ConfigOperation.APPEND;
        if (!isList(type, name)) return notAList(type, name, isAppend);
        const list = splitList(currentText(context, type, name, overrides));
        const named = splitList(value ?? "");
        const added = named.filter((element) => !list.includes(element));
        const result = isAppend ? [...list, ...added] : list.filter((element) => !named.includes(element));
        overrides.set(name, result.join(","));
        break;
      }
      default:
        return failed("bad-request", `Unknown operation type ${operation}`);
    }
  }
  return ok(overrides);
}

function isList(type: Alterable, name: string): boolean {
  switch (type) {
    case ResourceType.TOPIC:
      return isTopicList(name);
    case ResourceType.BROKER:
      return isBrokerList(name);
    case ResourceType.CLIENT_METRICS:
      return isClientMetricsList(name);
    case ResourceType.GROUP:
      return false;
  }
}

function notAList(type: Alterable, name: string, isAppend: boolean): ItemResult<never> {
  if (type === ResourceType.BROKER) {
    const what = isAppend ? "append" : "subtract";
    return failed("invalid-config", `Config value ${what} is not allowed for config key: ${name}`);
  }
  const what = isAppend ? "APPEND to" : "SUBTRACT from";
  return failed("invalid-config", `Can't ${what} key ${name} because its type is not LIST.`);
}

/** What a list holds before it is added to: the override, or else what counts without one. */
function currentText(
  { configs }: DecisionContext,
  type: Alterable,
  name: string,
  overrides: ReadonlyMap<string, string>,
): string {
  const own = overrides.get(name);
  if (own !== undefined) return own;
  if (type === ResourceType.TOPIC) return configs.topicText(name, overrides) ?? "";
  return type === ResourceType.BROKER ? (configs.brokerText(name) ?? "") : "";
}

function difference(
  resourceType: ResourceType,
  resourceName: string,
  before: ReadonlyMap<string, string>,
  after: ReadonlyMap<string, string>,
): ConfigRecord[] {
  const records: ConfigRecord[] = [];
  for (const [name, value] of after) {
    if (before.get(name) !== value) records.push({ type: "config", resourceType, resourceName, name, value });
  }
  for (const name of before.keys()) {
    if (!after.has(name)) records.push({ type: "config", resourceType, resourceName, name, value: null });
  }
  return records;
}

export const rootLogger = "root";
const logLevels = ["DEBUG", "ERROR", "FATAL", "INFO", "TRACE", "WARN"];

/** There is one logger, and its level is fixed at start: what would change it is refused, with Kafka's reasons where it has one. */
function alterLogLevels({ configs }: DecisionContext, resource: ResourceChanges): ItemResult<never[]> {
  if (resource.replacesAll) return failed("bad-request", `Unknown resource type ${resource.type}`);
  if (Number(resource.name) !== configs.nodeId || resource.name === "") {
    return failed("bad-request", `Unexpected node id. Expected ${configs.nodeId}, but received ${resource.name}`);
  }
  for (const { name, operation, value } of resource.changes) {
    if (operation === ConfigOperation.APPEND || operation === ConfigOperation.SUBTRACT) {
      const what = operation === ConfigOperation.APPEND ? "APPEND" : "SUBTRACT";
      return failed("bad-request", `${what} operation is not allowed for the BROKER_LOGGER resource`);
    }
    if (name !== rootLogger) return failed("invalid-config", `Logger ${name} does not exist!`);
    if (operation === ConfigOperation.DELETE) {
      return failed("bad-request", "Removing the log level of the root logger is not allowed");
    }
    if (!logLevels.includes(value ?? "")) {
      return failed(
        "invalid-config",
        `Cannot set the log level of ${name} to ${value} as it is not a supported log level. Valid log levels are ${logLevels.join(", ")}`,
      );
    }
    return failed("bad-request", "The log level is set at start and cannot be changed while the broker runs");
  }
  return ok([]);
}
