import type { ApiSchema } from "../src/schema.ts";

export const listPartitionReassignments: ApiSchema = {
  key: 46,
  name: "ListPartitionReassignments",
  doc: "Lists moves of replicas that are under way (KIP-455).",
  listeners: ["broker", "controller"],
  versions: [0, 0],
  flexibleFrom: 0,
  request: [
    { name: "timeoutMs", type: "int32", default: 60000 },
    { name: "topics", type: "array", struct: "Topic", nullable: true, default: null, doc: "Null: all.", of: [
      { name: "name", type: "string" },
      { name: "partitionIndexes", type: "array", of: "int32" },
    ] },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16" },
    { name: "errorMessage", type: "string", nullable: true },
    { name: "topics", type: "array", struct: "OngoingTopicReassignment", of: [
      { name: "name", type: "string" },
      { name: "partitions", type: "array", struct: "OngoingPartitionReassignment", of: [
        { name: "partitionIndex", type: "int32" },
        { name: "replicas", type: "array", of: "int32" },
        { name: "addingReplicas", type: "array", of: "int32" },
        { name: "removingReplicas", type: "array", of: "int32" },
      ] },
    ] },
  ],
};
