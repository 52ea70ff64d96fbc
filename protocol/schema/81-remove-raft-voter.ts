import type { ApiSchema } from "../src/schema.ts";

export const removeRaftVoter: ApiSchema = {
  key: 81,
  name: "RemoveRaftVoter",
  doc: "Removes a voter from the metadata quorum (KIP-853).",
  listeners: ["controller", "broker"],
  versions: [0, 0],
  flexibleFrom: 0,
  request: [
    { name: "clusterId", type: "string", nullable: true },
    { name: "voterId", type: "int32" },
    { name: "voterDirectoryId", type: "uuid" },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16" },
    { name: "errorMessage", type: "string", nullable: true, ignorable: true },
  ],
};
