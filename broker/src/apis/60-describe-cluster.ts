/**
 * DescribeCluster v0–v2: the brokers as this listener reaches them; on a listener of controllers, the controllers that said where they
 * are (KIP-919).
 */
import { describeCluster } from "kafka-protocol-ts/messages/60-describe-cluster";
import type {
  DescribeClusterRequest,
  DescribeClusterResponseInput,
} from "kafka-protocol-ts/messages/60-describe-cluster";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { memberOf } from "../quorum/node-ids.ts";
import type { NodeServices } from "../services.ts";
import { allClusterOperations, controllerIdOf, operationsNotAsked, reachableBrokers } from "./cluster-view.ts";
import { handler } from "./handler.ts";
import type { Handler, RequestContext } from "./handler.ts";

const endpoints = { broker: 1, controller: 2 } as const;

export const describeClusterHandler: Handler = handler(
  describeCluster,
  (services, request, context): DescribeClusterResponseInput => {
    const fault = endpointFault(request, context);
    if (fault !== null) return fault;
    const brokers = reachableBrokers(services, context, { includesFenced: request.includeFencedBrokers });
    return {
      throttleTimeMs: 0,
      errorCode: ErrorCode.NONE,
      errorMessage: null,
      endpointType: request.endpointType,
      clusterId: services.identity.clusterId,
      controllerId: controllerIdOf(services),
      brokers: brokers.map(({ id, ...broker }) => ({ brokerId: id, ...broker })),
      clusterAuthorizedOperations: request.includeClusterAuthorizedOperations
        ? allClusterOperations
        : operationsNotAsked,
    };
  },
);

export const describeControllersHandler: Handler<NodeServices> = handler(
  describeCluster,
  ({ metadata, identity }: NodeServices, request, context): DescribeClusterResponseInput => {
    const fault = endpointFault(request, context);
    if (fault !== null) return fault;
    const { leader } = metadata.quorum.status;
    const { listenerName } = context.connection;
    return {
      throttleTimeMs: 0,
      errorCode: ErrorCode.NONE,
      errorMessage: null,
      endpointType: request.endpointType,
      clusterId: identity.clusterId,
      controllerId: leader === null ? -1 : memberOf(leader).nodeId,
      brokers: [...metadata.image.controllers.values()].flatMap(({ id, endpoints: told }) => {
        const at = told.find(({ listener }) => listener === listenerName);
        return at === undefined ? [] : [{ brokerId: id, host: at.host, port: at.port, rack: null, isFenced: false }];
      }),
      clusterAuthorizedOperations: request.includeClusterAuthorizedOperations
        ? allClusterOperations
        : operationsNotAsked,
    };
  },
);

function endpointFault(
  { endpointType }: DescribeClusterRequest,
  { connection: { kind } }: RequestContext,
): DescribeClusterResponseInput | null {
  if (endpointType !== endpoints.broker && endpointType !== endpoints.controller)
    return refused(ErrorCode.UNSUPPORTED_ENDPOINT_TYPE, `Unsupported endpoint type ${endpointType}`);
  if (endpointType === endpoints[kind]) return null;
  const wanted = endpointType === endpoints.broker ? "BROKER" : "CONTROLLER";
  return refused(
    ErrorCode.MISMATCHED_ENDPOINT_TYPE,
    `The request was sent to an endpoint of type ${kind.toUpperCase()}, but we wanted an endpoint of type ${wanted}`,
  );
}

function refused(errorCode: ErrorCode, message: string): DescribeClusterResponseInput {
  return { throttleTimeMs: 0, errorCode, errorMessage: message, clusterId: "", controllerId: -1, brokers: [] };
}
