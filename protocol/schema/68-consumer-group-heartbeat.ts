import type { ApiSchema } from "../src/schema.ts";

export const consumerGroupHeartbeat: ApiSchema = {
  key: 68,
  name: "ConsumerGroupHeartbeat",
  doc:
    "A member of a consumer group joins, reports, learns its assignment and leaves (KIP-848). v1 " +
    "subscribes by a RE2/J pattern and takes a member id made by the client (KIP-1082).",
  listeners: ["broker"],
  versions: [0, 1],
  flexibleFrom: 0,
  request: [
    { name: "groupId", type: "string" },
    { name: "memberId", type: "string" },
    { name: "memberEpoch", type: "int32", doc: "0 joins, -1 leaves, -2 leaves for a moment (static members)." },
    { name: "instanceId", type: "string", nullable: true, default: null },
    { name: "rackId", type: "string", nullable: true, default: null },
    { name: "rebalanceTimeoutMs", type: "int32", default: -1, doc: "-1: as before." },
    { name: "subscribedTopicNames", type: "array", of: "string", nullable: true, default: null,
      doc: "Null: as before." },
    { name: "subscribedTopicRegex", type: "string", since: 1, nullable: true, default: null,
      doc: "RE2/J; null: as before, empty: none." },
    { name: "serverAssignor", type: "string", nullable: true, default: null },
    { name: "topicPartitions", type: "array", struct: "TopicPartitions", nullable: true, default: null,
      doc: "What the member owns; null: as before.", of: [
      { name: "topicId", type: "uuid" },
      { name: "partitions", type: "array", of: "int32" },
    ] },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16" },
    { name: "errorMessage", type: "string", nullable: true, default: null },
    { name: "memberId", type: "string", nullable: true, default: null },
    { name: "memberEpoch", type: "int32" },
    { name: "heartbeatIntervalMs", type: "int32" },
    { name: "assignment", type: "struct", struct: "Assignment", nullable: true, default: null,
      doc: "Null: as before.", of: [
      { name: "topicPartitions", type: "array", struct: "TopicPartitions", of: [
        { name: "topicId", type: "uuid" },
        { name: "partitions", type: "array", of: "int32" },
      ] },
    ] },
  ],
};
