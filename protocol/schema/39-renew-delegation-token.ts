import type { ApiSchema } from "../src/schema.ts";

export const renewDelegationToken: ApiSchema = {
  key: 39,
  name: "RenewDelegationToken",
  doc: "Renews a delegation token.",
  listeners: ["broker", "controller"],
  versions: [1, 2],
  flexibleFrom: 2,
  request: [
    { name: "hmac", type: "bytes" },
    { name: "renewPeriodMs", type: "int64" },
  ],
  response: [
    { name: "errorCode", type: "int16" },
    { name: "expiryTimestampMs", type: "int64" },
    { name: "throttleTimeMs", type: "int32" },
  ],
};
