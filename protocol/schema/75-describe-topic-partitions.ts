import type { ApiSchema } from "../src/schema.ts";

export const describeTopicPartitions: ApiSchema = {
  key: 75,
  name: "DescribeTopicPartitions",
  doc: "Describes partitions page by page, with eligible leader replicas (KIP-966).",
  listeners: ["broker"],
  versions: [0, 0],
  flexibleFrom: 0,
  request: [
    { name: "topics", type: "array", struct: "Topic", of: [
      { name: "name", type: "string" },
    ] },
    { name: "responsePartitionLimit", type: "int32", default: 2000 },
    { name: "cursor", type: "struct", struct: "Cursor", nullable: true, default: null,
      doc: "Where the page before this one ended; null: from the start.", of: [
      { name: "topicName", type: "string" },
      { name: "partitionIndex", type: "int32" },
    ] },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32", ignorable: true },
    { name: "topics", type: "array", struct: "Topic", of: [
      { name: "errorCode", type: "int16" },
      { name: "name", type: "string", nullable: true },
      { name: "topicId", type: "uuid", ignorable: true },
      { name: "isInternal", type: "bool", default: false, ignorable: true },
      { name: "partitions", type: "array", struct: "Partition", of: [
        { name: "errorCode", type: "int16" },
        { name: "partitionIndex", type: "int32" },
        { name: "leaderId", type: "int32" },
        { name: "leaderEpoch", type: "int32", default: -1, ignorable: true },
        { name: "replicaNodes", type: "array", of: "int32" },
        { name: "isrNodes", type: "array", of: "int32" },
        { name: "eligibleLeaderReplicas", type: "array", of: "int32", nullable: true, default: null },
        { name: "lastKnownElr", type: "array", of: "int32", nullable: true, default: null },
        { name: "offlineReplicas", type: "array", of: "int32", ignorable: true },
      ] },
      { name: "topicAuthorizedOperations", type: "int32", default: -2147483648,
        doc: "A bit set of ACL operations; -2147483648: not asked for." },
    ] },
    { name: "nextCursor", type: "struct", struct: "Cursor", nullable: true, default: null,
      doc: "Null: this was the last page.", of: [
      { name: "topicName", type: "string" },
      { name: "partitionIndex", type: "int32" },
    ] },
  ],
};
