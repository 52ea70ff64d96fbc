import type { ApiSchema } from "../src/schema.ts";

export const metadata: ApiSchema = {
  key: 3,
  name: "Metadata",
  doc:
    "Tells brokers, topics, partitions, leaders and replicas; may create topics. v10 brings topic ids " +
    "(KIP-516), v12 asks by them, v13 a top-level error (KIP-1102).",
  listeners: ["broker"],
  versions: [0, 13],
  flexibleFrom: 9,
  request: [
    { name: "topics", type: "array", struct: "Topic", nullable: 1,
      doc: "Null: all topics; at v0 an empty array means so.", of: [
      { name: "topicId", type: "uuid", since: 10, ignorable: true },
      { name: "name", type: "string", nullable: 10, doc: "Null where `topicId` is given (v12)." },
    ] },
    { name: "allowAutoTopicCreation", type: "bool", since: 4, default: true },
    { name: "includeClusterAuthorizedOperations", type: "bool", since: 8, until: 10 },
    { name: "includeTopicAuthorizedOperations", type: "bool", since: 8 },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32", since: 3, ignorable: true },
    { name: "brokers", type: "array", struct: "Broker", of: [
      { name: "nodeId", type: "int32" },
      { name: "host", type: "string" },
      { name: "port", type: "int32" },
      { name: "rack", type: "string", since: 1, nullable: true, default: null, ignorable: true },
    ] },
    { name: "clusterId", type: "string", since: 2, nullable: true, default: null, ignorable: true },
    { name: "controllerId", type: "int32", since: 1, default: -1, ignorable: true, doc: "-1: unknown." },
    { name: "topics", type: "array", struct: "Topic", of: [
      { name: "errorCode", type: "int16" },
      { name: "name", type: "string", nullable: 12 },
      { name: "topicId", type: "uuid", since: 10, ignorable: true },
      { name: "isInternal", type: "bool", since: 1, default: false, ignorable: true },
      { name: "partitions", type: "array", struct: "Partition", of: [
        { name: "errorCode", type: "int16" },
        { name: "partitionIndex", type: "int32" },
        { name: "leaderId", type: "int32", doc: "-1: none." },
        { name: "leaderEpoch", type: "int32", since: 7, default: -1, ignorable: true },
        { name: "replicaNodes", type: "array", of: "int32" },
        { name: "isrNodes", type: "array", of: "int32" },
        { name: "offlineReplicas", type: "array", of: "int32", since: 5, ignorable: true },
      ] },
      { name: "topicAuthorizedOperations", type: "int32", since: 8, default: -2147483648,
        doc: "A bit set of ACL operations; -2147483648: not asked for." },
    ] },
    { name: "clusterAuthorizedOperations", type: "int32", since: 8, until: 10, default: -2147483648,
      doc: "A bit set of ACL operations; -2147483648: not asked for." },
    { name: "errorCode", type: "int16", since: 13, ignorable: true,
      doc: "REBOOTSTRAP_REQUIRED sends the client back to its bootstrap list (KIP-1102)." },
  ],
};
