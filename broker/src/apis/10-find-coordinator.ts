/**
 * FindCoordinator v0–v6: coordinators of groups (key type 0) and transactions (1); v4+ asks for many keys at once. Share
 * coordinators (2) do not exist yet: COORDINATOR_NOT_AVAILABLE, as Kafka answers while their topic is missing.
 */
import { findCoordinator } from "kafka-protocol-ts/messages/10-find-coordinator";
import type { FindCoordinatorResponseInput } from "kafka-protocol-ts/messages/10-find-coordinator";
import { ErrorCode, errorMessage } from "kafka-protocol-ts/errors";
import { offsetsTopic } from "../groups-host.ts";
import type { Services } from "../services.ts";
import { transactionsTopic } from "../transactions-host.ts";
import { reachableBrokers } from "./cluster-view.ts";
import { handler } from "./handler.ts";
import type { Handler, RequestContext } from "./handler.ts";

const keyTypes = { group: 0, transaction: 1, share: 2 } as const;

interface Found {
  readonly nodeId: number;
  readonly host: string;
  readonly port: number;
  readonly errorCode: ErrorCode;
  readonly errorMessage: string;
}

export const findCoordinatorHandler: Handler = handler(
  findCoordinator,
  async (services, request, context): Promise<FindCoordinatorResponseInput> => {
    if (context.version < 4) {
      const found = await locate(services, request.keyType, request.key, context);
      // Before v4 success carries the error's name as its message; some clients print it.
      return { throttleTimeMs: 0, ...found, errorMessage: found.errorMessage === "" ? "NONE" : found.errorMessage };
    }
    const coordinators: {
      key: string;
      nodeId: number;
      host: string;
      port: number;
      errorCode: ErrorCode;
      errorMessage: string;
    }[] = [];
    for (const key of request.coordinatorKeys) {
      coordinators.push({ key, ...(await locate(services, request.keyType, key, context)) });
    }
    return { throttleTimeMs: 0, coordinators };
  },
);

async function locate(services: Services, keyType: number, key: string, context: RequestContext): Promise<Found> {
  if (keyType === keyTypes.share && key.split(":").length !== 3) {
    return nowhere(ErrorCode.INVALID_REQUEST, `${key} is not group:topicId:partition`);
  }
  if (keyType === keyTypes.share) return nowhere(ErrorCode.COORDINATOR_NOT_AVAILABLE);
  const isTransaction = keyType === keyTypes.transaction;
  if (!isTransaction && keyType !== keyTypes.group)
    return nowhere(ErrorCode.INVALID_REQUEST, `unknown coordinator key type ${keyType}`);
  const topic = isTransaction ? transactionsTopic : offsetsTopic;
  const isReady = await services.topicCreation.ensureInternalTopic(topic);
  if (!isReady.ok) return nowhere(ErrorCode.COORDINATOR_NOT_AVAILABLE);
  const index = isTransaction ? services.transactions.coordinator.partitionFor(key) : services.groups.partitionFor(key);
  return leaderOf(services, topic, index, context);
}

/** The coordinator is who leads the partition, as the metadata has it; where that is this broker, as long as its log works. */
function leaderOf(services: Services, topic: string, index: number, context: RequestContext): Found {
  const { identity, metadata, partitions } = services;
  const leader = metadata.image.topic(topic)?.partitions[index]?.leader ?? -1;
  const isHere = leader === identity.nodeId;
  if (isHere && !partitions.leading(topic, index).ok) return nowhere(ErrorCode.COORDINATOR_NOT_AVAILABLE);
  const broker = reachableBrokers(services, context, { includesFenced: isHere }).find(({ id }) => id === leader);
  if (broker === undefined) return nowhere(isHere ? ErrorCode.LISTENER_NOT_FOUND : ErrorCode.COORDINATOR_NOT_AVAILABLE);
  const { host, port } = broker;
  return { nodeId: leader, host, port, errorCode: ErrorCode.NONE, errorMessage: "" };
}

function nowhere(errorCode: ErrorCode, message: string = errorMessage(errorCode)): Found {
  return { nodeId: -1, host: "", port: -1, errorCode, errorMessage: message };
}
