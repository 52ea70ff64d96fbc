import type { ApiSchema } from "../src/schema.ts";

export const createAcls: ApiSchema = {
  key: 30,
  name: "CreateAcls",
  doc: "Creates access rules.",
  listeners: ["broker", "controller"],
  versions: [1, 3],
  flexibleFrom: 2,
  request: [
    { name: "creations", type: "array", struct: "AclCreation", of: [
      { name: "resourceType", type: "int8" },
      { name: "resourceName", type: "string" },
      { name: "resourcePatternType", type: "int8", default: 3 },
      { name: "principal", type: "string" },
      { name: "host", type: "string" },
      { name: "operation", type: "int8" },
      { name: "permissionType", type: "int8" },
    ] },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "results", type: "array", struct: "AclCreationResult", of: [
      { name: "errorCode", type: "int16" },
      { name: "errorMessage", type: "string", nullable: true },
    ] },
  ],
};
