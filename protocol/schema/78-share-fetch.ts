import type { ApiSchema } from "../src/schema.ts";

export const shareFetch: ApiSchema = {
  key: 78,
  name: "ShareFetch",
  doc:
    "Acquires records for a share consumer, and may acknowledge earlier ones (KIP-932). v2 limits the " +
    "number of records strictly and renews (KIP-1206, KIP-1222).",
  listeners: ["broker"],
  versions: [1, 2],
  flexibleFrom: 1,
  request: [
    { name: "groupId", type: "string", nullable: true, default: null },
    { name: "memberId", type: "string", nullable: true },
    { name: "shareSessionEpoch", type: "int32", doc: "0 opens a session, -1 closes it." },
    { name: "maxWaitMs", type: "int32" },
    { name: "minBytes", type: "int32" },
    { name: "maxBytes", type: "int32", default: 2147483647 },
    { name: "maxRecords", type: "int32" },
    { name: "batchSize", type: "int32" },
    { name: "shareAcquireMode", type: "int8", since: 2, default: 0, ignorable: true,
      doc: "0: whole batches, 1: at most `maxRecords` (KIP-1206)." },
    { name: "isRenewAck", type: "bool", since: 2, default: false },
    { name: "topics", type: "array", struct: "FetchTopic", of: [
      { name: "topicId", type: "uuid" },
      { name: "partitions", type: "array", struct: "FetchPartition", of: [
        { name: "partitionIndex", type: "int32" },
        { name: "acknowledgementBatches", type: "array", struct: "AcknowledgementBatch", of: [
          { name: "firstOffset", type: "int64" },
          { name: "lastOffset", type: "int64" },
          { name: "acknowledgeTypes", type: "array", of: "int8",
            doc: "0: gap, 1: accept, 2: release, 3: reject, 4: renew. One for the whole batch, or one each." },
        ] },
      ] },
    ] },
    { name: "forgottenTopicsData", type: "array", struct: "ForgottenTopic", of: [
      { name: "topicId", type: "uuid" },
      { name: "partitions", type: "array", of: "int32" },
    ] },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16" },
    { name: "errorMessage", type: "string", nullable: true, default: null },
    { name: "acquisitionLockTimeoutMs", type: "int32" },
    { name: "responses", type: "array", struct: "ShareFetchableTopic", of: [
      { name: "topicId", type: "uuid" },
      { name: "partitions", type: "array", struct: "PartitionData", of: [
        { name: "partitionIndex", type: "int32" },
        { name: "errorCode", type: "int16" },
        { name: "errorMessage", type: "string", nullable: true, default: null },
        { name: "acknowledgeErrorCode", type: "int16" },
        { name: "acknowledgeErrorMessage", type: "string", nullable: true, default: null },
        { name: "currentLeader", type: "struct", struct: "LeaderIdAndEpoch", of: [
          { name: "leaderId", type: "int32" },
          { name: "leaderEpoch", type: "int32" },
        ] },
        { name: "records", type: "records" },
        { name: "acquiredRecords", type: "array", struct: "AcquiredRecords", of: [
          { name: "firstOffset", type: "int64" },
          { name: "lastOffset", type: "int64" },
          { name: "deliveryCount", type: "int16" },
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
