import type { ApiSchema } from "../src/schema.ts";

export const shareGroupDescribe: ApiSchema = {
  key: 77,
  name: "ShareGroupDescribe",
  doc: "Describes share groups (KIP-932).",
  listeners: ["broker"],
  versions: [1, 1],
  flexibleFrom: 1,
  request: [
    { name: "groupIds", type: "array", of: "string" },
    { name: "includeAuthorizedOperations", type: "bool" },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "groups", type: "array", struct: "DescribedGroup", of: [
      { name: "errorCode", type: "int16" },
      { name: "errorMessage", type: "string", nullable: true, default: null },
      { name: "groupId", type: "string" },
      { name: "groupState", type: "string" },
      { name: "groupEpoch", type: "int32" },
      { name: "assignmentEpoch", type: "int32" },
      { name: "assignorName", type: "string" },
      { name: "members", type: "array", struct: "Member", of: [
        { name: "memberId", type: "string" },
        { name: "rackId", type: "string", nullable: true, default: null },
        { name: "memberEpoch", type: "int32" },
        { name: "clientId", type: "string" },
        { name: "clientHost", type: "string" },
        { name: "subscribedTopicNames", type: "array", of: "string" },
        { name: "assignment", type: "struct", struct: "Assignment", of: [
          { name: "topicPartitions", type: "array", struct: "TopicPartitions", of: [
            { name: "topicId", type: "uuid" },
            { name: "topicName", type: "string" },
            { name: "partitions", type: "array", of: "int32" },
          ] },
        ] },
      ] },
      { name: "authorizedOperations", type: "int32", default: -2147483648,
        doc: "A bit set of ACL operations; -2147483648: not asked for." },
    ] },
  ],
};
