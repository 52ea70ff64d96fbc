import type { ApiSchema } from "../src/schema.ts";

export const createTopics: ApiSchema = {
  key: 19,
  name: "CreateTopics",
  doc:
    "Creates topics. v5 answers with the configs (KIP-525), v6 may answer THROTTLING_QUOTA_EXCEEDED " +
    "(KIP-599), v7 has the topic id.",
  listeners: ["broker", "controller"],
  versions: [2, 7],
  flexibleFrom: 5,
  request: [
    { name: "topics", type: "array", struct: "CreatableTopic", of: [
      { name: "name", type: "string" },
      { name: "numPartitions", type: "int32", doc: "-1: the broker's default, or given by `assignments`." },
      { name: "replicationFactor", type: "int16", doc: "-1: the broker's default, or given by `assignments`." },
      { name: "assignments", type: "array", struct: "CreatableReplicaAssignment", doc: "Empty: the broker chooses.", of: [
        { name: "partitionIndex", type: "int32" },
        { name: "brokerIds", type: "array", of: "int32" },
      ] },
      { name: "configs", type: "array", struct: "CreatableTopicConfig", of: [
        { name: "name", type: "string" },
        { name: "value", type: "string", nullable: true },
      ] },
    ] },
    { name: "timeoutMs", type: "int32", default: 60000 },
    { name: "validateOnly", type: "bool", default: false },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32", ignorable: true },
    { name: "topics", type: "array", struct: "CreatableTopicResult", of: [
      { name: "name", type: "string" },
      { name: "topicId", type: "uuid", since: 7, ignorable: true },
      { name: "errorCode", type: "int16" },
      { name: "errorMessage", type: "string", nullable: true, ignorable: true },
      { name: "topicConfigErrorCode", type: "int16", since: 5, tag: 0, ignorable: true,
        doc: "Why `configs` is missing although the topic was made." },
      { name: "numPartitions", type: "int32", since: 5, default: -1, ignorable: true },
      { name: "replicationFactor", type: "int16", since: 5, default: -1, ignorable: true },
      { name: "configs", type: "array", struct: "TopicConfig", since: 5, nullable: true, ignorable: true, of: [
        { name: "name", type: "string" },
        { name: "value", type: "string", nullable: true },
        { name: "readOnly", type: "bool" },
        { name: "configSource", type: "int8", default: -1, ignorable: true,
          doc: "1: topic, 2: broker, 3: all brokers, 4: static file, 5: default, 6: logger, 7: client metrics, 8: group." },
        { name: "isSensitive", type: "bool" },
      ] },
    ] },
  ],
};
