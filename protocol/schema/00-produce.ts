import type { ApiSchema } from "../src/schema.ts";

export const produce: ApiSchema = {
  key: 0,
  name: "Produce",
  doc:
    "Appends record batches to partitions. v9 is flexible, v10 names the new leader on " +
    "NOT_LEADER_OR_FOLLOWER (KIP-951), v12 adds partitions to a transaction by itself (KIP-890), v13 " +
    "names topics by id (KIP-516).",
  listeners: ["broker"],
  versions: [3, 13],
  flexibleFrom: 9,
  request: [
    { name: "transactionalId", type: "string", nullable: true, default: null, doc: "Null outside of transactions." },
    { name: "acks", type: "int16", doc: "0: no answer; 1: the leader has it; -1: all in-sync replicas have it." },
    { name: "timeoutMs", type: "int32", doc: "How long the broker may wait for the replicas." },
    { name: "topicData", type: "array", struct: "TopicProduceData", of: [
      { name: "name", type: "string", until: 12, ignorable: true },
      { name: "topicId", type: "uuid", since: 13, ignorable: true },
      { name: "partitionData", type: "array", struct: "PartitionProduceData", of: [
        { name: "index", type: "int32" },
        { name: "records", type: "records", nullable: true, doc: "Exactly one batch of format v2." },
      ] },
    ] },
  ],
  response: [
    { name: "responses", type: "array", struct: "TopicProduce", of: [
      { name: "name", type: "string", until: 12, ignorable: true },
      { name: "topicId", type: "uuid", since: 13, ignorable: true },
      { name: "partitionResponses", type: "array", struct: "PartitionProduce", of: [
        { name: "index", type: "int32" },
        { name: "errorCode", type: "int16" },
        { name: "baseOffset", type: "int64", doc: "The offset of the first record; -1 on error." },
        { name: "logAppendTimeMs", type: "int64", default: -1, ignorable: true,
          doc: "The broker's time if the topic uses LogAppendTime, otherwise -1." },
        { name: "logStartOffset", type: "int64", since: 5, default: -1, ignorable: true },
        { name: "recordErrors", type: "array", struct: "BatchIndexAndErrorMessage", since: 8, ignorable: true,
          doc: "Which records made the batch fail, by their place in it (KIP-467).", of: [
          { name: "batchIndex", type: "int32" },
          { name: "batchIndexErrorMessage", type: "string", nullable: true, default: null },
        ] },
        { name: "errorMessage", type: "string", since: 8, nullable: true, default: null, ignorable: true },
        { name: "currentLeader", type: "struct", struct: "LeaderIdAndEpoch", since: 10, tag: 0,
          doc: "With NOT_LEADER_OR_FOLLOWER: where to go (KIP-951).", of: [
          { name: "leaderId", type: "int32", default: -1 },
          { name: "leaderEpoch", type: "int32", default: -1 },
        ] },
      ] },
    ] },
    { name: "throttleTimeMs", type: "int32", default: 0, ignorable: true },
    { name: "nodeEndpoints", type: "array", struct: "NodeEndpoint", since: 10, tag: 0,
      doc: "The brokers that `currentLeader` names.", of: [
      { name: "nodeId", type: "int32" },
      { name: "host", type: "string" },
      { name: "port", type: "int32" },
      { name: "rack", type: "string", nullable: true, default: null },
    ] },
  ],
};
