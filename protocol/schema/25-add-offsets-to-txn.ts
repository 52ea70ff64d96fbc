import type { ApiSchema } from "../src/schema.ts";

export const addOffsetsToTxn: ApiSchema = {
  key: 25,
  name: "AddOffsetsToTxn",
  doc: "Adds a group's offsets to a transaction.",
  listeners: ["broker"],
  versions: [0, 4],
  flexibleFrom: 3,
  request: [
    { name: "transactionalId", type: "string" },
    { name: "producerId", type: "int64" },
    { name: "producerEpoch", type: "int16" },
    { name: "groupId", type: "string" },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16" },
  ],
};
