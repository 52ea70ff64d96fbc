/**
 * DescribeConfigs v1–v4: settings of topics, of this broker, of all brokers (empty name), of its logger, of groups and of
 * client-metrics subscriptions, with where each value comes from. A group or subscription without settings has defaults.
 */
import { describeConfigs } from "kafka-protocol-ts/messages/32-describe-configs";
import type {
  DescribeConfigsRequest,
  DescribeConfigsRequestResource,
  DescribeConfigsResponseInput,
  DescribeConfigsResponseResultInput,
} from "kafka-protocol-ts/messages/32-describe-configs";
import { ErrorCode, errorMessage } from "kafka-protocol-ts/errors";
import type { ConfigEntry } from "../config/broker-configs.ts";
import { allBrokers, ConfigSource, isResourceType, ResourceType } from "../config/resources.ts";
import { rootLogger } from "../metadata/controller/alter-configs.ts";
import { validateTopicName } from "../metadata/topics.ts";
import type { Services } from "../services.ts";
import { boundedMessage, entriesByName } from "./config-answers.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

type Described =
  | { readonly errorCode: typeof ErrorCode.NONE; readonly entries: readonly ConfigEntry[] }
  | { readonly errorCode: ErrorCode; readonly message: string };

export const describeConfigsHandler: Handler = handler(
  describeConfigs,
  (services, request): DescribeConfigsResponseInput => {
    // As in Kafka, one unknown type refuses the whole request.
    const isReadable = request.resources.every(({ resourceType }) => isResourceType(resourceType));
    return {
      throttleTimeMs: 0,
      results: request.resources.map((resource) => {
        const described = isReadable
          ? describe(services, resource)
          : refused(ErrorCode.INVALID_REQUEST, errorMessage(ErrorCode.INVALID_REQUEST));
        return answer(request, resource, described);
      }),
    };
  },
);

function answer(
  request: DescribeConfigsRequest,
  { resourceType, resourceName, configurationKeys }: DescribeConfigsRequestResource,
  described: Described,
): DescribeConfigsResponseResultInput {
  const entries = "entries" in described ? entriesByName(described.entries, configurationKeys) : [];
  return {
    errorCode: described.errorCode,
    errorMessage: "message" in described ? boundedMessage(described.message) : "",
    resourceType,
    resourceName,
    configs: entries.map((entry) => ({
      name: entry.name,
      value: entry.value,
      readOnly: entry.isReadOnly,
      configSource: entry.source,
      isSensitive: entry.isSensitive,
      synonyms: request.includeSynonyms ? entry.synonyms : [],
      configType: entry.type,
      documentation: request.includeDocumentation ? entry.doc : null,
    })),
  };
}

function describe({ configs, metadata }: Services, resource: DescribeConfigsRequestResource): Described {
  const { resourceType, resourceName: name } = resource;
  switch (resourceType as ResourceType) {
    case ResourceType.TOPIC: {
      const valid = validateTopicName(name);
      if (!valid.ok) return refused(ErrorCode.INVALID_TOPIC_EXCEPTION, valid.message ?? "");
      if (metadata.image.topic(name) === undefined) return refused(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "");
      return described(configs.describeTopic(metadata.image.configsOf(ResourceType.TOPIC, name)));
    }
    case ResourceType.BROKER: {
      if (name === allBrokers) return described(configs.describeAllBrokers());
      const fault = nodeFault(
        name,
        configs.nodeId,
        `, expected ${configs.nodeId} or empty string, but received ${name}`,
      );
      return fault ?? described(configs.describeBroker());
    }
    case ResourceType.BROKER_LOGGER: {
      if (name === "") return refused(ErrorCode.INVALID_REQUEST, "Broker id must not be empty");
      const fault = nodeFault(name, configs.nodeId, `, expected ${configs.nodeId} but received ${name}`);
      return fault ?? described([rootLoggerEntry]);
    }
    case ResourceType.CLIENT_METRICS:
      if (name === "") return refused(ErrorCode.INVALID_REQUEST, "Client metrics subscription name must not be empty");
      return described(configs.describeClientMetrics(name));
    case ResourceType.GROUP:
      if (name === "") return refused(ErrorCode.INVALID_REQUEST, "Group name must not be empty");
      return described(configs.describeGroup(name));
  }
}

function described(entries: readonly ConfigEntry[]): Described {
  return { errorCode: ErrorCode.NONE, entries };
}

function refused(errorCode: ErrorCode, message: string): Described {
  return { errorCode, message };
}

function nodeFault(name: string, nodeId: number, unexpected: string): Described | null {
  if (!/^[+-]?\d+$/.test(name)) {
    return refused(ErrorCode.INVALID_REQUEST, `Broker id must be an integer, but it is: ${name}`);
  }
  return Number(name) === nodeId ? null : refused(ErrorCode.INVALID_REQUEST, `Unexpected broker id${unexpected}`);
}

/** There is one logger, and its level is fixed at start. */
const rootLoggerEntry: ConfigEntry = {
  name: rootLogger,
  value: "INFO",
  isReadOnly: true,
  source: ConfigSource.LOGGER,
  isSensitive: false,
  type: 0,
  doc: "",
  synonyms: [],
};
