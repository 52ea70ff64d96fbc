import type { ApiSchema } from "../src/schema.ts";

export const heartbeat: ApiSchema = {
  key: 12,
  name: "Heartbeat",
  doc: "Tells the coordinator of a classic group that a member lives.",
  listeners: ["broker"],
  versions: [0, 4],
  flexibleFrom: 4,
  request: [
    { name: "groupId", type: "string" },
    { name: "generationId", type: "int32" },
    { name: "memberId", type: "string" },
    { name: "groupInstanceId", type: "string", since: 3, nullable: true, default: null },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32", since: 1, ignorable: true },
    { name: "errorCode", type: "int16" },
  ],
};
