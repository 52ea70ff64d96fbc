import type { ApiSchema } from "../src/schema.ts";

export const offsetCommit: ApiSchema = {
  key: 8,
  name: "OffsetCommit",
  doc:
    "Stores a group's offsets. v9 takes a member epoch of the new group protocol (KIP-848), v10 topic " +
    "ids.",
  listeners: ["broker"],
  versions: [2, 10],
  flexibleFrom: 8,
  request: [
    { name: "groupId", type: "string" },
    { name: "generationIdOrMemberEpoch", type: "int32", default: -1, ignorable: true,
      doc: "Classic: the generation; consumer group: the member epoch; -1 from outside of the group." },
    { name: "memberId", type: "string", ignorable: true },
    { name: "groupInstanceId", type: "string", since: 7, nullable: true, default: null },
    { name: "retentionTimeMs", type: "int64", until: 4, default: -1, ignorable: true,
      doc: "-1: the broker's setting." },
    { name: "topics", type: "array", struct: "Topic", of: [
      { name: "name", type: "string", until: 9, ignorable: true },
      { name: "topicId", type: "uuid", since: 10, ignorable: true },
      { name: "partitions", type: "array", struct: "Partition", of: [
        { name: "partitionIndex", type: "int32" },
        { name: "committedOffset", type: "int64" },
        { name: "committedLeaderEpoch", type: "int32", since: 6, default: -1, ignorable: true, doc: "-1: unknown." },
        { name: "committedMetadata", type: "string", nullable: true },
      ] },
    ] },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32", since: 3, ignorable: true },
    { name: "topics", type: "array", struct: "Topic", of: [
      { name: "name", type: "string", until: 9, ignorable: true },
      { name: "topicId", type: "uuid", since: 10, ignorable: true },
      { name: "partitions", type: "array", struct: "Partition", of: [
        { name: "partitionIndex", type: "int32" },
        { name: "errorCode", type: "int16" },
      ] },
    ] },
  ],
};
