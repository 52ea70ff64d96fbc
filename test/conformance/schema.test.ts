import { beforeEach, describe, expect, test } from "vitest";
import { OWN_KEYS_FROM } from "kafka-protocol-ts/api";
import { messagesIn, readDeclarations } from "../../protocol/generator/declarations.ts";
import {
  type Declared,
  isKafkaThere,
  kafkaDeclarations,
  ourDeclaration,
  skipWithoutKafka,
} from "./kafka-declarations.ts";

/**
 * The judge of protocol/schema: every message, version, field, type, nullability, tag and default is compared with the
 * JSON that Apache Kafka 4.3.1 carries in its own jars.
 */
describe("our declarations are Apache Kafka's", async () => {
  const all = await readDeclarations();
  const declarations = { ...all, apis: new Map([...all.apis].filter(([, { key }]) => key < OWN_KEYS_FROM)) };
  const listeners = new Map(
    [...declarations.apis.values()].map((api) => [`${api.name}Request`, `${api.key} on ${api.listeners.join(", ")}`]),
  );
  const ours = new Map(
    messagesIn(declarations).map((schema) => {
      const kind = "type" in schema ? `type ${schema.type}` : listeners.get(schema.name);
      return [schema.name, ourDeclaration(schema, kind ?? "")];
    }),
  );
  const theirs = isKafkaThere ? kafkaDeclarations() : [];

  beforeEach(skipWithoutKafka);

  test("nothing is missing", () => {
    const missing = theirs.filter(({ name }) => !ours.has(name)).map(({ name }) => `MISSING ${name}`);
    if (missing.length > 0) console.log(missing.join("\n"));
    expect(missing).toEqual([]);
  });

  test("nothing is invented", () => {
    const known = new Set(theirs.map(({ name }) => name));
    expect([...ours.keys()].filter((name) => !known.has(name))).toEqual([]);
  });

  test.for(theirs.map((declared) => [declared.name, declared] as const))("%s", ([name, declared]) => {
    const our = ours.get(name);
    if (our !== undefined) expect(differences(our, declared)).toEqual([]);
  });
});

/** What one side says and the other does not, with the versions in which it does. */
function differences(our: Declared, their: Declared): string[] {
  const found = our.head === their.head ? [] : [`ours: ${our.head}`, `Kafka's: ${their.head}`];
  const versions = new Map<string, number[]>();
  for (const [version, lines] of their.fieldsByVersion) {
    const own = our.fieldsByVersion.get(version) ?? [];
    const unlike = [
      ...own.filter((line) => !lines.includes(line)).map((line) => `ours: ${line}`),
      ...lines.filter((line) => !own.includes(line)).map((line) => `Kafka's: ${line}`),
    ];
    const isOtherOrder = unlike.length === 0 && own.join("\n") !== lines.join("\n");
    for (const line of isOtherOrder ? ["in another order"] : unlike) {
      versions.set(line, [...(versions.get(line) ?? []), version]);
    }
  }
  return [...found, ...[...versions].map(([line, list]) => `${line} (v${list.join(", v")})`)];
}
