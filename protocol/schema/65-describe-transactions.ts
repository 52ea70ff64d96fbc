import type { ApiSchema } from "../src/schema.ts";

export const describeTransactions: ApiSchema = {
  key: 65,
  name: "DescribeTransactions",
  doc: "Describes transactional ids (KIP-664).",
  listeners: ["broker"],
  versions: [0, 0],
  flexibleFrom: 0,
  request: [
    { name: "transactionalIds", type: "array", of: "string" },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "transactionStates", type: "array", struct: "TransactionState", of: [
      { name: "errorCode", type: "int16" },
      { name: "transactionalId", type: "string" },
      { name: "transactionState", type: "string" },
      { name: "transactionTimeoutMs", type: "int32" },
      { name: "transactionStartTimeMs", type: "int64" },
      { name: "producerId", type: "int64" },
      { name: "producerEpoch", type: "int16" },
      { name: "topics", type: "array", struct: "TopicData", of: [
        { name: "topic", type: "string" },
        { name: "partitions", type: "array", of: "int32" },
      ] },
    ] },
  ],
};
