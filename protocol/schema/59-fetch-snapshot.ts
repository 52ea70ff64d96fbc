import type { ApiSchema } from "../src/schema.ts";

export const fetchSnapshot: ApiSchema = {
  key: 59,
  name: "FetchSnapshot",
  doc: "Fetches a part of a metadata snapshot (KIP-630).",
  listeners: ["controller"],
  versions: [0, 1],
  flexibleFrom: 0,
  request: [
    { name: "clusterId", type: "string", nullable: true, tag: 0, default: null },
    { name: "replicaId", type: "int32", default: -1 },
    { name: "maxBytes", type: "int32", default: 2147483647 },
    { name: "topics", type: "array", struct: "TopicSnapshot", of: [
      { name: "name", type: "string" },
      { name: "partitions", type: "array", struct: "PartitionSnapshot", of: [
        { name: "partition", type: "int32" },
        { name: "currentLeaderEpoch", type: "int32" },
        { name: "snapshotId", type: "struct", struct: "SnapshotId", of: [
          { name: "endOffset", type: "int64" },
          { name: "epoch", type: "int32" },
        ] },
        { name: "position", type: "int64" },
        { name: "replicaDirectoryId", type: "uuid", since: 1, tag: 0, ignorable: true },
      ] },
    ] },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32", ignorable: true },
    { name: "errorCode", type: "int16" },
    { name: "topics", type: "array", struct: "TopicSnapshot", of: [
      { name: "name", type: "string" },
      { name: "partitions", type: "array", struct: "PartitionSnapshot", of: [
        { name: "index", type: "int32" },
        { name: "errorCode", type: "int16" },
        { name: "snapshotId", type: "struct", struct: "SnapshotId", of: [
          { name: "endOffset", type: "int64" },
          { name: "epoch", type: "int32" },
        ] },
        { name: "currentLeader", type: "struct", struct: "LeaderIdAndEpoch", tag: 0, of: [
          { name: "leaderId", type: "int32" },
          { name: "leaderEpoch", type: "int32" },
        ] },
        { name: "size", type: "int64" },
        { name: "position", type: "int64" },
        { name: "unalignedRecords", type: "records" },
      ] },
    ] },
    { name: "nodeEndpoints", type: "array", struct: "NodeEndpoint", since: 1, tag: 0, of: [
      { name: "nodeId", type: "int32" },
      { name: "host", type: "string" },
      { name: "port", type: "uint16" },
    ] },
  ],
};
