import type { ApiSchema } from "../src/schema.ts";

export const vote: ApiSchema = {
  key: 52,
  name: "Vote",
  doc: "Asks a voter of the metadata quorum for its vote; v2 asks whether it would vote (KIP-996).",
  listeners: ["controller"],
  versions: [0, 2],
  flexibleFrom: 0,
  request: [
    { name: "clusterId", type: "string", nullable: true, default: null },
    { name: "voterId", type: "int32", since: 1, default: -1, ignorable: true },
    { name: "topics", type: "array", struct: "TopicData", of: [
      { name: "topicName", type: "string" },
      { name: "partitions", type: "array", struct: "PartitionData", of: [
        { name: "partitionIndex", type: "int32" },
        { name: "replicaEpoch", type: "int32" },
        { name: "replicaId", type: "int32" },
        { name: "replicaDirectoryId", type: "uuid", since: 1, ignorable: true },
        { name: "voterDirectoryId", type: "uuid", since: 1, ignorable: true },
        { name: "lastOffsetEpoch", type: "int32" },
        { name: "lastOffset", type: "int64" },
        { name: "preVote", type: "bool", since: 2, doc: "Only asks whether a vote would be given (KIP-996)." },
      ] },
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
        { name: "voteGranted", type: "bool" },
      ] },
    ] },
    { name: "nodeEndpoints", type: "array", struct: "NodeEndpoint", since: 1, tag: 0, of: [
      { name: "nodeId", type: "int32" },
      { name: "host", type: "string" },
      { name: "port", type: "uint16" },
    ] },
  ],
};
