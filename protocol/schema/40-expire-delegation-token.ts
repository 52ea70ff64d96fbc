import type { ApiSchema } from "../src/schema.ts";

export const expireDelegationToken: ApiSchema = {
  key: 40,
  name: "ExpireDelegationToken",
  doc: "Expires a delegation token.",
  listeners: ["broker", "controller"],
  versions: [1, 2],
  flexibleFrom: 2,
  request: [
    { name: "hmac", type: "bytes" },
    { name: "expiryTimePeriodMs", type: "int64" },
  ],
  response: [
    { name: "errorCode", type: "int16" },
    { name: "expiryTimestampMs", type: "int64" },
    { name: "throttleTimeMs", type: "int32" },
  ],
};
