/**
 * Metadata v0–v13: brokers, and topics by name or (v12+) by id. Topics that do not exist are created where broker and
 * client allow it, and stand in the same answer.
 */
import { metadata as metadataApi } from "kafka-protocol-ts/messages/03-metadata";
import type {
  MetadataRequest,
  MetadataRequestTopic,
  MetadataResponseInput,
  MetadataResponseTopicInput,
} from "kafka-protocol-ts/messages/03-metadata";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { zeroUuid } from "kafka-protocol-ts/reader";
import { codeOfControllerFailure } from "../metadata/controller/decision.ts";
import type { TopicImage } from "../metadata/image.ts";
import { isInternalTopic, validateTopicName } from "../metadata/topics.ts";
import type { Services } from "../services.ts";
import {
  allClusterOperations,
  allTopicOperations,
  controllerIdOf,
  operationsNotAsked,
  reachableBrokers,
  viewPartitions,
} from "./cluster-view.ts";
import { handler } from "./handler.ts";
import type { Handler, RequestContext } from "./handler.ts";

/** Before this version an id in a request was not yet served, though it could be sent. */
const firstVersionById = 12;

export const metadataHandler: Handler = handler(
  metadataApi,
  async (services, request, context): Promise<MetadataResponseInput> => {
    const wanted = wantedTopics(request, context.version);
    const isRefused = wanted?.some((topic) => !isServed(topic, context.version)) === true;
    if (wanted !== null && isRefused) return refusal(wanted);
    const operations = request.includeTopicAuthorizedOperations ? allTopicOperations : operationsNotAsked;
    const topics =
      wanted === null
        ? [...services.metadata.image.topics()].map((topic) => found(services, topic, context, operations))
        : await describe(services, wanted, context, { operations, mayCreate: request.allowAutoTopicCreation });
    return {
      throttleTimeMs: 0,
      brokers: reachableBrokers(services, context, { includesFenced: false }).map(({ id, ...broker }) => ({
        nodeId: id,
        host: broker.host,
        port: broker.port,
        rack: broker.rack,
      })),
      clusterId: services.identity.clusterId,
      controllerId: controllerIdOf(services),
      topics,
      clusterAuthorizedOperations: request.includeClusterAuthorizedOperations
        ? allClusterOperations
        : operationsNotAsked,
      errorCode: ErrorCode.NONE,
    };
  },
);

/** Null: all of them. At v0 an empty list asks for all, later for none. */
function wantedTopics({ topics }: MetadataRequest, version: number): readonly MetadataRequestTopic[] | null {
  return version === 0 && topics?.length === 0 ? null : topics;
}

function isServed({ topicId, name }: MetadataRequestTopic, version: number): boolean {
  if (topicId !== zeroUuid) return version >= firstVersionById;
  return name !== null;
}

/** The whole request is refused for one topic that it asks for in a wrong way. */
function refusal(topics: readonly MetadataRequestTopic[]): MetadataResponseInput {
  return {
    brokers: [],
    clusterId: null,
    controllerId: -1,
    topics: topics.map(({ name, topicId }) => ({
      errorCode: ErrorCode.INVALID_REQUEST,
      name: name ?? "",
      topicId,
      partitions: [],
    })),
  };
}

async function describe(
  services: Services,
  wanted: readonly MetadataRequestTopic[],
  context: RequestContext,
  options: { readonly operations: number; readonly mayCreate: boolean },
): Promise<MetadataResponseTopicInput[]> {
  const { image, configs } = services.metadata;
  const names = new Set<string>();
  const ids = new Set<string>();
  for (const { name, topicId } of wanted) {
    if (topicId !== zeroUuid) ids.add(topicId);
    else if (name !== null) names.add(name);
  }
  const isCreating = options.mayCreate && configs.broker["auto.create.topics.enable"];
  const failures = isCreating ? await createMissing(services, names) : new Map<string, ErrorCode>();
  const byName = [...names].map((name) => {
    const topic = image.topic(name);
    if (topic !== undefined) return found(services, topic, context, options.operations);
    const isValid = validateTopicName(name).ok;
    const errorCode = isValid ? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION : ErrorCode.INVALID_TOPIC_EXCEPTION;
    return {
      errorCode: failures.get(name) ?? errorCode,
      name,
      isInternal: isInternalTopic(name),
      partitions: [],
      topicAuthorizedOperations: options.operations,
    };
  });
  const byId = [...ids].map((topicId) => {
    const topic = image.topicById(topicId);
    if (topic !== undefined) return found(services, topic, context, options.operations);
    return { errorCode: ErrorCode.UNKNOWN_TOPIC_ID, name: null, topicId, partitions: [] };
  });
  return [...byName, ...byId];
}

/** Why a name could not become a topic. One that another request has just created is no failure. */
async function createMissing(
  { metadata, topicCreation }: Services,
  names: ReadonlySet<string>,
): Promise<ReadonlyMap<string, ErrorCode>> {
  const missing = [...names].filter((name) => metadata.image.topic(name) === undefined && validateTopicName(name).ok);
  const failures = new Map<string, ErrorCode>();
  if (missing.length === 0) return failures;
  const results = await topicCreation.createMissing(missing);
  for (const [index, result] of results.entries()) {
    const name = missing[index];
    if (name !== undefined && !result.ok) failures.set(name, codeOfControllerFailure[result.failure]);
  }
  return failures;
}

function found(
  services: Services,
  topic: TopicImage,
  context: RequestContext,
  operations: number,
): MetadataResponseTopicInput {
  return {
    errorCode: ErrorCode.NONE,
    name: topic.name,
    topicId: topic.id,
    isInternal: isInternalTopic(topic.name),
    partitions: viewPartitions(services, topic, context),
    topicAuthorizedOperations: operations,
  };
}
