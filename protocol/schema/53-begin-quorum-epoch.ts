import type { ApiSchema } from "../src/schema.ts";

export const beginQuorumEpoch: ApiSchema = {
  key: 53,
  name: "BeginQuorumEpoch",
  doc: "A new leader of the metadata quorum announces itself (KIP-595).",
  listeners: ["controller"],
  versions: [0, 1],
  flexibleFrom: 1,
  request: [
    { name: "clusterId", type: "string", nullable: true, default: null },
    { name: "voterId", type: "int32", since: 1, default: -1, ignorable: true },
    { name: "topics", type: "array", struct: "TopicData", of: [
      { name: "topicName", type: "string" },
      { name: "partitions", type: "array", struct: "PartitionData", of: [
        { name: "partitionIndex", type: "int32" },
        { name: "voterDirectoryId", type: "uuid", since: 1, ignorable: true },
        { name: "leaderId", type: "int32" },
        { name: "leaderEpoch", type: "int32" },
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
