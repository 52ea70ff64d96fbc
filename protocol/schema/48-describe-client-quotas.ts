import type { ApiSchema } from "../src/schema.ts";

export const describeClientQuotas: ApiSchema = {
  key: 48,
  name: "DescribeClientQuotas",
  doc: "Reads quotas by user, client id and address (KIP-546).",
  listeners: ["broker"],
  versions: [0, 1],
  flexibleFrom: 1,
  request: [
    { name: "components", type: "array", struct: "ComponentData", of: [
      { name: "entityType", type: "string" },
      { name: "matchType", type: "int8", doc: "0: exactly `match`, 1: the default entity, 2: any." },
      { name: "match", type: "string", nullable: true },
    ] },
    { name: "strict", type: "bool" },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16" },
    { name: "errorMessage", type: "string", nullable: true },
    { name: "entries", type: "array", struct: "EntryData", nullable: true, of: [
      { name: "entity", type: "array", struct: "EntityData", of: [
        { name: "entityType", type: "string" },
        { name: "entityName", type: "string", nullable: true },
      ] },
      { name: "values", type: "array", struct: "ValueData", of: [
        { name: "key", type: "string" },
        { name: "value", type: "float64" },
      ] },
    ] },
  ],
};
