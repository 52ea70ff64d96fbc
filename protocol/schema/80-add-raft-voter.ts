import type { ApiSchema } from "../src/schema.ts";

export const addRaftVoter: ApiSchema = {
  key: 80,
  name: "AddRaftVoter",
  doc: "Adds a voter to the metadata quorum (KIP-853).",
  listeners: ["controller", "broker"],
  versions: [0, 1],
  flexibleFrom: 0,
  request: [
    { name: "clusterId", type: "string", nullable: true },
    { name: "timeoutMs", type: "int32" },
    { name: "voterId", type: "int32" },
    { name: "voterDirectoryId", type: "uuid" },
    { name: "listeners", type: "array", struct: "Listener", of: [
      { name: "name", type: "string" },
      { name: "host", type: "string" },
      { name: "port", type: "uint16" },
    ] },
    { name: "ackWhenCommitted", type: "bool", since: 1, default: true },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16" },
    { name: "errorMessage", type: "string", nullable: true, ignorable: true },
  ],
};
