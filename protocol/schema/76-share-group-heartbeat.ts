import type { ApiSchema } from "../src/schema.ts";

export const shareGroupHeartbeat: ApiSchema = {
  key: 76,
  name: "ShareGroupHeartbeat",
  doc: "A member of a share group joins, reports, learns its assignment and leaves (KIP-932).",
  listeners: ["broker"],
  versions: [1, 1],
  flexibleFrom: 1,
  request: [
    { name: "groupId", type: "string" },
    { name: "memberId", type: "string" },
    { name: "memberEpoch", type: "int32", doc: "0 joins, -1 leaves." },
    { name: "rackId", type: "string", nullable: true, default: null },
    { name: "subscribedTopicNames", type: "array", of: "string", nullable: true, default: null,
      doc: "Null: as before." },
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
