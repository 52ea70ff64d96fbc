import type { ApiSchema } from "../src/schema.ts";

export const leaveGroup: ApiSchema = {
  key: 13,
  name: "LeaveGroup",
  doc: "Leaves a classic group; from v3 on for several members at once (KIP-345).",
  listeners: ["broker"],
  versions: [0, 5],
  flexibleFrom: 4,
  request: [
    { name: "groupId", type: "string" },
    { name: "memberId", type: "string", until: 2 },
    { name: "members", type: "array", struct: "MemberIdentity", since: 3, of: [
      { name: "memberId", type: "string", doc: "Empty: the static member is meant by its instance id." },
      { name: "groupInstanceId", type: "string", nullable: true, default: null },
      { name: "reason", type: "string", since: 5, nullable: true, default: null, ignorable: true },
    ] },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32", since: 1, ignorable: true },
    { name: "errorCode", type: "int16" },
    { name: "members", type: "array", struct: "Member", since: 3, of: [
      { name: "memberId", type: "string" },
      { name: "groupInstanceId", type: "string", nullable: true },
      { name: "errorCode", type: "int16" },
    ] },
  ],
};
