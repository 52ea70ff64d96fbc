import type { ApiSchema } from "../src/schema.ts";

export const describeUserScramCredentials: ApiSchema = {
  key: 50,
  name: "DescribeUserScramCredentials",
  doc: "Lists users that have SCRAM credentials (KIP-554).",
  listeners: ["broker", "controller"],
  versions: [0, 0],
  flexibleFrom: 0,
  request: [
    { name: "users", type: "array", struct: "UserName", nullable: true, doc: "Null or empty: all.", of: [
      { name: "name", type: "string" },
    ] },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16" },
    { name: "errorMessage", type: "string", nullable: true },
    { name: "results", type: "array", struct: "Result", of: [
      { name: "user", type: "string" },
      { name: "errorCode", type: "int16" },
      { name: "errorMessage", type: "string", nullable: true },
      { name: "credentialInfos", type: "array", struct: "CredentialInfo", of: [
        { name: "mechanism", type: "int8" },
        { name: "iterations", type: "int32" },
      ] },
    ] },
  ],
};
