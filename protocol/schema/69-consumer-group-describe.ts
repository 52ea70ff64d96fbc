import type { ApiSchema, FieldSchema } from "../src/schema.ts";

const assignment: readonly FieldSchema[] = [
  { name: "topicPartitions", type: "array", struct: "TopicPartitions", of: [
    { name: "topicId", type: "uuid" },
    { name: "topicName", type: "string" },
    { name: "partitions", type: "array", of: "int32" },
  ] },
];

export const consumerGroupDescribe: ApiSchema = {
  key: 69,
  name: "ConsumerGroupDescribe",
  doc: "Describes consumer groups (KIP-848). v1 has the kind of each member (KIP-1099).",
  listeners: ["broker"],
  versions: [0, 1],
  flexibleFrom: 0,
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
        { name: "instanceId", type: "string", nullable: true, default: null },
        { name: "rackId", type: "string", nullable: true, default: null },
        { name: "memberEpoch", type: "int32" },
        { name: "clientId", type: "string" },
        { name: "clientHost", type: "string" },
        { name: "subscribedTopicNames", type: "array", of: "string" },
        { name: "subscribedTopicRegex", type: "string", nullable: true, default: null },
        { name: "assignment", type: "struct", struct: "Assignment", of: assignment },
        { name: "targetAssignment", type: "struct", struct: "Assignment", of: assignment },
        { name: "memberType", type: "int8", since: 1, default: -1, ignorable: true,
          doc: "-1: unknown, 0: classic, 1: consumer." },
      ] },
      { name: "authorizedOperations", type: "int32", default: -2147483648,
        doc: "A bit set of ACL operations; -2147483648: not asked for." },
    ] },
  ],
};
