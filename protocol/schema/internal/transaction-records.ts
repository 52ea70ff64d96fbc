import type { RecordKindSchema } from "../../src/schema.ts";

/** The records of `__transaction_state`. */
export const transactionRecords: readonly RecordKindSchema[] = [
  {
    type: 0, name: "transactionLog",
    key: { name: "TransactionLogKey", versions: [0, 0], flexibleFrom: null, fields: [
      { name: "transactionalId", type: "string" },
    ] },
    value: { name: "TransactionLogValue", versions: [0, 1], flexibleFrom: 1, fields: [
      { name: "producerId", type: "int64" },
      { name: "previousProducerId", type: "int64", since: 1, tag: 0, default: -1 },
      { name: "nextProducerId", type: "int64", since: 1, tag: 1, default: -1 },
      { name: "producerEpoch", type: "int16" },
      { name: "nextProducerEpoch", type: "int16", since: 1, tag: 3, default: -1 },
      { name: "transactionTimeoutMs", type: "int32" },
      { name: "transactionStatus", type: "int8",
        doc: "0: empty, 1: ongoing, 2: preparing to commit, 3: preparing to abort, 4: committed, 5: aborted, 6: dead, 7: preparing to fence." },
      { name: "transactionPartitions", type: "array", struct: "TopicPartitions", nullable: true,
        doc: "Null while no transaction is open.", of: [
        { name: "topic", type: "string" },
        { name: "partitionIds", type: "array", of: "int32" },
      ] },
      { name: "transactionLastUpdateTimestampMs", type: "int64" },
      { name: "transactionStartTimestampMs", type: "int64" },
      { name: "clientTransactionVersion", type: "int16", since: 1, tag: 2, default: 0 },
    ] },
  },
];
