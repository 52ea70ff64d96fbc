import type { ApiSchema } from "../src/schema.ts";

export const formation: ApiSchema = {
  key: 10002,
  name: "Formation",
  doc: "Nodes of a new cluster tell each other who they are. Millrace's own, between its nodes.",
  listeners: ["controller"],
  versions: [0, 0],
  flexibleFrom: 0,
  request: [
    { name: "nodeId", type: "int32" },
    { name: "directoryId", type: "uuid" },
    { name: "clusterId", type: "string", nullable: true, doc: "Null: it belongs to none yet." },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16" },
    { name: "nodeId", type: "int32" },
    { name: "directoryId", type: "uuid" },
    { name: "clusterId", type: "string", nullable: true, doc: "Null: it belongs to none yet." },
    { name: "voters", type: "array", of: "string", doc: "Who votes, as NODE-ID:DIRECTORY-ID; empty without a cluster, and where the metadata is lost." },
  ],
};
