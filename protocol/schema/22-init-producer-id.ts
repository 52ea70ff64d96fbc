import type { ApiSchema } from "../src/schema.ts";

export const initProducerId: ApiSchema = {
  key: 22,
  name: "InitProducerId",
  doc:
    "Gives a producer its id and epoch. v3 lets it come back with the ones it has (KIP-360). v6 " +
    "(two-phase commit, KIP-939) is not stable in Apache Kafka 4.3 and not declared here.",
  listeners: ["broker"],
  versions: [0, 5],
  flexibleFrom: 2,
  request: [
    { name: "transactionalId", type: "string", nullable: true },
    { name: "transactionTimeoutMs", type: "int32" },
    { name: "producerId", type: "int64", since: 3, default: -1,
      doc: "The id that the producer has, -1 for none (KIP-360)." },
    { name: "producerEpoch", type: "int16", since: 3, default: -1 },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32", ignorable: true },
    { name: "errorCode", type: "int16" },
    { name: "producerId", type: "int64", default: -1 },
    { name: "producerEpoch", type: "int16" },
  ],
};
