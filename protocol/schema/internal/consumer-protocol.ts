import type { MessageSchema } from "../../src/schema.ts";

/**
 * What consumers of a classic group tell each other through JoinGroup and SyncGroup (protocol type
 * "consumer"). The broker passes it through unread.
 */
export const consumerProtocol: readonly MessageSchema[] = [
  { name: "ConsumerProtocolSubscription", versions: [0, 3], flexibleFrom: null, fields: [
    { name: "topics", type: "array", of: "string" },
    { name: "userData", type: "bytes", nullable: true, default: null },
    { name: "ownedPartitions", type: "array", struct: "TopicPartition", since: 1, ignorable: true, of: [
      { name: "topic", type: "string" },
      { name: "partitions", type: "array", of: "int32" },
    ] },
    { name: "generationId", type: "int32", since: 2, default: -1, ignorable: true },
    { name: "rackId", type: "string", since: 3, nullable: true, default: null, ignorable: true },
  ] },
  { name: "ConsumerProtocolAssignment", versions: [0, 3], flexibleFrom: null, fields: [
    { name: "assignedPartitions", type: "array", struct: "TopicPartition", of: [
      { name: "topic", type: "string" },
      { name: "partitions", type: "array", of: "int32" },
    ] },
    { name: "userData", type: "bytes", nullable: true, default: null },
  ] },
];
