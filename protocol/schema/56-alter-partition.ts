import type { ApiSchema } from "../src/schema.ts";

export const alterPartition: ApiSchema = {
  key: 56,
  name: "AlterPartition",
  doc: "A partition's leader proposes a change of the ISR to the controller (KIP-497).",
  listeners: ["controller"],
  versions: [2, 3],
  flexibleFrom: 2,
  request: [
    { name: "brokerId", type: "int32" },
    { name: "brokerEpoch", type: "int64", default: -1 },
    { name: "topics", type: "array", struct: "TopicData", of: [
      { name: "topicId", type: "uuid", ignorable: true },
      { name: "partitions", type: "array", struct: "PartitionData", of: [
        { name: "partitionIndex", type: "int32" },
        { name: "leaderEpoch", type: "int32" },
        { name: "newIsr", type: "array", of: "int32", until: 2 },
        { name: "newIsrWithEpochs", type: "array", struct: "BrokerState", since: 3, of: [
          { name: "brokerId", type: "int32" },
          { name: "brokerEpoch", type: "int64", default: -1 },
        ] },
        { name: "leaderRecoveryState", type: "int8", default: 0,
          doc: "0: recovered, 1: recovering from an unclean election (KIP-704)." },
        { name: "partitionEpoch", type: "int32", doc: "Guards against a change that is based on an old state." },
      ] },
    ] },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16" },
    { name: "topics", type: "array", struct: "TopicData", of: [
      { name: "topicId", type: "uuid", ignorable: true },
      { name: "partitions", type: "array", struct: "PartitionData", of: [
        { name: "partitionIndex", type: "int32" },
        { name: "errorCode", type: "int16" },
        { name: "leaderId", type: "int32" },
        { name: "leaderEpoch", type: "int32" },
        { name: "isr", type: "array", of: "int32" },
        { name: "leaderRecoveryState", type: "int8", default: 0, ignorable: true },
        { name: "partitionEpoch", type: "int32" },
      ] },
    ] },
  ],
};
