import type { ApiSchema } from "../src/schema.ts";

export const deleteGroups: ApiSchema = {
  key: 42,
  name: "DeleteGroups",
  doc: "Deletes groups that have no members.",
  listeners: ["broker"],
  versions: [0, 2],
  flexibleFrom: 2,
  request: [
    { name: "groupsNames", type: "array", of: "string" },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "results", type: "array", struct: "DeletableGroupResult", of: [
      { name: "groupId", type: "string" },
      { name: "errorCode", type: "int16" },
    ] },
  ],
};
