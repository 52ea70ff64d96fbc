import type { ApiSchema } from "../src/schema.ts";

export const alterUserScramCredentials: ApiSchema = {
  key: 51,
  name: "AlterUserScramCredentials",
  doc: "Sets and deletes SCRAM credentials (KIP-554).",
  listeners: ["broker", "controller"],
  versions: [0, 0],
  flexibleFrom: 0,
  request: [
    { name: "deletions", type: "array", struct: "ScramCredentialDeletion", of: [
      { name: "name", type: "string" },
      { name: "mechanism", type: "int8", doc: "1: SHA-256, 2: SHA-512." },
    ] },
    { name: "upsertions", type: "array", struct: "ScramCredentialUpsertion", of: [
      { name: "name", type: "string" },
      { name: "mechanism", type: "int8", doc: "1: SHA-256, 2: SHA-512." },
      { name: "iterations", type: "int32" },
      { name: "salt", type: "bytes" },
      { name: "saltedPassword", type: "bytes" },
    ] },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "results", type: "array", struct: "Result", of: [
      { name: "user", type: "string" },
      { name: "errorCode", type: "int16" },
      { name: "errorMessage", type: "string", nullable: true },
    ] },
  ],
};
