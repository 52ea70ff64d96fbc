import type { ApiSchema, FieldSchema } from "../src/schema.ts";

const replicaState: readonly FieldSchema[] = [
  { name: "replicaId", type: "int32" },
  { name: "replicaDirectoryId", type: "uuid", since: 2 },
  { name: "logEndOffset", type: "int64" },
  { name: "lastFetchTimestamp", type: "int64", since: 1, default: -1, ignorable: true },
  { name: "lastCaughtUpTimestamp", type: "int64", since: 1, default: -1, ignorable: true },
];

export const describeQuorum: ApiSchema = {
  key: 55,
  name: "DescribeQuorum",
  doc:
    "Describes the metadata quorum (KIP-642). v1 has times (KIP-836), v2 nodes and directory ids " +
    "(KIP-853).",
  listeners: ["broker", "controller"],
  versions: [0, 2],
  flexibleFrom: 0,
  request: [
    { name: "topics", type: "array", struct: "TopicData", of: [
      { name: "topicName", type: "string" },
      { name: "partitions", type: "array", struct: "PartitionData", of: [
        { name: "partitionIndex", type: "int32" },
      ] },
    ] },
  ],
  response: [
    { name: "errorCode", type: "int16" },
    { name: "errorMessage", type: "string", since: 2, nullable: true, ignorable: true },
    { name: "topics", type: "array", struct: "TopicData", of: [
      { name: "topicName", type: "string" },
      { name: "partitions", type: "array", struct: "PartitionData", of: [
        { name: "partitionIndex", type: "int32" },
        { name: "errorCode", type: "int16" },
        { name: "errorMessage", type: "string", since: 2, nullable: true, ignorable: true },
        { name: "leaderId", type: "int32" },
        { name: "leaderEpoch", type: "int32" },
        { name: "highWatermark", type: "int64" },
        { name: "currentVoters", type: "array", struct: "ReplicaState", of: replicaState },
        { name: "observers", type: "array", struct: "ReplicaState", of: replicaState },
      ] },
    ] },
    { name: "nodes", type: "array", struct: "Node", since: 2, of: [
      { name: "nodeId", type: "int32" },
      { name: "listeners", type: "array", struct: "Listener", of: [
        { name: "name", type: "string" },
        { name: "host", type: "string" },
        { name: "port", type: "uint16" },
      ] },
    ] },
  ],
};
