import type { ApiSchema } from "../src/schema.ts";

export const apiVersions: ApiSchema = {
  key: 18,
  name: "ApiVersions",
  doc:
    "Tells which versions of which APIs, and which features, a broker speaks. The answer has response " +
    "header v0 in every version, and an unknown version is answered as v0 (KIP-511).",
  listeners: ["broker", "controller"],
  versions: [0, 4],
  flexibleFrom: 3,
  request: [
    { name: "clientSoftwareName", type: "string", since: 3, ignorable: true },
    { name: "clientSoftwareVersion", type: "string", since: 3, ignorable: true },
  ],
  response: [
    { name: "errorCode", type: "int16" },
    { name: "apiKeys", type: "array", struct: "ApiVersion", of: [
      { name: "apiKey", type: "int16" },
      { name: "minVersion", type: "int16" },
      { name: "maxVersion", type: "int16" },
    ] },
    { name: "throttleTimeMs", type: "int32", since: 1, ignorable: true },
    { name: "supportedFeatures", type: "array", struct: "SupportedFeatureKey", since: 3, tag: 0, ignorable: true,
      doc: "At v3 without features whose minimum is 0 (KAFKA-17011).", of: [
      { name: "name", type: "string" },
      { name: "minVersion", type: "int16" },
      { name: "maxVersion", type: "int16" },
    ] },
    { name: "finalizedFeaturesEpoch", type: "int64", since: 3, tag: 1, default: -1, ignorable: true,
      doc: "Grows with each change; -1: unknown." },
    { name: "finalizedFeatures", type: "array", struct: "FinalizedFeatureKey", since: 3, tag: 2, ignorable: true, of: [
      { name: "name", type: "string" },
      { name: "maxVersionLevel", type: "int16" },
      { name: "minVersionLevel", type: "int16" },
    ] },
    { name: "zkMigrationReady", type: "bool", since: 3, tag: 3, default: false, ignorable: true },
  ],
};
