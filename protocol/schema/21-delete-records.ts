import type { ApiSchema } from "../src/schema.ts";

export const deleteRecords: ApiSchema = {
  key: 21,
  name: "DeleteRecords",
  doc: "Deletes the records below an offset.",
  listeners: ["broker"],
  versions: [0, 2],
  flexibleFrom: 2,
  request: [
    { name: "topics", type: "array", struct: "Topic", of: [
      { name: "name", type: "string" },
      { name: "partitions", type: "array", struct: "Partition", of: [
        { name: "partitionIndex", type: "int32" },
        { name: "offset", type: "int64", doc: "-1: the high watermark." },
      ] },
    ] },
    { name: "timeoutMs", type: "int32" },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "topics", type: "array", struct: "TopicResult", of: [
      { name: "name", type: "string" },
      { name: "partitions", type: "array", struct: "PartitionResult", of: [
        { name: "partitionIndex", type: "int32" },
        { name: "lowWatermark", type: "int64", doc: "The new start of the log." },
        { name: "errorCode", type: "int16" },
      ] },
    ] },
  ],
};
