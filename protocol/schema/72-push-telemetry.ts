import type { ApiSchema } from "../src/schema.ts";

export const pushTelemetry: ApiSchema = {
  key: 72,
  name: "PushTelemetry",
  doc: "Pushes client metrics in OTLP (KIP-714). Advertised only where somebody receives them.",
  listeners: ["broker"],
  versions: [0, 0],
  flexibleFrom: 0,
  request: [
    { name: "clientInstanceId", type: "uuid" },
    { name: "subscriptionId", type: "int32" },
    { name: "terminating", type: "bool" },
    { name: "compressionType", type: "int8", doc: "0: none, 1: gzip, 2: snappy, 3: lz4, 4: zstd." },
    { name: "metrics", type: "bytes" },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16" },
  ],
};
