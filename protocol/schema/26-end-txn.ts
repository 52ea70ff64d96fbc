import type { ApiSchema } from "../src/schema.ts";

export const endTxn: ApiSchema = {
  key: 26,
  name: "EndTxn",
  doc: "Commits or aborts a transaction. v5 answers with the next epoch (KIP-890).",
  listeners: ["broker"],
  versions: [0, 5],
  flexibleFrom: 3,
  request: [
    { name: "transactionalId", type: "string" },
    { name: "producerId", type: "int64" },
    { name: "producerEpoch", type: "int16" },
    { name: "committed", type: "bool", doc: "False aborts." },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16" },
    { name: "producerId", type: "int64", since: 5, default: -1, ignorable: true },
    { name: "producerEpoch", type: "int16", since: 5, default: -1, ignorable: true,
      doc: "The epoch to go on with (KIP-890); -1 where it stays the same." },
  ],
};
