import type { ApiSchema } from "../src/schema.ts";

export const alterClientQuotas: ApiSchema = {
  key: 49,
  name: "AlterClientQuotas",
  doc: "Writes quotas by user, client id and address (KIP-546).",
  listeners: ["broker", "controller"],
  versions: [0, 1],
  flexibleFrom: 1,
  request: [
    { name: "entries", type: "array", struct: "EntryData", of: [
      { name: "entity", type: "array", struct: "EntityData", of: [
        { name: "entityType", type: "string" },
        { name: "entityName", type: "string", nullable: true, doc: "Null: the default entity." },
      ] },
      { name: "ops", type: "array", struct: "OpData", of: [
        { name: "key", type: "string" },
        { name: "value", type: "float64" },
        { name: "remove", type: "bool" },
      ] },
    ] },
    { name: "validateOnly", type: "bool" },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "entries", type: "array", struct: "EntryData", of: [
      { name: "errorCode", type: "int16" },
      { name: "errorMessage", type: "string", nullable: true },
      { name: "entity", type: "array", struct: "EntityData", of: [
        { name: "entityType", type: "string" },
        { name: "entityName", type: "string", nullable: true },
      ] },
    ] },
  ],
};
