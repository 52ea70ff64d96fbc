import type { ApiSchema } from "../src/schema.ts";

export const describeGroups: ApiSchema = {
  key: 15,
  name: "DescribeGroups",
  doc: "Describes groups as the classic protocol sees them. v6 says GROUP_ID_NOT_FOUND (KIP-1043).",
  listeners: ["broker"],
  versions: [0, 6],
  flexibleFrom: 5,
  request: [
    { name: "groups", type: "array", of: "string" },
    { name: "includeAuthorizedOperations", type: "bool", since: 3 },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32", since: 1, ignorable: true },
    { name: "groups", type: "array", struct: "DescribedGroup", of: [
      { name: "errorCode", type: "int16" },
      { name: "errorMessage", type: "string", since: 6, nullable: true, default: null },
      { name: "groupId", type: "string" },
      { name: "groupState", type: "string" },
      { name: "protocolType", type: "string" },
      { name: "protocolData", type: "string" },
      { name: "members", type: "array", struct: "DescribedGroupMember", of: [
        { name: "memberId", type: "string" },
        { name: "groupInstanceId", type: "string", since: 4, nullable: true, default: null, ignorable: true },
        { name: "clientId", type: "string" },
        { name: "clientHost", type: "string" },
        { name: "memberMetadata", type: "bytes" },
        { name: "memberAssignment", type: "bytes" },
      ] },
      { name: "authorizedOperations", type: "int32", since: 3, default: -2147483648,
        doc: "A bit set of ACL operations; -2147483648: not asked for." },
    ] },
  ],
};
