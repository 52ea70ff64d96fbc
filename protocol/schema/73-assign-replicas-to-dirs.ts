import type { ApiSchema } from "../src/schema.ts";

export const assignReplicasToDirs: ApiSchema = {
  key: 73,
  name: "AssignReplicasToDirs",
  doc: "A broker tells the controller in which log directory each replica lies (KIP-858).",
  listeners: ["controller"],
  versions: [0, 0],
  flexibleFrom: 0,
  request: [
    { name: "brokerId", type: "int32" },
    { name: "brokerEpoch", type: "int64", default: -1 },
    { name: "directories", type: "array", struct: "DirectoryData", of: [
      { name: "id", type: "uuid" },
      { name: "topics", type: "array", struct: "TopicData", of: [
        { name: "topicId", type: "uuid" },
        { name: "partitions", type: "array", struct: "PartitionData", of: [
          { name: "partitionIndex", type: "int32" },
        ] },
      ] },
    ] },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16" },
    { name: "directories", type: "array", struct: "DirectoryData", of: [
      { name: "id", type: "uuid" },
      { name: "topics", type: "array", struct: "TopicData", of: [
        { name: "topicId", type: "uuid" },
        { name: "partitions", type: "array", struct: "PartitionData", of: [
          { name: "partitionIndex", type: "int32" },
          { name: "errorCode", type: "int16" },
        ] },
      ] },
    ] },
  ],
};
