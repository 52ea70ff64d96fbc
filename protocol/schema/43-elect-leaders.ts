import type { ApiSchema } from "../src/schema.ts";

export const electLeaders: ApiSchema = {
  key: 43,
  name: "ElectLeaders",
  doc: "Elects leaders: the preferred replica, or one outside the ISR (KIP-183, KIP-460).",
  listeners: ["broker", "controller"],
  versions: [0, 2],
  flexibleFrom: 2,
  request: [
    { name: "electionType", type: "int8", since: 1, doc: "0: the preferred replica, 1: any replica." },
    { name: "topicPartitions", type: "array", struct: "TopicPartitions", nullable: true, doc: "Null: all.", of: [
      { name: "topic", type: "string" },
      { name: "partitions", type: "array", of: "int32" },
    ] },
    { name: "timeoutMs", type: "int32", default: 60000 },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16", since: 1 },
    { name: "replicaElectionResults", type: "array", struct: "ReplicaElectionResult", of: [
      { name: "topic", type: "string" },
      { name: "partitionResult", type: "array", struct: "PartitionResult", of: [
        { name: "partitionId", type: "int32" },
        { name: "errorCode", type: "int16" },
        { name: "errorMessage", type: "string", nullable: true },
      ] },
    ] },
  ],
};
