import type { ApiSchema } from "../src/schema.ts";

export const createPartitions: ApiSchema = {
  key: 37,
  name: "CreatePartitions",
  doc: "Adds partitions to topics (KIP-195).",
  listeners: ["broker", "controller"],
  versions: [0, 3],
  flexibleFrom: 2,
  request: [
    { name: "topics", type: "array", struct: "Topic", of: [
      { name: "name", type: "string" },
      { name: "count", type: "int32", doc: "All partitions, not only the new ones." },
      { name: "assignments", type: "array", struct: "Assignment", nullable: true, of: [
        { name: "brokerIds", type: "array", of: "int32" },
      ] },
    ] },
    { name: "timeoutMs", type: "int32" },
    { name: "validateOnly", type: "bool" },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "results", type: "array", struct: "TopicResult", of: [
      { name: "name", type: "string" },
      { name: "errorCode", type: "int16" },
      { name: "errorMessage", type: "string", nullable: true, default: null },
    ] },
  ],
};
