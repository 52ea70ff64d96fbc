import type { FieldSchema, RecordKindSchema } from "../../src/schema.ts";

const consumerGroupCurrentMemberAssignmentTopicPartitions: readonly FieldSchema[] = [
  { name: "topicId", type: "uuid" },
  { name: "partitions", type: "array", of: "int32" },
  { name: "assignmentEpochs", type: "array", of: "int32", nullable: true, tag: 0 },
];

const shareGroupStatePartitionMetadataTopicPartitionsInfo: readonly FieldSchema[] = [
  { name: "topicId", type: "uuid" },
  { name: "topicName", type: "string" },
  { name: "partitions", type: "array", of: "int32" },
];

const streamsGroupTargetAssignmentMemberTaskIds: readonly FieldSchema[] = [
  { name: "subtopologyId", type: "string" },
  { name: "partitions", type: "array", of: "int32" },
];

const streamsGroupCurrentMemberAssignmentTaskIds: readonly FieldSchema[] = [
  { name: "subtopologyId", type: "string" },
  { name: "partitions", type: "array", of: "int32" },
  { name: "assignmentEpochs", type: "array", of: "int32", nullable: true, tag: 0 },
];

const streamsGroupTopologyTopicInfo: readonly FieldSchema[] = [
  { name: "name", type: "string" },
  { name: "partitions", type: "int32" },
  { name: "replicationFactor", type: "int16" },
  { name: "topicConfigs", type: "array", struct: "TopicConfig", of: [
    { name: "key", type: "string" },
    { name: "value", type: "string" },
  ] },
];

