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

const taskIdsInRequest: readonly FieldSchema[] = [
  { name: "subtopologyId", type: "string" },
  { name: "partitions", type: "array", of: "int32" },
];

const taskOffset: readonly FieldSchema[] = [
  { name: "subtopologyId", type: "string" },
  { name: "partition", type: "int32" },
  { name: "offset", type: "int64" },
];

const taskIdsInResponse: readonly FieldSchema[] = [
  { name: "subtopologyId", type: "string" },
  { name: "partitions", type: "array", of: "int32" },
];

const topicPartition: readonly FieldSchema[] = [
  { name: "topic", type: "string" },
  { name: "partitions", type: "array", of: "int32" },
];

export const streamsGroupHeartbeat: ApiSchema = {
  key: 88,
  name: "StreamsGroupHeartbeat",
  doc:
    "A member of a streams group joins with its topology, reports, learns its tasks and leaves " +
    "(KIP-1071).",
  listeners: ["broker"],
  versions: [0, 0],
  flexibleFrom: 0,
  request: [
    { name: "groupId", type: "string" },
    { name: "memberId", type: "string" },
    { name: "memberEpoch", type: "int32", doc: "0 joins, -1 leaves, -2 leaves for a moment (static members)." },
    { name: "endpointInformationEpoch", type: "int32" },
    { name: "instanceId", type: "string", nullable: true, default: null },
    { name: "rackId", type: "string", nullable: true, default: null },
    { name: "rebalanceTimeoutMs", type: "int32", default: -1 },
    { name: "topology", type: "struct", struct: "Topology", nullable: true, default: null,
      doc: "With the first heartbeat only, otherwise null.", of: [
      { name: "epoch", type: "int32" },
      { name: "subtopologies", type: "array", struct: "Subtopology", of: [
        { name: "subtopologyId", type: "string" },
        { name: "sourceTopics", type: "array", of: "string" },
        { name: "sourceTopicRegex", type: "array", of: "string" },
        { name: "stateChangelogTopics", type: "array", struct: "TopicInfo", of: topicInfo },
        { name: "repartitionSinkTopics", type: "array", of: "string" },
        { name: "repartitionSourceTopics", type: "array", struct: "TopicInfo", of: topicInfo },
        { name: "copartitionGroups", type: "array", struct: "CopartitionGroup", of: [
          { name: "sourceTopics", type: "array", of: "int16" },
          { name: "sourceTopicRegex", type: "array", of: "int16" },
          { name: "repartitionSourceTopics", type: "array", of: "int16" },
        ] },
      ] },
    ] },
    { name: "activeTasks", type: "array", struct: "TaskIds", nullable: true, default: null, of: taskIdsInRequest },
    { name: "standbyTasks", type: "array", struct: "TaskIds", nullable: true, default: null, of: taskIdsInRequest },
    { name: "warmupTasks", type: "array", struct: "TaskIds", nullable: true, default: null, of: taskIdsInRequest },
    { name: "processId", type: "string", nullable: true, default: null },
    { name: "userEndpoint", type: "struct", struct: "Endpoint", nullable: true, default: null, of: [
      { name: "host", type: "string" },
      { name: "port", type: "uint16" },
    ] },
    { name: "clientTags", type: "array", struct: "KeyValue", nullable: true, default: null, of: keyValue },
    { name: "taskOffsets", type: "array", struct: "TaskOffset", nullable: true, default: null, of: taskOffset },
    { name: "taskEndOffsets", type: "array", struct: "TaskOffset", nullable: true, default: null, of: taskOffset },
    { name: "shutdownApplication", type: "bool", default: false },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16" },
    { name: "errorMessage", type: "string", nullable: true, default: null },
    { name: "memberId", type: "string" },
    { name: "memberEpoch", type: "int32" },
    { name: "heartbeatIntervalMs", type: "int32" },
    { name: "acceptableRecoveryLag", type: "int32" },
    { name: "taskOffsetIntervalMs", type: "int32" },
    { name: "status", type: "array", struct: "Status", nullable: true, of: [
      { name: "statusCode", type: "int8" },
      { name: "statusDetail", type: "string" },
    ] },
    { name: "activeTasks", type: "array", struct: "TaskIds", nullable: true, default: null, of: taskIdsInResponse },
    { name: "standbyTasks", type: "array", struct: "TaskIds", nullable: true, default: null, of: taskIdsInResponse },
    { name: "warmupTasks", type: "array", struct: "TaskIds", nullable: true, default: null, of: taskIdsInResponse },
    { name: "endpointInformationEpoch", type: "int32" },
    { name: "partitionsByUserEndpoint", type: "array", struct: "EndpointToPartitions", nullable: true, default: null, of: [
      { name: "userEndpoint", type: "struct", struct: "Endpoint", of: [
        { name: "host", type: "string" },
        { name: "port", type: "uint16" },
      ] },
      { name: "activePartitions", type: "array", struct: "TopicPartition", of: topicPartition },
      { name: "standbyPartitions", type: "array", struct: "TopicPartition", of: topicPartition },
    ] },
  ],
};
