import type { ApiSchema } from "../src/schema.ts";

export const controllerRegistration: ApiSchema = {
  key: 70,
  name: "ControllerRegistration",
  doc: "A controller registers with the active controller (KIP-919).",
  listeners: ["controller"],
  versions: [0, 0],
  flexibleFrom: 0,
  request: [
    { name: "controllerId", type: "int32" },
    { name: "incarnationId", type: "uuid" },
    { name: "zkMigrationReady", type: "bool" },
    { name: "listeners", type: "array", struct: "Listener", of: [
      { name: "name", type: "string" },
      { name: "host", type: "string" },
      { name: "port", type: "uint16" },
      { name: "securityProtocol", type: "int16" },
    ] },
    { name: "features", type: "array", struct: "Feature", of: [
      { name: "name", type: "string" },
      { name: "minSupportedVersion", type: "int16" },
      { name: "maxSupportedVersion", type: "int16" },
    ] },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16" },
    { name: "errorMessage", type: "string", nullable: true },
  ],
};
