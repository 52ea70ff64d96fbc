/** ListConfigResources v0–v1: what can be asked about with DescribeConfigs. v0 knows client-metrics subscriptions only. */
import { listConfigResources } from "kafka-protocol-ts/messages/74-list-config-resources";
import type { ListConfigResourcesResponseInput } from "kafka-protocol-ts/messages/74-list-config-resources";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { isResourceType, ResourceType } from "../config/resources.ts";
import type { Services } from "../services.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

export const listConfigResourcesHandler: Handler = handler(
  listConfigResources,
  (services, { resourceTypes }, context): ListConfigResourcesResponseInput => {
    const asked = context.version === 0 ? [ResourceType.CLIENT_METRICS] : resourceTypes;
    const types = asked.length === 0 ? Object.values(ResourceType) : [...new Set(asked)];
    if (!types.every(isResourceType)) {
      return { throttleTimeMs: 0, errorCode: ErrorCode.UNSUPPORTED_VERSION, configResources: [] };
    }
    return {
      throttleTimeMs: 0,
      errorCode: ErrorCode.NONE,
      configResources: types.flatMap((resourceType) =>
        namesOf(services, resourceType).map((resourceName) => ({ resourceName, resourceType })),
      ),
    };
  },
);

function namesOf({ metadata }: Services, type: ResourceType): string[] {
  const { image } = metadata;
  switch (type) {
    case ResourceType.TOPIC:
      return [...image.topics()].map(({ name }) => name);
    case ResourceType.BROKER:
    case ResourceType.BROKER_LOGGER:
      return [...image.brokers.keys()].map(String);
    case ResourceType.GROUP:
    case ResourceType.CLIENT_METRICS:
      return [...image.configuredResources(type)];
  }
}
