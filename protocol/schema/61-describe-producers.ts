import type { ApiSchema } from "../src/schema.ts";

export const describeProducers: ApiSchema = {
  key: 61,
  name: "DescribeProducers",
  doc: "Describes the active producers of partitions (KIP-664).",
  listeners: ["broker"],
  versions: [0, 0],
  flexibleFrom: 0,
  request: [
    { name: "topics", type: "array", struct: "Topic", of: [
      { name: "name", type: "string" },
      { name: "partitionIndexes", type: "array", of: "int32" },
    ] },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "topics", type: "array", struct: "Topic", of: [
      { name: "name", type: "string" },
      { name: "partitions", type: "array", struct: "Partition", of: [
        { name: "partitionIndex", type: "int32" },
        { name: "errorCode", type: "int16" },
        { name: "errorMessage", type: "string", nullable: true, default: null },
        { name: "activeProducers", type: "array", struct: "ProducerState", of: [
          { name: "producerId", type: "int64" },
          { name: "producerEpoch", type: "int32" },
          { name: "lastSequence", type: "int32", default: -1 },
          { name: "lastTimestamp", type: "int64", default: -1 },
          { name: "coordinatorEpoch", type: "int32" },
          { name: "currentTxnStartOffset", type: "int64", default: -1, doc: "-1: no transaction is open." },
        ] },
      ] },
    ] },
  ],
};
