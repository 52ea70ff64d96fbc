import type { ApiSchema } from "../src/schema.ts";

export const brokerHeartbeat: ApiSchema = {
  key: 63,
  name: "BrokerHeartbeat",
  doc: "A broker tells the controller that it lives, and asks to be unfenced or to stop (KIP-631).",
  listeners: ["controller"],
  versions: [0, 2],
  flexibleFrom: 0,
  request: [
    { name: "brokerId", type: "int32" },
    { name: "brokerEpoch", type: "int64", default: -1 },
    { name: "currentMetadataOffset", type: "int64", doc: "How far the broker has read the metadata log." },
    { name: "wantFence", type: "bool" },
    { name: "wantShutDown", type: "bool" },
    { name: "offlineLogDirs", type: "array", of: "uuid", since: 1, tag: 0 },
    { name: "cordonedLogDirs", type: "array", of: "uuid", since: 2, nullable: true, tag: 1, default: null },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16" },
    { name: "isCaughtUp", type: "bool", default: false },
    { name: "isFenced", type: "bool", default: true },
    { name: "shouldShutDown", type: "bool" },
  ],
};
