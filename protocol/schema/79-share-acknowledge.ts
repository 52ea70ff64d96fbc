import type { ApiSchema } from "../src/schema.ts";

export const shareAcknowledge: ApiSchema = {
  key: 79,
  name: "ShareAcknowledge",
  doc: "Acknowledges records of a share consumer (KIP-932). v2 renews the lock (KIP-1222).",
  listeners: ["broker"],
  versions: [1, 2],
  flexibleFrom: 1,
  request: [
    { name: "groupId", type: "string", nullable: true, default: null },
    { name: "memberId", type: "string", nullable: true },
    { name: "shareSessionEpoch", type: "int32" },
    { name: "isRenewAck", type: "bool", since: 2, default: false },
    { name: "topics", type: "array", struct: "AcknowledgeTopic", of: [
      { name: "topicId", type: "uuid" },
      { name: "partitions", type: "array", struct: "AcknowledgePartition", of: [
        { name: "partitionIndex", type: "int32" },
        { name: "acknowledgementBatches", type: "array", struct: "AcknowledgementBatch", of: [
          { name: "firstOffset", type: "int64" },
          { name: "lastOffset", type: "int64" },
          { name: "acknowledgeTypes", type: "array", of: "int8",
            doc: "0: gap, 1: accept, 2: release, 3: reject, 4: renew. One for the whole batch, or one each." },
        ] },
      ] },
    ] },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16" },
    { name: "errorMessage", type: "string", nullable: true, default: null },
    { name: "acquisitionLockTimeoutMs", type: "int32", since: 2, ignorable: true },
    { name: "responses", type: "array", struct: "Topic", of: [
      { name: "topicId", type: "uuid" },
      { name: "partitions", type: "array", struct: "PartitionData", of: [
        { name: "partitionIndex", type: "int32" },
        { name: "errorCode", type: "int16" },
        { name: "errorMessage", type: "string", nullable: true, default: null },
        { name: "currentLeader", type: "struct", struct: "LeaderIdAndEpoch", of: [
          { name: "leaderId", type: "int32" },
          { name: "leaderEpoch", type: "int32" },
        ] },
      ] },
    ] },
    { name: "nodeEndpoints", type: "array", struct: "NodeEndpoint", of: [
      { name: "nodeId", type: "int32" },
      { name: "host", type: "string" },
      { name: "port", type: "int32" },
      { name: "rack", type: "string", nullable: true, default: null },
    ] },
  ],
};
