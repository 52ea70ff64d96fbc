import type { ApiSchema, FieldSchema } from "../src/schema.ts";

const topic: readonly FieldSchema[] = [
  { name: "name", type: "string" },
  { name: "partitions", type: "array", of: "int32" },
];

const topicResult: readonly FieldSchema[] = [
  { name: "name", type: "string" },
  { name: "resultsByPartition", type: "array", struct: "PartitionResult", of: [
    { name: "partitionIndex", type: "int32" },
    { name: "partitionErrorCode", type: "int16" },
  ] },
];

export const addPartitionsToTxn: ApiSchema = {
  key: 24,
  name: "AddPartitionsToTxn",
  doc:
    "Adds partitions to a transaction. Up to v3 for clients; v4 is batched, for brokers, and can only " +
    "verify (KIP-890).",
  listeners: ["broker"],
  versions: [0, 5],
  flexibleFrom: 3,
  request: [
    { name: "transactions", type: "array", struct: "Transaction", since: 4, of: [
      { name: "transactionalId", type: "string" },
      { name: "producerId", type: "int64" },
      { name: "producerEpoch", type: "int16" },
      { name: "verifyOnly", type: "bool", default: false },
      { name: "topics", type: "array", struct: "Topic", of: topic },
    ] },
    { name: "v3AndBelowTransactionalId", type: "string", until: 3 },
    { name: "v3AndBelowProducerId", type: "int64", until: 3 },
    { name: "v3AndBelowProducerEpoch", type: "int16", until: 3 },
    { name: "v3AndBelowTopics", type: "array", struct: "Topic", until: 3, of: topic },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16", since: 4, ignorable: true },
    { name: "resultsByTransaction", type: "array", struct: "Result", since: 4, of: [
      { name: "transactionalId", type: "string" },
      { name: "topicResults", type: "array", struct: "TopicResult", of: topicResult },
    ] },
    { name: "resultsByTopicV3AndBelow", type: "array", struct: "TopicResult", until: 3, of: topicResult },
  ],
};
