import type { ApiSchema } from "../src/schema.ts";

export const describeShareGroupOffsets: ApiSchema = {
  key: 90,
  name: "DescribeShareGroupOffsets",
  doc: "Describes where share groups stand. v1 adds the lag (KIP-1226).",
  listeners: ["broker"],
  versions: [0, 1],
  flexibleFrom: 0,
  request: [
    { name: "groups", type: "array", struct: "Group", of: [
      { name: "groupId", type: "string" },
      { name: "topics", type: "array", struct: "Topic", nullable: true, doc: "Null: all.", of: [
        { name: "topicName", type: "string" },
        { name: "partitions", type: "array", of: "int32" },
      ] },
    ] },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "groups", type: "array", struct: "Group", of: [
      { name: "groupId", type: "string" },
      { name: "topics", type: "array", struct: "Topic", of: [
        { name: "topicName", type: "string" },
        { name: "topicId", type: "uuid" },
        { name: "partitions", type: "array", struct: "Partition", of: [
          { name: "partitionIndex", type: "int32" },
          { name: "startOffset", type: "int64" },
          { name: "leaderEpoch", type: "int32" },
          { name: "lag", type: "int64", since: 1, default: -1, ignorable: true },
          { name: "errorCode", type: "int16" },
          { name: "errorMessage", type: "string", nullable: true, default: null },
        ] },
      ] },
      { name: "errorCode", type: "int16" },
      { name: "errorMessage", type: "string", nullable: true, default: null },
    ] },
  ],
};
