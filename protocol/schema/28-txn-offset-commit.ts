import type { ApiSchema } from "../src/schema.ts";

export const txnOffsetCommit: ApiSchema = {
  key: 28,
  name: "TxnOffsetCommit",
  doc:
    "Stores offsets as part of a transaction. v3 carries the group's generation (KIP-447), v5 adds the " +
    "group to the transaction by itself (KIP-890).",
  listeners: ["broker"],
  versions: [0, 5],
  flexibleFrom: 3,
  request: [
    { name: "transactionalId", type: "string" },
    { name: "groupId", type: "string" },
    { name: "producerId", type: "int64" },
    { name: "producerEpoch", type: "int16" },
    { name: "generationId", type: "int32", since: 3, default: -1, doc: "-1 from outside of the group." },
    { name: "memberId", type: "string", since: 3, default: "" },
    { name: "groupInstanceId", type: "string", since: 3, nullable: true, default: null },
    { name: "topics", type: "array", struct: "Topic", of: [
      { name: "name", type: "string" },
      { name: "partitions", type: "array", struct: "Partition", of: [
        { name: "partitionIndex", type: "int32" },
        { name: "committedOffset", type: "int64" },
        { name: "committedLeaderEpoch", type: "int32", since: 2, default: -1, ignorable: true },
        { name: "committedMetadata", type: "string", nullable: true },
      ] },
    ] },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "topics", type: "array", struct: "Topic", of: [
      { name: "name", type: "string" },
      { name: "partitions", type: "array", struct: "Partition", of: [
        { name: "partitionIndex", type: "int32" },
        { name: "errorCode", type: "int16" },
      ] },
    ] },
  ],
};
