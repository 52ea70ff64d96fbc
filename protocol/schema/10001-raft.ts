import type { ApiSchema } from "../src/schema.ts";

export const raft: ApiSchema = {
  key: 10001,
  name: "Raft",
  doc: "Carries the consensus of the controllers from node to node. Millrace's own, and not for clients.",
  listeners: ["controller"],
  versions: [0, 0],
  flexibleFrom: 0,
  request: [
    { name: "clusterId", type: "string" },
    { name: "fromNode", type: "string", doc: "The sender's node id and directory id: 1:ENm0kFnkQuWTQkPUZGrdBQ." },
    { name: "toNode", type: "string", nullable: true,
      doc: "The one that is meant; null: whoever is there. Another one answers INVALID_VOTER_KEY." },
    { name: "messages", type: "array", struct: "RaftMessage", doc: "In the order in which they were sent.", of: [
      { name: "frame", type: "bytes" },
    ] },
    { name: "maxWaitMs", type: "int32", doc: "More than 0: wait so long for messages to the sender." },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16" },
    { name: "errorMessage", type: "string", nullable: true, default: null },
    { name: "leaderNode", type: "string", nullable: true, default: null,
      doc: "Who leads, as far as is known. Whoever waits for messages gets them there, and is answered at once elsewhere." },
    { name: "messages", type: "array", struct: "RaftMessage",
      doc: "To the sender of the request; none where it does not wait.", of: [
      { name: "frame", type: "bytes" },
    ] },
  ],
};
