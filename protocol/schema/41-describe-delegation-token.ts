import type { ApiSchema } from "../src/schema.ts";

export const describeDelegationToken: ApiSchema = {
  key: 41,
  name: "DescribeDelegationToken",
  doc: "Describes delegation tokens.",
  listeners: ["broker", "controller"],
  versions: [1, 3],
  flexibleFrom: 2,
  request: [
    { name: "owners", type: "array", struct: "Owner", nullable: true, of: [
      { name: "principalType", type: "string" },
      { name: "principalName", type: "string" },
    ] },
  ],
  response: [
    { name: "errorCode", type: "int16" },
    { name: "tokens", type: "array", struct: "DescribedDelegationToken", of: [
      { name: "principalType", type: "string" },
      { name: "principalName", type: "string" },
      { name: "tokenRequesterPrincipalType", type: "string", since: 3 },
      { name: "tokenRequesterPrincipalName", type: "string", since: 3 },
      { name: "issueTimestamp", type: "int64" },
      { name: "expiryTimestamp", type: "int64" },
      { name: "maxTimestamp", type: "int64" },
      { name: "tokenId", type: "string" },
      { name: "hmac", type: "bytes" },
      { name: "renewers", type: "array", struct: "DescribedDelegationTokenRenewer", of: [
        { name: "principalType", type: "string" },
        { name: "principalName", type: "string" },
      ] },
    ] },
    { name: "throttleTimeMs", type: "int32" },
  ],
};
