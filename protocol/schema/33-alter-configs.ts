import type { ApiSchema } from "../src/schema.ts";

export const alterConfigs: ApiSchema = {
  key: 33,
  name: "AlterConfigs",
  doc:
    "Replaces all configs of a resource. Superseded by IncrementalAlterConfigs (KIP-339); old clients " +
    "send it.",
  listeners: ["broker", "controller"],
  versions: [0, 2],
  flexibleFrom: 2,
  request: [
    { name: "resources", type: "array", struct: "Resource", of: [
      { name: "resourceType", type: "int8",
        doc: "2: topic, 4: broker, 8: broker logger, 16: client metrics, 32: group." },
      { name: "resourceName", type: "string" },
      { name: "configs", type: "array", struct: "AlterableConfig", of: [
        { name: "name", type: "string" },
        { name: "value", type: "string", nullable: true },
      ] },
    ] },
    { name: "validateOnly", type: "bool" },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "responses", type: "array", struct: "Resource", of: [
      { name: "errorCode", type: "int16" },
      { name: "errorMessage", type: "string", nullable: true },
      { name: "resourceType", type: "int8" },
      { name: "resourceName", type: "string" },
    ] },
  ],
};
