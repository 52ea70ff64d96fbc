import type { ApiSchema } from "../src/schema.ts";

export const alterPartitionReassignments: ApiSchema = {
  key: 45,
  name: "AlterPartitionReassignments",
  doc:
    "Starts and cancels moves of replicas (KIP-455). v1 can forbid a change of the replication factor " +
    "(KIP-860).",
  listeners: ["broker", "controller"],
  versions: [0, 1],
  flexibleFrom: 0,
  request: [
    { name: "timeoutMs", type: "int32", default: 60000 },
    { name: "allowReplicationFactorChange", type: "bool", since: 1, default: true },
    { name: "topics", type: "array", struct: "ReassignableTopic", of: [
      { name: "name", type: "string" },
      { name: "partitions", type: "array", struct: "ReassignablePartition", of: [
        { name: "partitionIndex", type: "int32" },
        { name: "replicas", type: "array", of: "int32", nullable: true, default: null, doc: "Null cancels the move." },
      ] },
    ] },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "allowReplicationFactorChange", type: "bool", since: 1, default: true, ignorable: true },
    { name: "errorCode", type: "int16" },
    { name: "errorMessage", type: "string", nullable: true },
    { name: "responses", type: "array", struct: "ReassignableTopic", of: [
      { name: "name", type: "string" },
      { name: "partitions", type: "array", struct: "ReassignablePartition", of: [
        { name: "partitionIndex", type: "int32" },
        { name: "errorCode", type: "int16" },
        { name: "errorMessage", type: "string", nullable: true },
      ] },
    ] },
  ],
};
