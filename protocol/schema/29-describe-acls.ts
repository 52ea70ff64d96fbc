import type { ApiSchema } from "../src/schema.ts";

export const describeAcls: ApiSchema = {
  key: 29,
  name: "DescribeAcls",
  doc: "Lists access rules.",
  listeners: ["broker", "controller"],
  versions: [1, 3],
  flexibleFrom: 2,
  request: [
    { name: "resourceTypeFilter", type: "int8",
      doc: "1: any, 2: topic, 3: group, 4: cluster, 5: transactional id, 6: delegation token, 7: user." },
    { name: "resourceNameFilter", type: "string", nullable: true },
    { name: "patternTypeFilter", type: "int8", default: 3, doc: "1: any, 2: match, 3: literal, 4: prefixed." },
    { name: "principalFilter", type: "string", nullable: true },
    { name: "hostFilter", type: "string", nullable: true },
    { name: "operation", type: "int8",
      doc: "1: any, 2: all, 3: read, 4: write, 5: create, 6: delete, 7: alter, 8: describe, 9: cluster action, 10: describe configs, 11: alter configs, 12: idempotent write, 13: create tokens, 14: describe tokens, 15: two-phase commit." },
    { name: "permissionType", type: "int8", doc: "1: any, 2: deny, 3: allow." },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16" },
    { name: "errorMessage", type: "string", nullable: true },
    { name: "resources", type: "array", struct: "Resource", of: [
      { name: "resourceType", type: "int8" },
      { name: "resourceName", type: "string" },
      { name: "patternType", type: "int8", default: 3 },
      { name: "acls", type: "array", struct: "AclDescription", of: [
        { name: "principal", type: "string" },
        { name: "host", type: "string" },
        { name: "operation", type: "int8" },
        { name: "permissionType", type: "int8" },
      ] },
    ] },
  ],
};
