import type { ApiSchema } from "../src/schema.ts";

export const offsetDelete: ApiSchema = {
  key: 47,
  name: "OffsetDelete",
  doc: "Deletes offsets of a group (KIP-496). Never flexible.",
  listeners: ["broker"],
  versions: [0, 0],
  flexibleFrom: null,
  request: [
    { name: "groupId", type: "string" },
    { name: "topics", type: "array", struct: "Topic", of: [
      { name: "name", type: "string" },
      { name: "partitions", type: "array", struct: "Partition", of: [
        { name: "partitionIndex", type: "int32" },
      ] },
    ] },
  ],
  response: [
    { name: "errorCode", type: "int16" },
    { name: "throttleTimeMs", type: "int32", ignorable: true },
    { name: "topics", type: "array", struct: "Topic", of: [
      { name: "name", type: "string" },
      { name: "partitions", type: "array", struct: "Partition", of: [
        { name: "partitionIndex", type: "int32" },
        { name: "errorCode", type: "int16" },
      ] },
    ] },
  ],
};
