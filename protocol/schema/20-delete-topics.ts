import type { ApiSchema } from "../src/schema.ts";

export const deleteTopics: ApiSchema = {
  key: 20,
  name: "DeleteTopics",
  doc: "Deletes topics, by name or, from v6 on, by id.",
  listeners: ["broker", "controller"],
  versions: [1, 6],
  flexibleFrom: 4,
  request: [
    { name: "topics", type: "array", struct: "DeleteTopicState", since: 6, of: [
      { name: "name", type: "string", nullable: true, default: null },
      { name: "topicId", type: "uuid" },
    ] },
    { name: "topicNames", type: "array", of: "string", until: 5, ignorable: true },
    { name: "timeoutMs", type: "int32" },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32", ignorable: true },
    { name: "responses", type: "array", struct: "DeletableTopicResult", of: [
      { name: "name", type: "string", nullable: 6 },
      { name: "topicId", type: "uuid", since: 6, ignorable: true },
      { name: "errorCode", type: "int16" },
      { name: "errorMessage", type: "string", since: 5, nullable: true, default: null, ignorable: true },
    ] },
  ],
};
