import type { ApiSchema } from "../src/schema.ts";

export const readShareGroupStateSummary: ApiSchema = {
  key: 87,
  name: "ReadShareGroupStateSummary",
  doc: "Reads where share partitions begin, without their batches (KIP-932).",
  listeners: ["broker"],
  versions: [0, 1],
  flexibleFrom: 0,
  request: [
    { name: "groupId", type: "string" },
    { name: "topics", type: "array", struct: "ReadStateSummaryData", of: [
      { name: "topicId", type: "uuid" },
      { name: "partitions", type: "array", struct: "PartitionData", of: [
        { name: "partition", type: "int32" },
        { name: "leaderEpoch", type: "int32" },
      ] },
    ] },
  ],
  response: [
    { name: "results", type: "array", struct: "ReadStateSummaryResult", of: [
      { name: "topicId", type: "uuid" },
      { name: "partitions", type: "array", struct: "PartitionResult", of: [
        { name: "partition", type: "int32" },
        { name: "errorCode", type: "int16" },
        { name: "errorMessage", type: "string", nullable: true, default: null },
        { name: "stateEpoch", type: "int32" },
        { name: "leaderEpoch", type: "int32" },
        { name: "startOffset", type: "int64" },
        { name: "deliveryCompleteCount", type: "int32", since: 1, default: -1, ignorable: true },
      ] },
    ] },
  ],
};
