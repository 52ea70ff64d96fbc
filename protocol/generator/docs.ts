import { errors } from "../src/errors.ts";
import { OWN_KEYS_FROM } from "../src/api.ts";
import type { ApiSchema } from "../src/schema.ts";

/** docs/apis.md */
export function renderApis(apis: readonly ApiSchema[]): string {
  const rows = apis.map(({ key, name, versions: [first, last], flexibleFrom, listeners, doc }) => {
    const range = first === last ? `${first}` : `${first}-${last}`;
    const flexible = flexibleFrom === null ? "never" : `${flexibleFrom}+`;
    return `| ${key} | ${name} | ${range} | ${flexible} | ${listeners.join(", ")} | ${doc} |\n`;
  });
  return `# The APIs of the protocol

Every API of Apache Kafka 4.3 that \`kafka-protocol-ts\` reads and writes, in its stable versions. Which of them a broker
serves is what it answers to ApiVersions. *Flexible* is the first version with varint lengths and tagged fields (KIP-482).
From key ${OWN_KEYS_FROM} on they are Millrace's own ([0017](decisions/0017-an-api-of-our-own.md)).

Generated from \`protocol/schema\` by \`npm run generate\`.

| key | name | versions | flexible | listeners | what it does |
|---:|---|---|---|---|---|
${rows.join("")}`;
}

/** docs/errors.md */
export function renderErrors(): string {
  const rows = Object.entries(errors).map(([name, [code, isRetriable, message]]) => {
    return `| ${code} | ${name} | ${isRetriable ? "yes" : "no"} | ${message} |\n`;
  });
  return `# The error codes of the protocol

What a response says when something went wrong. *Retriable*: the same request may succeed later, and clients try again by
themselves.

Generated from \`protocol/src/errors.ts\` by \`npm run generate\`.

| code | name | retriable | what it means |
|---:|---|---|---|
${rows.join("")}`;
}
