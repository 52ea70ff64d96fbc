import type { ApiSchema } from "../src/schema.ts";

export const alterShareGroupOffsets: ApiSchema = {
  key: 91,
  name: "AlterShareGroupOffsets",
  doc: "Sets where an empty share group begins (KIP-932).",
  listeners: ["broker"],
  versions: [0, 0],
  flexibleFrom: 0,
  request: [
    { name: "groupId", type: "string" },
    { name: "topics", type: "array", struct: "Topic", of: [
      { name: "topicName", type: "string" },
      { name: "partitions", type: "array", struct: "Partition", of: [
        { name: "partitionIndex", type: "int32" },
        { name: "startOffset", type: "int64" },
      ] },
    ] },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16" },
    { name: "errorMessage", type: "string", nullable: true, default: null },
    { name: "responses", type: "array", struct: "Topic", of: [
      { name: "topicName", type: "string" },
      { name: "topicId", type: "uuid" },
      { name: "partitions", type: "array", struct: "Partition", of: [
        { name: "partitionIndex", type: "int32" },
        { name: "errorCode", type: "int16" },
        { name: "errorMessage", type: "string", nullable: true, default: null },
      ] },
    ] },
  ],
};
