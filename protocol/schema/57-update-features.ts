import type { ApiSchema } from "../src/schema.ts";

export const updateFeatures: ApiSchema = {
  key: 57,
  name: "UpdateFeatures",
  doc: "Changes finalised feature levels (KIP-584).",
  listeners: ["broker", "controller"],
  versions: [0, 2],
  flexibleFrom: 0,
  request: [
    { name: "timeoutMs", type: "int32", default: 60000 },
    { name: "featureUpdates", type: "array", struct: "FeatureUpdateKey", of: [
      { name: "feature", type: "string" },
      { name: "maxVersionLevel", type: "int16" },
      { name: "allowDowngrade", type: "bool", until: 0 },
      { name: "upgradeType", type: "int8", since: 1, default: 1,
        doc: "1: upgrade, 2: safe downgrade, 3: unsafe downgrade." },
    ] },
    { name: "validateOnly", type: "bool", since: 1, default: false },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16" },
    { name: "errorMessage", type: "string", nullable: true },
    { name: "results", type: "array", struct: "UpdatableFeatureResult", until: 1, ignorable: true, of: [
      { name: "feature", type: "string" },
      { name: "errorCode", type: "int16" },
      { name: "errorMessage", type: "string", nullable: true },
    ] },
  ],
};