/** The records of `__consumer_offsets`. */
export const groupRecords: readonly RecordKindSchema[] = [
  {
    type: 0, name: "legacyOffsetCommit",
    key: { name: "LegacyOffsetCommitKey", versions: [0, 0], flexibleFrom: null, fields: [
      { name: "group", type: "string" },
      { name: "topic", type: "string" },
      { name: "partition", type: "int32" },
    ] },
    value: { name: "LegacyOffsetCommitValue", versions: [0, 0], flexibleFrom: null, fields: [
      { name: "offset", type: "int64" },
      { name: "metadata", type: "string" },
      { name: "commitTimestamp", type: "int64" },
    ] },
  },
  {
    type: 1, name: "offsetCommit",
    key: { name: "OffsetCommitKey", versions: [0, 0], flexibleFrom: null, fields: [
      { name: "group", type: "string" },
      { name: "topic", type: "string" },
      { name: "partition", type: "int32" },
    ] },
    value: { name: "OffsetCommitValue", versions: [0, 4], flexibleFrom: 4, fields: [
      { name: "offset", type: "int64" },
      { name: "leaderEpoch", type: "int32", since: 3, default: -1, ignorable: true, doc: "-1: unknown." },
      { name: "metadata", type: "string" },
      { name: "commitTimestamp", type: "int64" },
      { name: "expireTimestamp", type: "int64", since: 1, until: 1, default: -1, ignorable: true,
        doc: "-1: by the broker's retention." },
      { name: "topicId", type: "uuid", since: 4, tag: 0, ignorable: true },
    ] },
  },
  {
    type: 2, name: "groupMetadata",
    key: { name: "GroupMetadataKey", versions: [0, 0], flexibleFrom: null, fields: [
      { name: "group", type: "string" },
    ] },
    value: { name: "GroupMetadataValue", versions: [0, 4], flexibleFrom: 4, fields: [
      { name: "protocolType", type: "string" },
      { name: "generation", type: "int32" },
      { name: "protocol", type: "string", nullable: true },
      { name: "leader", type: "string", nullable: true },
      { name: "currentStateTimestamp", type: "int64", since: 2, default: -1, ignorable: true },
      { name: "members", type: "array", struct: "MemberMetadata", of: [
        { name: "memberId", type: "string" },
        { name: "groupInstanceId", type: "string", since: 3, nullable: true, default: null, ignorable: true },
        { name: "clientId", type: "string" },
        { name: "clientHost", type: "string" },
        { name: "rebalanceTimeout", type: "int32", since: 1, default: -1, ignorable: true },
        { name: "sessionTimeout", type: "int32" },
        { name: "subscription", type: "bytes" },
        { name: "assignment", type: "bytes" },
      ] },
    ] },
  },
  {
    type: 3, name: "consumerGroupMetadata",
    key: { name: "ConsumerGroupMetadataKey", versions: [0, 0], flexibleFrom: null, fields: [
      { name: "groupId", type: "string" },
    ] },
    value: { name: "ConsumerGroupMetadataValue", versions: [0, 0], flexibleFrom: 0, fields: [
      { name: "epoch", type: "int32" },
      { name: "metadataHash", type: "int64", tag: 0, default: 0 },
    ] },
  },
  {
    type: 4, name: "consumerGroupPartitionMetadata",
    key: { name: "ConsumerGroupPartitionMetadataKey", versions: [0, 0], flexibleFrom: null, fields: [
      { name: "groupId", type: "string" },
    ] },
    value: { name: "ConsumerGroupPartitionMetadataValue", versions: [0, 0], flexibleFrom: 0, fields: [
      { name: "topics", type: "array", struct: "TopicMetadata", of: [
        { name: "topicId", type: "uuid" },
        { name: "topicName", type: "string" },
        { name: "numPartitions", type: "int32" },
        { name: "partitionMetadata", type: "array", struct: "PartitionMetadata", of: [
          { name: "partition", type: "int32" },
          { name: "racks", type: "array", of: "string" },
        ] },
      ] },
    ] },
  },
  {
    type: 5, name: "consumerGroupMemberMetadata",
    key: { name: "ConsumerGroupMemberMetadataKey", versions: [0, 0], flexibleFrom: null, fields: [
      { name: "groupId", type: "string" },
      { name: "memberId", type: "string" },
    ] },
    value: { name: "ConsumerGroupMemberMetadataValue", versions: [0, 0], flexibleFrom: 0, fields: [
      { name: "instanceId", type: "string", nullable: true },
      { name: "rackId", type: "string", nullable: true },
      { name: "clientId", type: "string" },
      { name: "clientHost", type: "string" },
      { name: "subscribedTopicNames", type: "array", of: "string" },
      { name: "subscribedTopicRegex", type: "string", nullable: true },
      { name: "rebalanceTimeoutMs", type: "int32", default: -1 },
      { name: "serverAssignor", type: "string", nullable: true },
      { name: "classicMemberMetadata", type: "struct", struct: "ClassicMemberMetadata", nullable: true, tag: 0, of: [
        { name: "sessionTimeoutMs", type: "int32" },
        { name: "supportedProtocols", type: "array", struct: "ClassicProtocol", of: [
          { name: "name", type: "string" },
          { name: "metadata", type: "bytes" },
        ] },
      ] },
    ] },
  },
  {
    type: 6, name: "consumerGroupTargetAssignmentMetadata",
    key: { name: "ConsumerGroupTargetAssignmentMetadataKey", versions: [0, 0], flexibleFrom: null, fields: [
      { name: "groupId", type: "string" },
    ] },
    value: { name: "ConsumerGroupTargetAssignmentMetadataValue", versions: [0, 0], flexibleFrom: 0, fields: [
      { name: "assignmentEpoch", type: "int32" },
      { name: "assignmentTimestamp", type: "int64", tag: 0, default: 0, ignorable: true },
    ] },
  },
  {
    type: 7, name: "consumerGroupTargetAssignmentMember",
    key: { name: "ConsumerGroupTargetAssignmentMemberKey", versions: [0, 0], flexibleFrom: null, fields: [
      { name: "groupId", type: "string" },
      { name: "memberId", type: "string" },
    ] },
    value: { name: "ConsumerGroupTargetAssignmentMemberValue", versions: [0, 0], flexibleFrom: 0, fields: [
      { name: "topicPartitions", type: "array", struct: "TopicPartition", of: [
        { name: "topicId", type: "uuid" },
        { name: "partitions", type: "array", of: "int32" },
      ] },
    ] },
  },
  {
    type: 8, name: "consumerGroupCurrentMemberAssignment",
    key: { name: "ConsumerGroupCurrentMemberAssignmentKey", versions: [0, 0], flexibleFrom: null, fields: [
      { name: "groupId", type: "string" },
      { name: "memberId", type: "string" },
    ] },
    value: { name: "ConsumerGroupCurrentMemberAssignmentValue", versions: [0, 0], flexibleFrom: 0, fields: [
      { name: "memberEpoch", type: "int32" },
      { name: "previousMemberEpoch", type: "int32" },
      { name: "state", type: "int8" },
      { name: "assignedPartitions", type: "array", struct: "TopicPartitions", of: consumerGroupCurrentMemberAssignmentTopicPartitions },
      { name: "partitionsPendingRevocation", type: "array", struct: "TopicPartitions", of: consumerGroupCurrentMemberAssignmentTopicPartitions },
    ] },
  },
  {
    type: 10, name: "shareGroupMemberMetadata",
    key: { name: "ShareGroupMemberMetadataKey", versions: [0, 0], flexibleFrom: null, fields: [
      { name: "groupId", type: "string" },
      { name: "memberId", type: "string" },
    ] },
    value: { name: "ShareGroupMemberMetadataValue", versions: [0, 0], flexibleFrom: 0, fields: [
      { name: "rackId", type: "string", nullable: true },
      { name: "clientId", type: "string" },
      { name: "clientHost", type: "string" },
      { name: "subscribedTopicNames", type: "array", of: "string" },
    ] },
  },
  {
    type: 11, name: "shareGroupMetadata",
    key: { name: "ShareGroupMetadataKey", versions: [0, 0], flexibleFrom: null, fields: [
      { name: "groupId", type: "string" },
    ] },
    value: { name: "ShareGroupMetadataValue", versions: [0, 0], flexibleFrom: 0, fields: [
      { name: "epoch", type: "int32" },
      { name: "metadataHash", type: "int64" },
    ] },
  },
  {
    type: 12, name: "shareGroupTargetAssignmentMetadata",
    key: { name: "ShareGroupTargetAssignmentMetadataKey", versions: [0, 0], flexibleFrom: null, fields: [
      { name: "groupId", type: "string" },
    ] },
    value: { name: "ShareGroupTargetAssignmentMetadataValue", versions: [0, 0], flexibleFrom: 0, fields: [
      { name: "assignmentEpoch", type: "int32" },
      { name: "assignmentTimestamp", type: "int64", tag: 0, default: 0, ignorable: true },
    ] },
  },
  {
    type: 13, name: "shareGroupTargetAssignmentMember",
    key: { name: "ShareGroupTargetAssignmentMemberKey", versions: [0, 0], flexibleFrom: null, fields: [
      { name: "groupId", type: "string" },
      { name: "memberId", type: "string" },
    ] },
    value: { name: "ShareGroupTargetAssignmentMemberValue", versions: [0, 0], flexibleFrom: 0, fields: [
      { name: "topicPartitions", type: "array", struct: "TopicPartition", of: [
        { name: "topicId", type: "uuid" },
        { name: "partitions", type: "array", of: "int32" },
      ] },
    ] },
  },
  {
    type: 14, name: "shareGroupCurrentMemberAssignment",
    key: { name: "ShareGroupCurrentMemberAssignmentKey", versions: [0, 0], flexibleFrom: null, fields: [
      { name: "groupId", type: "string" },
      { name: "memberId", type: "string" },
    ] },
    value: { name: "ShareGroupCurrentMemberAssignmentValue", versions: [0, 0], flexibleFrom: 0, fields: [
      { name: "memberEpoch", type: "int32" },
      { name: "previousMemberEpoch", type: "int32" },
      { name: "state", type: "int8" },
      { name: "assignedPartitions", type: "array", struct: "TopicPartitions", of: [
        { name: "topicId", type: "uuid" },
        { name: "partitions", type: "array", of: "int32" },
      ] },
    ] },
  },
  {
    type: 15, name: "shareGroupStatePartitionMetadata",
    key: { name: "ShareGroupStatePartitionMetadataKey", versions: [0, 0], flexibleFrom: null, fields: [
      { name: "groupId", type: "string" },
    ] },
    value: { name: "ShareGroupStatePartitionMetadataValue", versions: [0, 0], flexibleFrom: 0, fields: [
      { name: "initializingTopics", type: "array", struct: "TopicPartitionsInfo", of: shareGroupStatePartitionMetadataTopicPartitionsInfo },
      { name: "initializedTopics", type: "array", struct: "TopicPartitionsInfo", of: shareGroupStatePartitionMetadataTopicPartitionsInfo },
      { name: "deletingTopics", type: "array", struct: "TopicInfo", of: [
        { name: "topicId", type: "uuid" },
        { name: "topicName", type: "string" },
      ] },
    ] },
  },
  {
    type: 16, name: "consumerGroupRegularExpression",
    key: { name: "ConsumerGroupRegularExpressionKey", versions: [0, 0], flexibleFrom: null, fields: [
      { name: "groupId", type: "string" },
      { name: "regularExpression", type: "string" },
    ] },
    value: { name: "ConsumerGroupRegularExpressionValue", versions: [0, 0], flexibleFrom: 0, fields: [
      { name: "topics", type: "array", of: "string" },
      { name: "version", type: "int64" },
      { name: "timestamp", type: "int64" },
    ] },
  },
  {
    type: 17, name: "streamsGroupMetadata",
    key: { name: "StreamsGroupMetadataKey", versions: [0, 0], flexibleFrom: null, fields: [
      { name: "groupId", type: "string" },
    ] },
    value: { name: "StreamsGroupMetadataValue", versions: [0, 0], flexibleFrom: 0, fields: [
      { name: "epoch", type: "int32" },
      { name: "metadataHash", type: "int64" },
      { name: "validatedTopologyEpoch", type: "int32", tag: 0, default: -1 },
      { name: "lastAssignmentConfigs", type: "array", struct: "LastAssignmentConfig", nullable: true, tag: 1, of: [
        { name: "key", type: "string" },
        { name: "value", type: "string" },
      ] },
    ] },
  },
  {
    type: 19, name: "streamsGroupMemberMetadata",
    key: { name: "StreamsGroupMemberMetadataKey", versions: [0, 0], flexibleFrom: null, fields: [
      { name: "groupId", type: "string" },
      { name: "memberId", type: "string" },
    ] },
    value: { name: "StreamsGroupMemberMetadataValue", versions: [0, 0], flexibleFrom: 0, fields: [
      { name: "instanceId", type: "string", nullable: true },
      { name: "rackId", type: "string", nullable: true },
      { name: "clientId", type: "string" },
      { name: "clientHost", type: "string" },
      { name: "rebalanceTimeoutMs", type: "int32", default: -1 },
      { name: "topologyEpoch", type: "int32" },
      { name: "processId", type: "string" },
      { name: "userEndpoint", type: "struct", struct: "Endpoint", nullable: true, default: null, of: [
        { name: "host", type: "string" },
        { name: "port", type: "uint16" },
      ] },
      { name: "clientTags", type: "array", struct: "KeyValue", of: [
        { name: "key", type: "string" },
        { name: "value", type: "string" },
      ] },
    ] },
  },
  {
    type: 20, name: "streamsGroupTargetAssignmentMetadata",
    key: { name: "StreamsGroupTargetAssignmentMetadataKey", versions: [0, 0], flexibleFrom: null, fields: [
      { name: "groupId", type: "string" },
    ] },
    value: { name: "StreamsGroupTargetAssignmentMetadataValue", versions: [0, 0], flexibleFrom: 0, fields: [
      { name: "assignmentEpoch", type: "int32" },
      { name: "assignmentTimestamp", type: "int64", tag: 0, default: 0, ignorable: true },
    ] },
  },
  {
    type: 21, name: "streamsGroupTargetAssignmentMember",
    key: { name: "StreamsGroupTargetAssignmentMemberKey", versions: [0, 0], flexibleFrom: null, fields: [
      { name: "groupId", type: "string" },
      { name: "memberId", type: "string" },
    ] },
    value: { name: "StreamsGroupTargetAssignmentMemberValue", versions: [0, 0], flexibleFrom: 0, fields: [
      { name: "activeTasks", type: "array", struct: "TaskIds", of: streamsGroupTargetAssignmentMemberTaskIds },
      { name: "standbyTasks", type: "array", struct: "TaskIds", of: streamsGroupTargetAssignmentMemberTaskIds },
      { name: "warmupTasks", type: "array", struct: "TaskIds", of: streamsGroupTargetAssignmentMemberTaskIds },
    ] },
  },
  {
    type: 22, name: "streamsGroupCurrentMemberAssignment",
    key: { name: "StreamsGroupCurrentMemberAssignmentKey", versions: [0, 0], flexibleFrom: null, fields: [
      { name: "groupId", type: "string" },
      { name: "memberId", type: "string" },
    ] },
    value: { name: "StreamsGroupCurrentMemberAssignmentValue", versions: [0, 0], flexibleFrom: 0, fields: [
      { name: "memberEpoch", type: "int32" },
      { name: "previousMemberEpoch", type: "int32" },
      { name: "state", type: "int8" },
      { name: "activeTasks", type: "array", struct: "TaskIds", of: streamsGroupCurrentMemberAssignmentTaskIds },
      { name: "standbyTasks", type: "array", struct: "TaskIds", of: streamsGroupCurrentMemberAssignmentTaskIds },
      { name: "warmupTasks", type: "array", struct: "TaskIds", of: streamsGroupCurrentMemberAssignmentTaskIds },
      { name: "activeTasksPendingRevocation", type: "array", struct: "TaskIds", of: streamsGroupCurrentMemberAssignmentTaskIds },
      { name: "standbyTasksPendingRevocation", type: "array", struct: "TaskIds", of: streamsGroupCurrentMemberAssignmentTaskIds },
      { name: "warmupTasksPendingRevocation", type: "array", struct: "TaskIds", of: streamsGroupCurrentMemberAssignmentTaskIds },
    ] },
  },
  {
    type: 23, name: "streamsGroupTopology",
    key: { name: "StreamsGroupTopologyKey", versions: [0, 0], flexibleFrom: null, fields: [
      { name: "groupId", type: "string" },
    ] },
    value: { name: "StreamsGroupTopologyValue", versions: [0, 0], flexibleFrom: 0, fields: [
      { name: "epoch", type: "int32" },
      { name: "subtopologies", type: "array", struct: "Subtopology", of: [
        { name: "subtopologyId", type: "string" },
        { name: "sourceTopics", type: "array", of: "string" },
        { name: "sourceTopicRegex", type: "array", of: "string" },
        { name: "stateChangelogTopics", type: "array", struct: "TopicInfo", of: streamsGroupTopologyTopicInfo },
        { name: "repartitionSinkTopics", type: "array", of: "string" },
        { name: "repartitionSourceTopics", type: "array", struct: "TopicInfo", of: streamsGroupTopologyTopicInfo },
        { name: "copartitionGroups", type: "array", struct: "CopartitionGroup", of: [
          { name: "sourceTopics", type: "array", of: "int16" },
          { name: "sourceTopicRegex", type: "array", of: "int16" },
          { name: "repartitionSourceTopics", type: "array", of: "int16" },
        ] },
      ] },
    ] },
  },
];
