import type { ApiSchema } from "../src/schema.ts";

export const listConfigResources: ApiSchema = {
  key: 74,
  name: "ListConfigResources",
  doc: "Lists the names of resources that have configs. v1 asks by type (KIP-1142).",
  listeners: ["broker"],
  versions: [0, 1],
  flexibleFrom: 0,
  request: [
    { name: "resourceTypes", type: "array", of: "int8", since: 1, doc: "Empty: all that can be listed." },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16" },
    { name: "configResources", type: "array", struct: "ConfigResource", of: [
      { name: "resourceName", type: "string" },
      { name: "resourceType", type: "int8", since: 1, default: 16, ignorable: true },
    ] },
  ],
};
