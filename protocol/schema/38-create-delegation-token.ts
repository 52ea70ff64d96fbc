import type { ApiSchema } from "../src/schema.ts";

export const createDelegationToken: ApiSchema = {
  key: 38,
  name: "CreateDelegationToken",
  doc: "Creates a delegation token (KIP-48). v3 may do so for somebody else (KIP-373).",
  listeners: ["broker", "controller"],
  versions: [1, 3],
  flexibleFrom: 2,
  request: [
    { name: "ownerPrincipalType", type: "string", since: 3, nullable: true },
    { name: "ownerPrincipalName", type: "string", since: 3, nullable: true },
    { name: "renewers", type: "array", struct: "CreatableRenewer", of: [
      { name: "principalType", type: "string" },
      { name: "principalName", type: "string" },
    ] },
    { name: "maxLifetimeMs", type: "int64" },
  ],
  response: [
    { name: "errorCode", type: "int16" },
    { name: "principalType", type: "string" },
    { name: "principalName", type: "string" },
    { name: "tokenRequesterPrincipalType", type: "string", since: 3 },
    { name: "tokenRequesterPrincipalName", type: "string", since: 3 },
    { name: "issueTimestampMs", type: "int64" },
    { name: "expiryTimestampMs", type: "int64" },
    { name: "maxTimestampMs", type: "int64" },
    { name: "tokenId", type: "string" },
    { name: "hmac", type: "bytes" },
    { name: "throttleTimeMs", type: "int32" },
  ],
};
