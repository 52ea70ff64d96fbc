import type { ApiSchema } from "../src/schema.ts";

export const writeTxnMarkers: ApiSchema = {
  key: 27,
  name: "WriteTxnMarkers",
  doc:
    "Writes the end of a transaction into partitions: from the coordinator, or from an admin that aborts " +
    "a hanging one.",
  listeners: ["broker"],
  versions: [1, 2],
  flexibleFrom: 1,
  request: [
    { name: "markers", type: "array", struct: "WritableTxnMarker", of: [
      { name: "producerId", type: "int64" },
      { name: "producerEpoch", type: "int16" },
      { name: "transactionResult", type: "bool", doc: "True: committed." },
      { name: "topics", type: "array", struct: "WritableTxnMarkerTopic", of: [
        { name: "name", type: "string" },
        { name: "partitionIndexes", type: "array", of: "int32" },
      ] },
      { name: "coordinatorEpoch", type: "int32" },
      { name: "transactionVersion", type: "int8", since: 2, default: 0, ignorable: true },
    ] },
  ],
  response: [
    { name: "markers", type: "array", struct: "WritableTxnMarkerResult", of: [
      { name: "producerId", type: "int64" },
      { name: "topics", type: "array", struct: "WritableTxnMarkerTopicResult", of: [
        { name: "name", type: "string" },
        { name: "partitions", type: "array", struct: "WritableTxnMarkerPartitionResult", of: [
          { name: "partitionIndex", type: "int32" },
          { name: "errorCode", type: "int16" },
        ] },
      ] },
    ] },
  ],
};
