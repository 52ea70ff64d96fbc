import type { ApiSchema } from "../src/schema.ts";

export const unregisterBroker: ApiSchema = {
  key: 64,
  name: "UnregisterBroker",
  doc: "Forgets a broker that is gone (KIP-631).",
  listeners: ["broker", "controller"],
  versions: [0, 0],
  flexibleFrom: 0,
  request: [
    { name: "brokerId", type: "int32" },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16" },
    { name: "errorMessage", type: "string", nullable: true },
  ],
};
