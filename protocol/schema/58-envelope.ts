import type { ApiSchema } from "../src/schema.ts";

export const envelope: ApiSchema = {
  key: 58,
  name: "Envelope",
  doc: "Carries a client's request to the controller, with its principal (KIP-590).",
  listeners: ["controller"],
  versions: [0, 0],
  flexibleFrom: 0,
  request: [
    { name: "requestData", type: "bytes" },
    { name: "requestPrincipal", type: "bytes", nullable: true, doc: "See internal/principal." },
    { name: "clientHostAddress", type: "bytes" },
  ],
  response: [
    { name: "responseData", type: "bytes", nullable: true, default: null },
    { name: "errorCode", type: "int16" },
  ],
};
