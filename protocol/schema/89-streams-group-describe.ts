import type { ApiSchema, FieldSchema } from "../src/schema.ts";

const keyValue: readonly FieldSchema[] = [
  { name: "key", type: "string" },
  { name: "value", type: "string" },
];

const topicInfo: readonly FieldSchema[] = [
  { name: "name", type: "string" },
  { name: "partitions", type: "int32" },
  { name: "replicationFactor", type: "int16" },
  { name: "topicConfigs", type: "array", struct: "KeyValue", of: keyValue },
];

const taskOffset: readonly FieldSchema[] = [
  { name: "subtopologyId", type: "string" },
  { name: "partition", type: "int32" },
  { name: "offset", type: "int64" },
];

const taskIds: readonly FieldSchema[] = [
  { name: "subtopologyId", type: "string" },
  { name: "partitions", type: "array", of: "int32" },
];

const assignment: readonly FieldSchema[] = [
  { name: "activeTasks", type: "array", struct: "TaskIds", of: taskIds },
  { name: "standbyTasks", type: "array", struct: "TaskIds", of: taskIds },
  { name: "warmupTasks", type: "array", struct: "TaskIds", of: taskIds },
];

export const streamsGroupDescribe: ApiSchema = {
  key: 89,
  name: "StreamsGroupDescribe",
  doc: "Describes streams groups (KIP-1071).",
  listeners: ["broker"],
  versions: [0, 0],
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
      { name: "topology", type: "struct", struct: "Topology", nullable: true, default: null, of: [
        { name: "epoch", type: "int32" },
        { name: "subtopologies", type: "array", struct: "Subtopology", nullable: true, default: null, of: [
          { name: "subtopologyId", type: "string" },
          { name: "sourceTopics", type: "array", of: "string" },
          { name: "repartitionSinkTopics", type: "array", of: "string" },
          { name: "stateChangelogTopics", type: "array", struct: "TopicInfo", of: topicInfo },
          { name: "repartitionSourceTopics", type: "array", struct: "TopicInfo", of: topicInfo },
        ] },
      ] },
      { name: "members", type: "array", struct: "Member", of: [
        { name: "memberId", type: "string" },
        { name: "memberEpoch", type: "int32" },
        { name: "instanceId", type: "string", nullable: true, default: null },
        { name: "rackId", type: "string", nullable: true, default: null },
        { name: "clientId", type: "string" },
        { name: "clientHost", type: "string" },
        { name: "topologyEpoch", type: "int32" },
        { name: "processId", type: "string" },
        { name: "userEndpoint", type: "struct", struct: "Endpoint", nullable: true, default: null, of: [
          { name: "host", type: "string" },
          { name: "port", type: "uint16" },
        ] },
        { name: "clientTags", type: "array", struct: "KeyValue", of: keyValue },
        { name: "taskOffsets", type: "array", struct: "TaskOffset", of: taskOffset },
        { name: "taskEndOffsets", type: "array", struct: "TaskOffset", of: taskOffset },
        { name: "assignment", type: "struct", struct: "Assignment", of: assignment },
        { name: "targetAssignment", type: "struct", struct: "Assignment", of: assignment },
        { name: "isClassic", type: "bool" },
      ] },
      { name: "authorizedOperations", type: "int32", default: -2147483648,
        doc: "A bit set of ACL operations; -2147483648: not asked for." },
    ] },
  ],
};
