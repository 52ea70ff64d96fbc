/** DescribeCluster v0–v2: the brokers as this listener reaches them. Controllers are asked for on their own listener (KIP-919). */
import { describeCluster } from "kafka-protocol-ts/messages/60-describe-cluster";
import type { DescribeClusterResponseInput } from "kafka-protocol-ts/messages/60-describe-cluster";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { allClusterOperations, operationsNotAsked, reachableBrokers } from "./cluster-view.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

const endpoints = { broker: 1, controller: 2 } as const;

export const describeClusterHandler: Handler = handler(
  describeCluster,
  (services, request, context): DescribeClusterResponseInput => {
    const isKnown = request.endpointType === endpoints.broker || request.endpointType === endpoints.controller;
    if (!isKnown)
      return refused(ErrorCode.UNSUPPORTED_ENDPOINT_TYPE, `Unsupported endpoint type ${request.endpointType}`);
    const { kind } = context.connection;
    if (request.endpointType !== endpoints[kind]) {
      const wanted = request.endpointType === endpoints.broker ? "BROKER" : "CONTROLLER";
      return refused(
        ErrorCode.MISMATCHED_ENDPOINT_TYPE,
        `The request was sent to an endpoint of type ${kind.toUpperCase()}, but we wanted an endpoint of type ${wanted}`,
      );
    }
    const brokers = reachableBrokers(services, context, { includesFenced: request.includeFencedBrokers });
    return {
      throttleTimeMs: 0,
      errorCode: ErrorCode.NONE,
      errorMessage: null,
      endpointType: request.endpointType,
      clusterId: services.identity.clusterId,
      controllerId: services.identity.nodeId,
      brokers: brokers.map(({ id, ...broker }) => ({ brokerId: id, ...broker })),
      clusterAuthorizedOperations: request.includeClusterAuthorizedOperations
        ? allClusterOperations
        : operationsNotAsked,
    };
  },
);

function refused(errorCode: ErrorCode, message: string): DescribeClusterResponseInput {
  return { throttleTimeMs: 0, errorCode, errorMessage: message, clusterId: "", controllerId: -1, brokers: [] };
}
