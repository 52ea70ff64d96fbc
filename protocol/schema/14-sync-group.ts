import type { ApiSchema } from "../src/schema.ts";

export const syncGroup: ApiSchema = {
  key: 14,
  name: "SyncGroup",
  doc: "Hands the leader's assignment to the coordinator and each member's part to the member.",
  listeners: ["broker"],
  versions: [0, 5],
  flexibleFrom: 4,
  request: [
    { name: "groupId", type: "string" },
    { name: "generationId", type: "int32" },
    { name: "memberId", type: "string" },
    { name: "groupInstanceId", type: "string", since: 3, nullable: true, default: null },
    { name: "protocolType", type: "string", since: 5, nullable: true, default: null, ignorable: true },
    { name: "protocolName", type: "string", since: 5, nullable: true, default: null, ignorable: true },
    { name: "assignments", type: "array", struct: "Assignment", doc: "From the leader only.", of: [
      { name: "memberId", type: "string" },
      { name: "assignment", type: "bytes" },
    ] },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32", since: 1, ignorable: true },
    { name: "errorCode", type: "int16" },
    { name: "protocolType", type: "string", since: 5, nullable: true, default: null, ignorable: true },
    { name: "protocolName", type: "string", since: 5, nullable: true, default: null, ignorable: true },
    { name: "assignment", type: "bytes" },
  ],
};
