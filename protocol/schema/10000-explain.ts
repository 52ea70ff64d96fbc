import type { ApiSchema } from "../src/schema.ts";

export const explain: ApiSchema = {
  key: 10000,
  name: "Explain",
  doc: "Says in sentences why a group, producer, transaction or partition is as it is. Millrace's own.",
  listeners: ["broker"],
  versions: [0, 0],
  flexibleFrom: 0,
  request: [
    { name: "kind", type: "string", doc: "group, producer, transaction or partition." },
    { name: "name", type: "string", doc: "A group id, a producer id or transactional id, a transactional id, or topic-partition." },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16" },
    { name: "errorMessage", type: "string", nullable: true, default: null },
    { name: "explanation", type: "string", doc: "A JSON object, see docs/explain.md; empty with an error." },
  ],
};
