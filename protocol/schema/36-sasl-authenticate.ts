import type { ApiSchema } from "../src/schema.ts";

export const saslAuthenticate: ApiSchema = {
  key: 36,
  name: "SaslAuthenticate",
  doc: "Carries the bytes of a SASL exchange. v1 tells how long the session lasts (KIP-368).",
  listeners: ["broker", "controller"],
  versions: [0, 2],
  flexibleFrom: 2,
  request: [
    { name: "authBytes", type: "bytes" },
  ],
  response: [
    { name: "errorCode", type: "int16" },
    { name: "errorMessage", type: "string", nullable: true },
    { name: "authBytes", type: "bytes" },
    { name: "sessionLifetimeMs", type: "int64", since: 1, default: 0, ignorable: true,
      doc: "After so long the client must authenticate again on this connection; 0: never (KIP-368)." },
  ],
};
