import type { ApiSchema } from "../src/schema.ts";

export const writeShareGroupState: ApiSchema = {
  key: 85,
  name: "WriteShareGroupState",
  doc: "Writes the stored state of share partitions (KIP-932).",
  listeners: ["broker"],
  versions: [0, 1],
  flexibleFrom: 0,
  request: [
    { name: "groupId", type: "string" },
    { name: "topics", type: "array", struct: "WriteStateData", of: [
      { name: "topicId", type: "uuid" },
      { name: "partitions", type: "array", struct: "PartitionData", of: [
        { name: "partition", type: "int32" },
        { name: "stateEpoch", type: "int32" },
        { name: "leaderEpoch", type: "int32" },
        { name: "startOffset", type: "int64" },
        { name: "deliveryCompleteCount", type: "int32", since: 1, default: -1, ignorable: true },
        { name: "stateBatches", type: "array", struct: "StateBatch", of: [
          { name: "firstOffset", type: "int64" },
          { name: "lastOffset", type: "int64" },
          { name: "deliveryState", type: "int8" },
          { name: "deliveryCount", type: "int16" },
        ] },
      ] },
    ] },
  ],
  response: [
    { name: "results", type: "array", struct: "WriteStateResult", of: [
      { name: "topicId", type: "uuid" },
      { name: "partitions", type: "array", struct: "PartitionResult", of: [
        { name: "partition", type: "int32" },
        { name: "errorCode", type: "int16" },
        { name: "errorMessage", type: "string", nullable: true, default: null },
      ] },
    ] },
  ],
};
