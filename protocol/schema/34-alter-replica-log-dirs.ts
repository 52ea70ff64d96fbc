import type { ApiSchema } from "../src/schema.ts";

export const alterReplicaLogDirs: ApiSchema = {
  key: 34,
  name: "AlterReplicaLogDirs",
  doc: "Moves replicas between log directories of a broker (KIP-113).",
  listeners: ["broker"],
  versions: [1, 2],
  flexibleFrom: 2,
  request: [
    { name: "dirs", type: "array", struct: "AlterReplicaLogDir", of: [
      { name: "path", type: "string" },
      { name: "topics", type: "array", struct: "AlterReplicaLogDirTopic", of: [
        { name: "name", type: "string" },
        { name: "partitions", type: "array", of: "int32" },
      ] },
    ] },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "results", type: "array", struct: "AlterReplicaLogDirTopicResult", of: [
      { name: "topicName", type: "string" },
      { name: "partitions", type: "array", struct: "AlterReplicaLogDirPartitionResult", of: [
        { name: "partitionIndex", type: "int32" },
        { name: "errorCode", type: "int16" },
      ] },
    ] },
  ],
};
