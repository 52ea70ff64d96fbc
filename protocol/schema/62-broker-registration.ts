import type { ApiSchema } from "../src/schema.ts";

export const brokerRegistration: ApiSchema = {
  key: 62,
  name: "BrokerRegistration",
  doc: "A broker registers with the controller (KIP-631).",
  listeners: ["controller"],
  versions: [0, 4],
  flexibleFrom: 0,
  request: [
    { name: "brokerId", type: "int32" },
    { name: "clusterId", type: "string" },
    { name: "incarnationId", type: "uuid" },
    { name: "listeners", type: "array", struct: "Listener", of: [
      { name: "name", type: "string" },
      { name: "host", type: "string" },
      { name: "port", type: "uint16" },
      { name: "securityProtocol", type: "int16" },
    ] },
    { name: "features", type: "array", struct: "Feature", of: [
      { name: "name", type: "string" },
      { name: "minSupportedVersion", type: "int16" },
      { name: "maxSupportedVersion", type: "int16" },
    ] },
    { name: "rack", type: "string", nullable: true },
    { name: "isMigratingZkBroker", type: "bool", since: 1, default: false },
    { name: "logDirs", type: "array", of: "uuid", since: 2, ignorable: true },
    { name: "previousBrokerEpoch", type: "int64", since: 3, default: -1, ignorable: true,
      doc: "-1: the broker did not stop cleanly (KIP-966)." },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16" },
    { name: "brokerEpoch", type: "int64", default: -1 },
  ],
};
