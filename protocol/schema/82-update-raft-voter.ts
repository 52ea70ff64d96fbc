import type { ApiSchema } from "../src/schema.ts";

export const updateRaftVoter: ApiSchema = {
  key: 82,
  name: "UpdateRaftVoter",
  doc: "A voter tells the leader its endpoints and versions (KIP-853).",
  listeners: ["controller"],
  versions: [0, 0],
  flexibleFrom: 0,
  request: [
    { name: "clusterId", type: "string", nullable: true },
    { name: "currentLeaderEpoch", type: "int32" },
    { name: "voterId", type: "int32" },
    { name: "voterDirectoryId", type: "uuid" },
    { name: "listeners", type: "array", struct: "Listener", of: [
      { name: "name", type: "string" },
      { name: "host", type: "string" },
      { name: "port", type: "uint16" },
    ] },
    { name: "kRaftVersionFeature", type: "struct", struct: "KRaftVersionFeature", of: [
      { name: "minSupportedVersion", type: "int16" },
      { name: "maxSupportedVersion", type: "int16" },
    ] },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16" },
    { name: "currentLeader", type: "struct", struct: "CurrentLeader", tag: 0, of: [
      { name: "leaderId", type: "int32", default: -1 },
      { name: "leaderEpoch", type: "int32", default: -1 },
      { name: "host", type: "string" },
      { name: "port", type: "int32" },
    ] },
  ],
};
