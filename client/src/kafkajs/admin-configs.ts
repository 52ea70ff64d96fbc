import { describeConfigs as describeConfigsApi } from "kafka-protocol-ts/messages/32-describe-configs";
import type { DescribeConfigsResponse } from "kafka-protocol-ts/messages/32-describe-configs";
import { alterConfigs as alterConfigsApi } from "kafka-protocol-ts/messages/33-alter-configs";
import type { BrokerConnection } from "../network/broker-connection.ts";
import type { Wire } from "../network/wire.ts";
import { checkArray, checkConfigEntries, checkConfigResources } from "./admin-checks.ts";
import type { AdminContext } from "./admin-topics.ts";
import type {
  Admin,
  AlteredConfigs,
  DescribeConfigResponse,
  IResourceConfig,
  ResourceConfigQuery,
} from "./admin-types.ts";
import { asking, check } from "./asking.ts";
import { ConfigResourceTypes, ConfigSource } from "./enums.ts";

/** What a broker says of itself it alone can say. */
const ofBrokers: ReadonlySet<number> = new Set([ConfigResourceTypes.BROKER, ConfigResourceTypes.BROKER_LOGGER]);

export async function describeConfigs(
  { wire, retry }: AdminContext,
  { resources, includeSynonyms = false }: Parameters<Admin["describeConfigs"]>[0],
): Promise<DescribeConfigResponse> {
  checkConfigResources(resources);
  for (const { configNames } of resources)
    if (configNames !== undefined && configNames !== null) checkArray("configNames", configNames);
  const answers = await perBroker<ResourceConfigQuery, DescribeConfigsResponse["results"]>(
    { wire, retry },
    resources,
    async (connection, asked) => {
      const { results } = await connection.request(describeConfigsApi, {
        resources: asked.map(({ type, name, configNames }) => ({
          resourceType: type,
          resourceName: name,
          configurationKeys: configNames === undefined || configNames.length === 0 ? null : configNames,
        })),
        includeSynonyms,
      });
      for (const result of results) check(result, result.resourceName, connection);
      return results;
    },
  );
  return { resources: answers.flat().map(described), throttleTime: 0 };
}

function described(result: DescribeConfigsResponse["results"][number]): DescribeConfigResponse["resources"][number] {
  const { errorCode, errorMessage, resourceType, resourceName, configs } = result;
  return {
    errorCode,
    errorMessage: errorMessage as string,
    resourceType: resourceType as ConfigResourceTypes,
    resourceName,
    configEntries: configs.map(({ name, value, readOnly, configSource, isSensitive, synonyms }) => ({
      configName: name,
      configValue: value as string,
      readOnly,
      isDefault: configSource === ConfigSource.DEFAULT_CONFIG,
      configSource: configSource as ConfigSource,
      isSensitive,
      configSynonyms: synonyms.map((synonym) => ({
        configName: synonym.name,
        configValue: synonym.value as string,
        configSource: synonym.source as ConfigSource,
      })),
    })),
  };
}

export async function alterConfigs(
  { wire, retry }: AdminContext,
  { resources, validateOnly = false }: Parameters<Admin["alterConfigs"]>[0],
): Promise<AlteredConfigs> {
  checkConfigResources(resources);
  for (const { name, configEntries } of resources) checkConfigEntries(name, configEntries);
  const answers = await perBroker<IResourceConfig, AlteredConfigs["resources"]>(
    { wire, retry },
    resources,
    async (connection, asked) => {
      const { responses } = await connection.request(alterConfigsApi, {
        resources: asked.map(({ type, name, configEntries }) => ({
          resourceType: type,
          resourceName: name,
          configs: configEntries,
        })),
        validateOnly,
      });
      for (const response of responses) check(response, response.resourceName, connection);
      return responses.map((each) => ({ ...each }));
    },
  );
  return { resources: answers.flat() };
}

/** Each broker is asked for what is its own, and the controller for the rest. */
async function perBroker<Resource extends { readonly type: number; readonly name: string }, Answer>(
  { wire, retry }: { readonly wire: Wire; readonly retry: AdminContext["retry"] },
  resources: readonly Resource[],
  ask: (connection: BrokerConnection, resources: readonly Resource[]) => Promise<Answer>,
): Promise<Answer[]> {
  const byBroker = Map.groupBy(resources, ({ type, name }) => (ofBrokers.has(type) ? Number(name) : null));
  return Promise.all(
    Array.from(byBroker, async ([nodeId, asked]) =>
      asking(wire, retry, async () =>
        ask(nodeId === null ? await wire.controller() : await wire.broker(nodeId), asked),
      ),
    ),
  );
}
