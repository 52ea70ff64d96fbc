import type { ApiSchema } from "../src/schema.ts";

export const readShareGroupState: ApiSchema = {
  key: 84,
  name: "ReadShareGroupState",
  doc: "Reads the stored state of share partitions (KIP-932).",
  listeners: ["broker"],
  versions: [0, 0],
  flexibleFrom: 0,
  request: [
    { name: "groupId", type: "string" },
    { name: "topics", type: "array", struct: "ReadStateData", of: [
      { name: "topicId", type: "uuid" },
      { name: "partitions", type: "array", struct: "PartitionData", of: [
        { name: "partition", type: "int32" },
        { name: "leaderEpoch", type: "int32" },
      ] },
    ] },
  ],
  response: [
    { name: "results", type: "array", struct: "ReadStateResult", of: [
      { name: "topicId", type: "uuid" },
      { name: "partitions", type: "array", struct: "PartitionResult", of: [
        { name: "partition", type: "int32" },
        { name: "errorCode", type: "int16" },
        { name: "errorMessage", type: "string", nullable: true, default: null },
        { name: "stateEpoch", type: "int32" },
        { name: "startOffset", type: "int64" },
        { name: "stateBatches", type: "array", struct: "StateBatch", of: [
          { name: "firstOffset", type: "int64" },
          { name: "lastOffset", type: "int64" },
          { name: "deliveryState", type: "int8" },
          { name: "deliveryCount", type: "int16" },
        ] },
      ] },
    ] },
  ],
};
