import type { ApiSchema } from "../src/schema.ts";

export const allocateProducerIds: ApiSchema = {
  key: 67,
  name: "AllocateProducerIds",
  doc: "A broker takes a block of producer ids from the controller (KIP-730).",
  listeners: ["controller"],
  versions: [0, 0],
  flexibleFrom: 0,
  request: [
    { name: "brokerId", type: "int32" },
    { name: "brokerEpoch", type: "int64", default: -1 },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16" },
    { name: "producerIdStart", type: "int64" },
    { name: "producerIdLen", type: "int32" },
  ],
};
