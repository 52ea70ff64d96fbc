import type { ApiSchema } from "../src/schema.ts";

export const offsetForLeaderEpoch: ApiSchema = {
  key: 23,
  name: "OffsetForLeaderEpoch",
  doc:
    "Tells where a leader epoch ended, so that a follower or consumer notices what was truncated " +
    "(KIP-101, KIP-320).",
  listeners: ["broker"],
  versions: [2, 4],
  flexibleFrom: 4,
  request: [
    { name: "replicaId", type: "int32", since: 3, default: -2, ignorable: true,
      doc: "-1 from a consumer, -2 from a debugging one." },
    { name: "topics", type: "array", struct: "OffsetForLeaderTopic", of: [
      { name: "topic", type: "string" },
      { name: "partitions", type: "array", struct: "OffsetForLeaderPartition", of: [
        { name: "partition", type: "int32" },
        { name: "currentLeaderEpoch", type: "int32", default: -1, ignorable: true },
        { name: "leaderEpoch", type: "int32" },
      ] },
    ] },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32", ignorable: true },
    { name: "topics", type: "array", struct: "OffsetForLeaderTopicResult", of: [
      { name: "topic", type: "string" },
      { name: "partitions", type: "array", struct: "EpochEndOffset", of: [
        { name: "errorCode", type: "int16" },
        { name: "partition", type: "int32" },
        { name: "leaderEpoch", type: "int32", default: -1, ignorable: true },
        { name: "endOffset", type: "int64", default: -1, doc: "Exclusive; -1: unknown." },
      ] },
    ] },
  ],
};
