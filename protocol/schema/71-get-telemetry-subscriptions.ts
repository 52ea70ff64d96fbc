import type { ApiSchema } from "../src/schema.ts";

export const getTelemetrySubscriptions: ApiSchema = {
  key: 71,
  name: "GetTelemetrySubscriptions",
  doc: "Tells a client which metrics to push (KIP-714). Advertised only where somebody receives them.",
  listeners: ["broker"],
  versions: [0, 0],
  flexibleFrom: 0,
  request: [
    { name: "clientInstanceId", type: "uuid" },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16" },
    { name: "clientInstanceId", type: "uuid" },
    { name: "subscriptionId", type: "int32" },
    { name: "acceptedCompressionTypes", type: "array", of: "int8" },
    { name: "pushIntervalMs", type: "int32" },
    { name: "telemetryMaxBytes", type: "int32" },
    { name: "deltaTemporality", type: "bool" },
    { name: "requestedMetrics", type: "array", of: "string" },
  ],
};
