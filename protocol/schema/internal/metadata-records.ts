import type { TypedMessageSchema } from "../../src/schema.ts";

/**
 * The records of Apache Kafka's metadata log, `__cluster_metadata`: a frame version, the type, the message's version (each an
 * unsigned varint), then the message. Millrace's own metadata log has other records; these are read by an import.
 */
export const metadataRecords: readonly TypedMessageSchema[] = [
  { type: 0, name: "RegisterBrokerRecord", versions: [0, 4], flexibleFrom: 0, fields: [
    { name: "brokerId", type: "int32" },
    { name: "isMigratingZkBroker", type: "bool", since: 2 },
    { name: "incarnationId", type: "uuid" },
    { name: "brokerEpoch", type: "int64" },
    { name: "endPoints", type: "array", struct: "BrokerEndpoint", of: [
      { name: "name", type: "string" },
      { name: "host", type: "string" },
      { name: "port", type: "uint16" },
      { name: "securityProtocol", type: "int16" },
    ] },
    { name: "features", type: "array", struct: "BrokerFeature", of: [
      { name: "name", type: "string" },
      { name: "minSupportedVersion", type: "int16" },
      { name: "maxSupportedVersion", type: "int16" },
    ] },
    { name: "rack", type: "string", nullable: true },
    { name: "fenced", type: "bool", default: true },
    { name: "inControlledShutdown", type: "bool", since: 1 },
    { name: "logDirs", type: "array", since: 3, tag: 0, of: "uuid" },
    { name: "cordonedLogDirs", type: "array", since: 4, nullable: true, tag: 1, default: null, of: "uuid" },
  ] },
  { type: 1, name: "UnregisterBrokerRecord", versions: [0, 0], flexibleFrom: 0, fields: [
    { name: "brokerId", type: "int32" },
    { name: "brokerEpoch", type: "int64" },
  ] },
  { type: 2, name: "TopicRecord", versions: [0, 0], flexibleFrom: 0, fields: [
    { name: "name", type: "string" },
    { name: "topicId", type: "uuid" },
  ] },
  { type: 3, name: "PartitionRecord", versions: [0, 2], flexibleFrom: 0, fields: [
    { name: "partitionId", type: "int32", default: -1 },
    { name: "topicId", type: "uuid" },
    { name: "replicas", type: "array", of: "int32" },
    { name: "isr", type: "array", of: "int32" },
    { name: "removingReplicas", type: "array", of: "int32" },
    { name: "addingReplicas", type: "array", of: "int32" },
    { name: "leader", type: "int32", default: -1 },
    { name: "leaderRecoveryState", type: "int8", tag: 0 },
    { name: "leaderEpoch", type: "int32", default: -1 },
    { name: "partitionEpoch", type: "int32", default: -1 },
    { name: "directories", type: "array", since: 1, of: "uuid" },
    { name: "eligibleLeaderReplicas", type: "array", since: 2, nullable: true, tag: 1, default: null, of: "int32" },
    { name: "lastKnownElr", type: "array", since: 2, nullable: true, tag: 2, default: null, of: "int32" },
  ] },
  { type: 4, name: "ConfigRecord", versions: [0, 0], flexibleFrom: 0, fields: [
    { name: "resourceType", type: "int8", doc: "2: a topic, 4: a broker, 16: client metrics, 32: a group." },
    { name: "resourceName", type: "string", doc: "Empty: all brokers." },
    { name: "name", type: "string" },
    { name: "value", type: "string", nullable: true, doc: "Null: the override is gone." },
  ] },
  { type: 5, name: "PartitionChangeRecord", versions: [0, 2], flexibleFrom: 0, fields: [
    { name: "partitionId", type: "int32", default: -1 },
    { name: "topicId", type: "uuid" },
    { name: "isr", type: "array", nullable: true, tag: 0, default: null, of: "int32", doc: "Null: as before, here and below." },
    { name: "leader", type: "int32", tag: 1, default: -2, doc: "-2: as before; -1: nobody." },
    { name: "replicas", type: "array", nullable: true, tag: 2, default: null, of: "int32" },
    { name: "removingReplicas", type: "array", nullable: true, tag: 3, default: null, of: "int32" },
    { name: "addingReplicas", type: "array", nullable: true, tag: 4, default: null, of: "int32" },
    { name: "leaderRecoveryState", type: "int8", tag: 5, default: -1 },
    { name: "directories", type: "array", since: 1, nullable: true, tag: 8, default: null, of: "uuid" },
    { name: "eligibleLeaderReplicas", type: "array", since: 2, nullable: true, tag: 6, default: null, of: "int32" },
    { name: "lastKnownElr", type: "array", since: 2, nullable: true, tag: 7, default: null, of: "int32" },
  ] },
  { type: 7, name: "FenceBrokerRecord", versions: [0, 0], flexibleFrom: 0, fields: [
    { name: "id", type: "int32" },
    { name: "epoch", type: "int64" },
  ] },
  { type: 8, name: "UnfenceBrokerRecord", versions: [0, 0], flexibleFrom: 0, fields: [
    { name: "id", type: "int32" },
    { name: "epoch", type: "int64" },
  ] },
  { type: 9, name: "RemoveTopicRecord", versions: [0, 0], flexibleFrom: 0, fields: [
    { name: "topicId", type: "uuid" },
  ] },
  { type: 10, name: "DelegationTokenRecord", versions: [0, 0], flexibleFrom: 0, fields: [
    { name: "owner", type: "string" },
    { name: "requester", type: "string" },
    { name: "renewers", type: "array", of: "string" },
    { name: "issueTimestamp", type: "int64" },
    { name: "maxTimestamp", type: "int64" },
    { name: "expirationTimestamp", type: "int64" },
    { name: "tokenId", type: "string" },
  ] },
  { type: 11, name: "UserScramCredentialRecord", versions: [0, 0], flexibleFrom: 0, fields: [
    { name: "name", type: "string" },
    { name: "mechanism", type: "int8" },
    { name: "salt", type: "bytes" },
    { name: "storedKey", type: "bytes" },
    { name: "serverKey", type: "bytes" },
    { name: "iterations", type: "int32" },
  ] },
  { type: 12, name: "FeatureLevelRecord", versions: [0, 0], flexibleFrom: 0, fields: [
    { name: "name", type: "string" },
    { name: "featureLevel", type: "int16" },
  ] },
  { type: 14, name: "ClientQuotaRecord", versions: [0, 0], flexibleFrom: 0, fields: [
    { name: "entity", type: "array", struct: "EntityData", of: [
      { name: "entityType", type: "string" },
      { name: "entityName", type: "string", nullable: true },
    ] },
    { name: "key", type: "string" },
    { name: "value", type: "float64" },
    { name: "remove", type: "bool" },
  ] },
  { type: 15, name: "ProducerIdsRecord", versions: [0, 0], flexibleFrom: 0, fields: [
    { name: "brokerId", type: "int32" },
    { name: "brokerEpoch", type: "int64", default: -1 },
    { name: "nextProducerId", type: "int64", doc: "Ids below it are used up." },
  ] },
  { type: 17, name: "BrokerRegistrationChangeRecord", versions: [0, 3], flexibleFrom: 0, fields: [
    { name: "brokerId", type: "int32" },
    { name: "brokerEpoch", type: "int64" },
    { name: "fenced", type: "int8", tag: 0 },
    { name: "inControlledShutdown", type: "int8", since: 1, tag: 1 },
    { name: "logDirs", type: "array", since: 2, tag: 2, of: "uuid" },
    { name: "cordonedLogDirs", type: "array", since: 3, nullable: true, tag: 3, default: null, of: "uuid" },
  ] },
  { type: 18, name: "AccessControlEntryRecord", versions: [0, 0], flexibleFrom: 0, fields: [
    { name: "id", type: "uuid" },
    { name: "resourceType", type: "int8" },
    { name: "resourceName", type: "string" },
    { name: "patternType", type: "int8" },
    { name: "principal", type: "string" },
    { name: "host", type: "string" },
    { name: "operation", type: "int8" },
    { name: "permissionType", type: "int8" },
  ] },
  { type: 19, name: "RemoveAccessControlEntryRecord", versions: [0, 0], flexibleFrom: 0, fields: [
    { name: "id", type: "uuid" },
  ] },
  { type: 20, name: "NoOpRecord", versions: [0, 0], flexibleFrom: 0, fields: [] },
  { type: 21, name: "ZkMigrationStateRecord", versions: [0, 0], flexibleFrom: 0, fields: [
    { name: "zkMigrationState", type: "int8" },
  ] },
  { type: 22, name: "RemoveUserScramCredentialRecord", versions: [0, 0], flexibleFrom: 0, fields: [
    { name: "name", type: "string" },
    { name: "mechanism", type: "int8" },
  ] },
  { type: 23, name: "BeginTransactionRecord", versions: [0, 0], flexibleFrom: 0, fields: [
    { name: "name", type: "string", nullable: true, tag: 0, default: null },
  ] },
  { type: 24, name: "EndTransactionRecord", versions: [0, 0], flexibleFrom: 0, fields: [] },
  { type: 25, name: "AbortTransactionRecord", versions: [0, 0], flexibleFrom: 0, fields: [
    { name: "reason", type: "string", nullable: true, tag: 0, default: null },
  ] },
  { type: 26, name: "RemoveDelegationTokenRecord", versions: [0, 0], flexibleFrom: 0, fields: [
    { name: "tokenId", type: "string" },
  ] },
  { type: 27, name: "RegisterControllerRecord", versions: [0, 0], flexibleFrom: 0, fields: [
    { name: "controllerId", type: "int32" },
    { name: "incarnationId", type: "uuid" },
    { name: "zkMigrationReady", type: "bool" },
    { name: "endPoints", type: "array", struct: "ControllerEndpoint", of: [
      { name: "name", type: "string" },
      { name: "host", type: "string" },
      { name: "port", type: "uint16" },
      { name: "securityProtocol", type: "int16" },
    ] },
    { name: "features", type: "array", struct: "ControllerFeature", of: [
      { name: "name", type: "string" },
      { name: "minSupportedVersion", type: "int16" },
      { name: "maxSupportedVersion", type: "int16" },
    ] },
  ] },
  { type: 28, name: "ClearElrRecord", versions: [0, 0], flexibleFrom: 0, fields: [
    { name: "topicName", type: "string" },
  ] },
];
