import type { ApiSchema } from "../src/schema.ts";

export const incrementalAlterConfigs: ApiSchema = {
  key: 44,
  name: "IncrementalAlterConfigs",
  doc: "Sets, deletes, appends to and subtracts from single configs (KIP-339).",
  listeners: ["broker", "controller"],
  versions: [0, 1],
  flexibleFrom: 1,
  request: [
    { name: "resources", type: "array", struct: "AlterConfigsResource", of: [
      { name: "resourceType", type: "int8",
        doc: "2: topic, 4: broker, 8: broker logger, 16: client metrics, 32: group." },
      { name: "resourceName", type: "string" },
      { name: "configs", type: "array", struct: "AlterableConfig", of: [
        { name: "name", type: "string" },
        { name: "configOperation", type: "int8", doc: "0: set, 1: delete, 2: append, 3: subtract." },
        { name: "value", type: "string", nullable: true },
      ] },
    ] },
    { name: "validateOnly", type: "bool" },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "responses", type: "array", struct: "AlterConfigsResource", of: [
      { name: "errorCode", type: "int16" },
      { name: "errorMessage", type: "string", nullable: true },
      { name: "resourceType", type: "int8" },
      { name: "resourceName", type: "string" },
    ] },
  ],
};
