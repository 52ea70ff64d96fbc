import type { ApiSchema } from "../src/schema.ts";

export const offsetFetch: ApiSchema = {
  key: 9,
  name: "OffsetFetch",
  doc:
    "Reads a group's offsets. v7 can insist on stable ones (KIP-447), v8 asks for many groups (KIP-709), " +
    "v9 takes a member epoch (KIP-848), v10 topic ids.",
  listeners: ["broker"],
  versions: [1, 10],
  flexibleFrom: 6,
  request: [
    { name: "groupId", type: "string", until: 7 },
    { name: "topics", type: "array", struct: "Topic", until: 7, nullable: 2, doc: "Null: all.", of: [
      { name: "name", type: "string" },
      { name: "partitionIndexes", type: "array", of: "int32" },
    ] },
    { name: "groups", type: "array", struct: "Group", since: 8, of: [
      { name: "groupId", type: "string" },
      { name: "memberId", type: "string", since: 9, nullable: true, default: null, ignorable: true },
      { name: "memberEpoch", type: "int32", since: 9, default: -1, ignorable: true,
        doc: "-1 from outside of the group." },
      { name: "topics", type: "array", struct: "GroupTopic", nullable: true, doc: "Null: all.", of: [
        { name: "name", type: "string", until: 9, ignorable: true },
        { name: "topicId", type: "uuid", since: 10, ignorable: true },
        { name: "partitionIndexes", type: "array", of: "int32" },
      ] },
    ] },
    { name: "requireStable", type: "bool", since: 7, default: false,
      doc: "Answer UNSTABLE_OFFSET_COMMIT while a transaction holds offsets (KIP-447)." },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32", since: 3, ignorable: true },
    { name: "topics", type: "array", struct: "Topic", until: 7, of: [
      { name: "name", type: "string" },
      { name: "partitions", type: "array", struct: "Partition", of: [
        { name: "partitionIndex", type: "int32" },
        { name: "committedOffset", type: "int64", doc: "-1: none." },
        { name: "committedLeaderEpoch", type: "int32", since: 5, default: -1, ignorable: true },
        { name: "metadata", type: "string", nullable: true },
        { name: "errorCode", type: "int16" },
      ] },
    ] },
    { name: "errorCode", type: "int16", since: 2, until: 7, default: 0, ignorable: true },
    { name: "groups", type: "array", struct: "Group", since: 8, of: [
      { name: "groupId", type: "string" },
      { name: "topics", type: "array", struct: "GroupTopic", of: [
        { name: "name", type: "string", until: 9, ignorable: true },
        { name: "topicId", type: "uuid", since: 10, ignorable: true },
        { name: "partitions", type: "array", struct: "GroupPartition", of: [
          { name: "partitionIndex", type: "int32" },
          { name: "committedOffset", type: "int64", doc: "-1: none." },
          { name: "committedLeaderEpoch", type: "int32", default: -1, ignorable: true },
          { name: "metadata", type: "string", nullable: true },
          { name: "errorCode", type: "int16" },
        ] },
      ] },
      { name: "errorCode", type: "int16", default: 0 },
    ] },
  ],
};
