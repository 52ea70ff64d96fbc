import type { ApiSchema } from "../src/schema.ts";

export const joinGroup: ApiSchema = {
  key: 11,
  name: "JoinGroup",
  doc:
    "Enters a classic group, or its next generation. v4 hands out the member id first (KIP-394), v5 knows " +
    "static members (KIP-345), v8 carries a reason (KIP-800), v9 lets the leader skip the assignment " +
    "(KIP-814).",
  listeners: ["broker"],
  versions: [0, 9],
  flexibleFrom: 6,
  request: [
    { name: "groupId", type: "string" },
    { name: "sessionTimeoutMs", type: "int32" },
    { name: "rebalanceTimeoutMs", type: "int32", since: 1, default: -1, ignorable: true,
      doc: "How long members have to join again; -1: as long as the session." },
    { name: "memberId", type: "string", doc: "Empty on the first join." },
    { name: "groupInstanceId", type: "string", since: 5, nullable: true, default: null,
      doc: "Of a static member (KIP-345)." },
    { name: "protocolType", type: "string" },
    { name: "protocols", type: "array", struct: "Protocol", doc: "In order of preference.", of: [
      { name: "name", type: "string" },
      { name: "metadata", type: "bytes", doc: "The assignor's own bytes; the broker passes them through." },
    ] },
    { name: "reason", type: "string", since: 8, nullable: true, default: null, ignorable: true },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32", since: 2, ignorable: true },
    { name: "errorCode", type: "int16" },
    { name: "generationId", type: "int32", default: -1, doc: "-1 on error." },
    { name: "protocolType", type: "string", since: 7, nullable: true, default: null, ignorable: true },
    { name: "protocolName", type: "string", nullable: 7,
      doc: "Empty up to v6 and null from v7 on where no protocol was chosen." },
    { name: "leader", type: "string" },
    { name: "skipAssignment", type: "bool", since: 9, default: false,
      doc: "The leader must not compute an assignment (KIP-814)." },
    { name: "memberId", type: "string" },
    { name: "members", type: "array", struct: "Member", doc: "Told to the leader only.", of: [
      { name: "memberId", type: "string" },
      { name: "groupInstanceId", type: "string", since: 5, nullable: true, default: null, ignorable: true },
      { name: "metadata", type: "bytes" },
    ] },
  ],
};
