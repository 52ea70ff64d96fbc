import type { ApiSchema } from "../src/schema.ts";

export const listGroups: ApiSchema = {
  key: 16,
  name: "ListGroups",
  doc: "Lists the groups that this broker coordinates. v4 filters by state (KIP-518), v5 by type (KIP-848).",
  listeners: ["broker"],
  versions: [0, 5],
  flexibleFrom: 3,
  request: [
    { name: "statesFilter", type: "array", of: "string", since: 4 },
    { name: "typesFilter", type: "array", of: "string", since: 5 },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32", since: 1, ignorable: true },
    { name: "errorCode", type: "int16" },
    { name: "groups", type: "array", struct: "ListedGroup", of: [
      { name: "groupId", type: "string" },
      { name: "protocolType", type: "string" },
      { name: "groupState", type: "string", since: 4, ignorable: true },
      { name: "groupType", type: "string", since: 5, ignorable: true },
    ] },
  ],
};
