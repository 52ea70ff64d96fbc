import type { ApiSchema } from "../src/schema.ts";

export const describeCluster: ApiSchema = {
  key: 60,
  name: "DescribeCluster",
  doc:
    "Tells the cluster's id and its nodes (KIP-700). v1 can ask for controllers (KIP-919), v2 includes " +
    "fenced brokers (KIP-1073).",
  listeners: ["broker", "controller"],
  versions: [0, 2],
  flexibleFrom: 0,
  request: [
    { name: "includeClusterAuthorizedOperations", type: "bool" },
    { name: "endpointType", type: "int8", since: 1, default: 1, doc: "1: brokers, 2: controllers." },
    { name: "includeFencedBrokers", type: "bool", since: 2 },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16" },
    { name: "errorMessage", type: "string", nullable: true, default: null },
    { name: "endpointType", type: "int8", since: 1, default: 1 },
    { name: "clusterId", type: "string" },
    { name: "controllerId", type: "int32", default: -1 },
    { name: "brokers", type: "array", struct: "Broker", of: [
      { name: "brokerId", type: "int32" },
      { name: "host", type: "string" },
      { name: "port", type: "int32" },
      { name: "rack", type: "string", nullable: true, default: null },
      { name: "isFenced", type: "bool", since: 2 },
    ] },
    { name: "clusterAuthorizedOperations", type: "int32", default: -2147483648,
      doc: "A bit set of ACL operations; -2147483648: not asked for." },
  ],
};
