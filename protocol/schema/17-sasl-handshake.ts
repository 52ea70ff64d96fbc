import type { ApiSchema } from "../src/schema.ts";

export const saslHandshake: ApiSchema = {
  key: 17,
  name: "SaslHandshake",
  doc:
    "Chooses a SASL mechanism. v1 puts what follows into SaslAuthenticate requests (KIP-152). Never " +
    "flexible.",
  listeners: ["broker", "controller"],
  versions: [0, 1],
  flexibleFrom: null,
  request: [
    { name: "mechanism", type: "string" },
  ],
  response: [
    { name: "errorCode", type: "int16" },
    { name: "mechanisms", type: "array", of: "string", doc: "What the broker would accept." },
  ],
};
