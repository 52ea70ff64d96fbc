import type { ApiSchema } from "../src/schema.ts";

export const listTransactions: ApiSchema = {
  key: 66,
  name: "ListTransactions",
  doc: "Lists transactional ids. v1 filters by duration (KIP-994), v2 by pattern (KIP-1152).",
  listeners: ["broker"],
  versions: [0, 2],
  flexibleFrom: 0,
  request: [
    { name: "stateFilters", type: "array", of: "string" },
    { name: "producerIdFilters", type: "array", of: "int64" },
    { name: "durationFilter", type: "int64", since: 1, default: -1,
      doc: "Only transactions that run longer, in ms; below 0: all." },
    { name: "transactionalIdPattern", type: "string", since: 2, nullable: true, default: null,
      doc: "A RE2/J pattern; null or empty: all." },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16" },
    { name: "unknownStateFilters", type: "array", of: "string" },
    { name: "transactionStates", type: "array", struct: "TransactionState", of: [
      { name: "transactionalId", type: "string" },
      { name: "producerId", type: "int64" },
      { name: "transactionState", type: "string" },
    ] },
  ],
};
