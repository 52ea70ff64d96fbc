import type { ApiSchema } from "../src/schema.ts";

export const endQuorumEpoch: ApiSchema = {
  key: 54,
  name: "EndQuorumEpoch",
  doc: "A leader of the metadata quorum resigns (KIP-595).",
  listeners: ["controller"],
  versions: [0, 1],
  flexibleFrom: 1,
  request: [
    { name: "clusterId", type: "string", nullable: true, default: null },
    { name: "topics", type: "array", struct: "TopicData", of: [
      { name: "topicName", type: "string" },
      { name: "partitions", type: "array", struct: "PartitionData", of: [
        { name: "partitionIndex", type: "int32" },
        { name: "leaderId", type: "int32" },
        { name: "leaderEpoch", type: "int32" },
        { name: "preferredSuccessors", type: "array", of: "int32", until: 0, ignorable: true },
        { name: "preferredCandidates", type: "array", struct: "ReplicaInfo", since: 1, ignorable: true, of: [
          { name: "candidateId", type: "int32" },
          { name: "candidateDirectoryId", type: "uuid" },
        ] },
      ] },
    ] },
    { name: "leaderEndpoints", type: "array", struct: "LeaderEndpoint", since: 1, ignorable: true, of: [
      { name: "name", type: "string" },
      { name: "host", type: "string" },
      { name: "port", type: "uint16" },
    ] },
  ],
  response: [
    { name: "errorCode", type: "int16" },
    { name: "topics", type: "array", struct: "TopicData", of: [
      { name: "topicName", type: "string" },
      { name: "partitions", type: "array", struct: "PartitionData", of: [
        { name: "partitionIndex", type: "int32" },
        { name: "errorCode", type: "int16" },
        { name: "leaderId", type: "int32" },
        { name: "leaderEpoch", type: "int32" },
      ] },
    ] },
    { name: "nodeEndpoints", type: "array", struct: "NodeEndpoint", since: 1, tag: 0, of: [
      { name: "nodeId", type: "int32" },
      { name: "host", type: "string" },
      { name: "port", type: "uint16" },
    ] },
  ],
};
