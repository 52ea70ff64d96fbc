import type { MessageSchema } from "../src/schema.ts";

/** What stands in front of requests and responses; the versions are those of the headers. src/header.ts is written by hand. */
export const headers: readonly MessageSchema[] = [
  { name: "RequestHeader", versions: [1, 2], flexibleFrom: 2, fields: [
    { name: "requestApiKey", type: "int16" },
    { name: "requestApiVersion", type: "int16" },
    { name: "correlationId", type: "int32" },
    { name: "clientId", type: "string", nullable: true, neverFlexible: true },
  ] },
  { name: "ResponseHeader", versions: [0, 1], flexibleFrom: 1, fields: [
    { name: "correlationId", type: "int32" },
  ] },
];
