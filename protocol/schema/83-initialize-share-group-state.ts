import type { ApiSchema } from "../src/schema.ts";

export const initializeShareGroupState: ApiSchema = {
  key: 83,
  name: "InitializeShareGroupState",
  doc: "Creates the stored state of share partitions (KIP-932).",
  listeners: ["broker"],
  versions: [0, 0],
  flexibleFrom: 0,
  request: [
    { name: "groupId", type: "string" },
    { name: "topics", type: "array", struct: "InitializeStateData", of: [
      { name: "topicId", type: "uuid" },
      { name: "partitions", type: "array", struct: "PartitionData", of: [
        { name: "partition", type: "int32" },
        { name: "stateEpoch", type: "int32" },
        { name: "startOffset", type: "int64" },
      ] },
    ] },
  ],
  response: [
    { name: "results", type: "array", struct: "InitializeStateResult", of: [
      { name: "topicId", type: "uuid" },
      { name: "partitions", type: "array", struct: "PartitionResult", of: [
        { name: "partition", type: "int32" },
        { name: "errorCode", type: "int16" },
        { name: "errorMessage", type: "string", nullable: true, default: null },
      ] },
    ] },
  ],
};
