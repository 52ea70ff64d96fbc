import type { ApiSchema } from "../src/schema.ts";

export const findCoordinator: ApiSchema = {
  key: 10,
  name: "FindCoordinator",
  doc:
    "Finds the broker that coordinates a group, a transactional id or a share partition. v4 asks for many " +
    "(KIP-699), v6 for share partitions (KIP-932).",
  listeners: ["broker"],
  versions: [0, 6],
  flexibleFrom: 3,
  request: [
    { name: "key", type: "string", until: 3 },
    { name: "keyType", type: "int8", since: 1, default: 0,
      doc: "0: group, 1: transaction, 2: share partition (group:topicId:partition)." },
    { name: "coordinatorKeys", type: "array", of: "string", since: 4 },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32", since: 1, ignorable: true },
    { name: "errorCode", type: "int16", until: 3 },
    { name: "errorMessage", type: "string", since: 1, until: 3, nullable: true, ignorable: true },
    { name: "nodeId", type: "int32", until: 3 },
    { name: "host", type: "string", until: 3 },
    { name: "port", type: "int32", until: 3 },
    { name: "coordinators", type: "array", struct: "Coordinator", since: 4, of: [
      { name: "key", type: "string" },
      { name: "nodeId", type: "int32" },
      { name: "host", type: "string" },
      { name: "port", type: "int32" },
      { name: "errorCode", type: "int16" },
      { name: "errorMessage", type: "string", nullable: true, ignorable: true },
    ] },
  ],
};
