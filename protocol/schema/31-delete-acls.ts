import type { ApiSchema } from "../src/schema.ts";

export const deleteAcls: ApiSchema = {
  key: 31,
  name: "DeleteAcls",
  doc: "Deletes access rules that match a filter.",
  listeners: ["broker", "controller"],
  versions: [1, 3],
  flexibleFrom: 2,
  request: [
    { name: "filters", type: "array", struct: "Filter", of: [
      { name: "resourceTypeFilter", type: "int8" },
      { name: "resourceNameFilter", type: "string", nullable: true },
      { name: "patternTypeFilter", type: "int8", default: 3 },
      { name: "principalFilter", type: "string", nullable: true },
      { name: "hostFilter", type: "string", nullable: true },
      { name: "operation", type: "int8" },
      { name: "permissionType", type: "int8" },
    ] },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "filterResults", type: "array", struct: "FilterResult", of: [
      { name: "errorCode", type: "int16" },
      { name: "errorMessage", type: "string", nullable: true },
      { name: "matchingAcls", type: "array", struct: "MatchingAcl", of: [
        { name: "errorCode", type: "int16" },
        { name: "errorMessage", type: "string", nullable: true },
        { name: "resourceType", type: "int8" },
        { name: "resourceName", type: "string" },
        { name: "patternType", type: "int8", default: 3 },
        { name: "principal", type: "string" },
        { name: "host", type: "string" },
        { name: "operation", type: "int8" },
        { name: "permissionType", type: "int8" },
      ] },
    ] },
  ],
};
