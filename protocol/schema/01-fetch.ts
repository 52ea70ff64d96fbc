import type { ApiSchema } from "../src/schema.ts";

export const fetch: ApiSchema = {
  key: 1,
  name: "Fetch",
  doc:
    "Reads records; followers replicate with it too. v7 has incremental sessions (KIP-227), v11 a rack " +
    "(KIP-392), v12 an epoch check (KIP-595), v13 topic ids (KIP-516), v15 the replica's state (KIP-903), " +
    "v16 leader hints (KIP-951), v17 directory ids (KIP-853), v18 the follower's high watermark " +
    "(KIP-1166).",
  listeners: ["broker", "controller"],
  versions: [4, 18],
  flexibleFrom: 12,
  request: [
    { name: "clusterId", type: "string", since: 12, nullable: true, tag: 0, default: null, ignorable: true,
      doc: "Checked by a controller before the broker has registered." },
    { name: "replicaId", type: "int32", until: 14, default: -1, doc: "-1 from a consumer." },
    { name: "replicaState", type: "struct", struct: "ReplicaState", since: 15, tag: 1, of: [
      { name: "replicaId", type: "int32", default: -1, doc: "-1 from a consumer." },
      { name: "replicaEpoch", type: "int64", default: -1,
        doc: "The broker epoch of the follower, -1 if there is none." },
    ] },
    { name: "maxWaitMs", type: "int32", doc: "How long to wait for `minBytes`." },
    { name: "minBytes", type: "int32" },
    { name: "maxBytes", type: "int32", default: 2147483647, ignorable: true,
      doc: "A limit that gives way to the first batch, which is always sent whole (KIP-74)." },
    { name: "isolationLevel", type: "int8", default: 0, ignorable: true,
      doc: "0 reads all; 1 reads committed records only." },
    { name: "sessionId", type: "int32", since: 7, default: 0, ignorable: true, doc: "0 asks for a new session." },
    { name: "sessionEpoch", type: "int32", since: 7, default: -1, ignorable: true,
      doc: "0 opens a session, -1 closes it or does without." },
    { name: "topics", type: "array", struct: "Topic", of: [
      { name: "topic", type: "string", until: 12, ignorable: true },
      { name: "topicId", type: "uuid", since: 13, ignorable: true },
      { name: "partitions", type: "array", struct: "Partition", of: [
        { name: "partition", type: "int32" },
        { name: "currentLeaderEpoch", type: "int32", since: 9, default: -1, ignorable: true,
          doc: "Fences a leader that is not the one the client knows; -1 does not (KIP-320)." },
        { name: "fetchOffset", type: "int64" },
        { name: "lastFetchedEpoch", type: "int32", since: 12, default: -1,
          doc: "The epoch of the record before `fetchOffset`, -1 if unknown (KIP-595)." },
        { name: "logStartOffset", type: "int64", since: 5, default: -1, ignorable: true,
          doc: "From a follower only, otherwise -1." },
        { name: "partitionMaxBytes", type: "int32" },
        { name: "replicaDirectoryId", type: "uuid", since: 17, tag: 0, ignorable: true },
        { name: "highWatermark", type: "int64", since: 18, tag: 1, default: 2n ** 63n - 1n, ignorable: true,
          doc: "What the follower believes; 2^63-1 where it does not say (KIP-1166)." },
        { name: "flushedOffset", type: "int64", since: 12, tag: 10000, default: -1, ignorable: true,
          doc: "Millrace's own: below it all is on the follower's disk, and counts for the high watermark. -1: nobody says so." },
      ] },
    ] },
    { name: "forgottenTopicsData", type: "array", struct: "ForgottenTopic", since: 7, doc: "What leaves the session.", of: [
      { name: "topic", type: "string", until: 12, ignorable: true },
      { name: "topicId", type: "uuid", since: 13, ignorable: true },
      { name: "partitions", type: "array", of: "int32" },
    ] },
    { name: "rackId", type: "string", since: 11, default: "", ignorable: true,
      doc: "Where the consumer stands, for reading from a near follower (KIP-392)." },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32", ignorable: true },
    { name: "errorCode", type: "int16", since: 7, ignorable: true },
    { name: "sessionId", type: "int32", since: 7, default: 0, doc: "0: no session." },
    { name: "responses", type: "array", struct: "FetchableTopic", of: [
      { name: "topic", type: "string", until: 12, ignorable: true },
      { name: "topicId", type: "uuid", since: 13, ignorable: true },
      { name: "partitions", type: "array", struct: "PartitionData", of: [
        { name: "partitionIndex", type: "int32" },
        { name: "errorCode", type: "int16" },
        { name: "highWatermark", type: "int64" },
        { name: "lastStableOffset", type: "int64", default: -1, ignorable: true,
          doc: "Below it every transaction has ended; a reader of committed records gets no further. -1: unknown." },
        { name: "logStartOffset", type: "int64", since: 5, default: -1, ignorable: true },
        { name: "divergingEpoch", type: "struct", struct: "EpochEndOffset", since: 12, tag: 0,
          doc: "The log parted from the reader's: the largest epoch and its end that both may share (KIP-595).", of: [
          { name: "epoch", type: "int32", default: -1 },
          { name: "endOffset", type: "int64", default: -1 },
        ] },
        { name: "currentLeader", type: "struct", struct: "LeaderIdAndEpoch", since: 12, tag: 1,
          doc: "With a fencing error: where to go (KIP-951).", of: [
          { name: "leaderId", type: "int32", default: -1 },
          { name: "leaderEpoch", type: "int32", default: -1 },
        ] },
        { name: "snapshotId", type: "struct", struct: "SnapshotId", since: 12, tag: 2,
          doc: "The offset lies before the log: the metadata snapshot to fetch instead (KIP-630).", of: [
          { name: "endOffset", type: "int64", default: -1 },
          { name: "epoch", type: "int32", default: -1 },
        ] },
        { name: "abortedTransactions", type: "array", struct: "AbortedTransaction", nullable: true, ignorable: true,
          doc: "Null unless committed records only were asked for.", of: [
          { name: "producerId", type: "int64" },
          { name: "firstOffset", type: "int64" },
        ] },
        { name: "preferredReadReplica", type: "int32", since: 11, default: -1,
          doc: "The replica to read from next time, -1 for the leader (KIP-392)." },
        { name: "records", type: "records", nullable: true,
          doc: "Whole batches, the first of which may begin before the offset asked for." },
      ] },
    ] },
    { name: "nodeEndpoints", type: "array", struct: "NodeEndpoint", since: 16, tag: 0,
      doc: "The brokers that `currentLeader` names.", of: [
      { name: "nodeId", type: "int32" },
      { name: "host", type: "string" },
      { name: "port", type: "int32" },
      { name: "rack", type: "string", nullable: true, default: null },
    ] },
  ],
};
