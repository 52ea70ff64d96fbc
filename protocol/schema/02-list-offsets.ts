import type { ApiSchema } from "../src/schema.ts";

export const listOffsets: ApiSchema = {
  key: 2,
  name: "ListOffsets",
  doc:
    "Finds offsets by timestamp, or by a negative number that stands for an end of the log. v7 adds the " +
    "largest timestamp (KIP-734), v8 the local start, v9 the tiered end (KIP-405, KIP-1005), v11 what " +
    "waits for upload (KIP-1023).",
  listeners: ["broker"],
  versions: [1, 11],
  flexibleFrom: 6,
  request: [
    { name: "replicaId", type: "int32", doc: "-1 from a consumer." },
    { name: "isolationLevel", type: "int8", since: 2, doc: "0 reads all; 1 reads committed records only." },
    { name: "topics", type: "array", struct: "Topic", of: [
      { name: "name", type: "string" },
      { name: "partitions", type: "array", struct: "Partition", of: [
        { name: "partitionIndex", type: "int32" },
        { name: "currentLeaderEpoch", type: "int32", since: 4, default: -1, ignorable: true },
        { name: "timestamp", type: "int64",
          doc: "-1 asks for the end, -2 for the start, -3 for the largest timestamp, -4 for the local start, -5 for the tiered end, -6 for the first offset that waits for upload." },
      ] },
    ] },
    { name: "timeoutMs", type: "int32", since: 10, ignorable: true,
      doc: "How long to wait for an answer from tiered storage." },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32", since: 2, ignorable: true },
    { name: "topics", type: "array", struct: "Topic", of: [
      { name: "name", type: "string" },
      { name: "partitions", type: "array", struct: "Partition", of: [
        { name: "partitionIndex", type: "int32" },
        { name: "errorCode", type: "int16" },
        { name: "timestamp", type: "int64", default: -1, exact: true, doc: "-1 if no record was found." },
        { name: "offset", type: "int64", default: -1, doc: "-1 if no record was found." },
        { name: "leaderEpoch", type: "int32", since: 4, default: -1 },
      ] },
    ] },
  ],
};
