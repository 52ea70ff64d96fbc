import type { ApiSchema } from "../src/schema.ts";

export const describeConfigs: ApiSchema = {
  key: 32,
  name: "DescribeConfigs",
  doc:
    "Reads configs of topics, brokers, loggers, client metrics and groups. v1 adds synonyms (KIP-226), v3 " +
    "types and documentation (KIP-569).",
  listeners: ["broker", "controller"],
  versions: [1, 4],
  flexibleFrom: 4,
  request: [
    { name: "resources", type: "array", struct: "Resource", of: [
      { name: "resourceType", type: "int8",
        doc: "2: topic, 4: broker, 8: broker logger, 16: client metrics, 32: group." },
      { name: "resourceName", type: "string" },
      { name: "configurationKeys", type: "array", of: "string", nullable: true, doc: "Null: all." },
    ] },
    { name: "includeSynonyms", type: "bool", default: false },
    { name: "includeDocumentation", type: "bool", since: 3, default: false },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "results", type: "array", struct: "Result", of: [
      { name: "errorCode", type: "int16" },
      { name: "errorMessage", type: "string", nullable: true },
      { name: "resourceType", type: "int8" },
      { name: "resourceName", type: "string" },
      { name: "configs", type: "array", struct: "ResourceResult", of: [
        { name: "name", type: "string" },
        { name: "value", type: "string", nullable: true, doc: "Null where it is sensitive." },
        { name: "readOnly", type: "bool" },
        { name: "configSource", type: "int8", default: -1, ignorable: true,
          doc: "1: topic, 2: broker, 3: all brokers, 4: static file, 5: default, 6: logger, 7: client metrics, 8: group." },
        { name: "isSensitive", type: "bool" },
        { name: "synonyms", type: "array", struct: "Synonym", ignorable: true, of: [
          { name: "name", type: "string" },
          { name: "value", type: "string", nullable: true },
          { name: "source", type: "int8" },
        ] },
        { name: "configType", type: "int8", since: 3, default: 0, ignorable: true,
          doc: "1: boolean, 2: string, 3: int, 4: short, 5: long, 6: double, 7: list, 8: class, 9: password." },
        { name: "documentation", type: "string", since: 3, nullable: true, ignorable: true },
      ] },
    ] },
  ],
};
