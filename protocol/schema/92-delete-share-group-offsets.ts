import type { ApiSchema } from "../src/schema.ts";

export const deleteShareGroupOffsets: ApiSchema = {
  key: 92,
  name: "DeleteShareGroupOffsets",
  doc: "Deletes what a share group knows of topics (KIP-932).",
  listeners: ["broker"],
  versions: [0, 0],
  flexibleFrom: 0,
  request: [
    { name: "groupId", type: "string" },
    { name: "topics", type: "array", struct: "Topic", of: [
      { name: "topicName", type: "string" },
    ] },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16" },
    { name: "errorMessage", type: "string", nullable: true, default: null },
    { name: "responses", type: "array", struct: "Topic", of: [
      { name: "topicName", type: "string" },
      { name: "topicId", type: "uuid" },
      { name: "errorCode", type: "int16" },
      { name: "errorMessage", type: "string", nullable: true, default: null },
    ] },
  ],
};
