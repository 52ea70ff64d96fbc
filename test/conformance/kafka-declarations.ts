import { existsSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "vitest";
import { OWN_TAGS_FROM } from "kafka-protocol-ts/api";
import type { FieldSchema, MessageSchema, ScalarType } from "kafka-protocol-ts/schema";
import { textsInJar } from "./jar.ts";

/** Where `npm run interop:prepare` puts the jars of Apache Kafka. */
export const librariesPath: string = join(import.meta.dirname, "../interop/.runtime/java/lib");
const kafkaVersion = "4.3.1";

/** The jars that carry declarations of messages. The first is the one that nothing can be said without. */
const jars = [
  "kafka-clients",
  "kafka-group-coordinator",
  "kafka-transaction-coordinator",
  "kafka-share-coordinator",
  "kafka-metadata",
];

export const isKafkaThere: boolean = existsSync(jarPath("kafka-clients"));

/** For beforeEach: says why a test is skipped. */
export function skipWithoutKafka(context: TestContext): void {
  if (!isKafkaThere) context.skip("skipped: java (npm run interop:prepare)");
}

function jarPath(name: string): string {
  return join(librariesPath, `${name}-${kafkaVersion}.jar`);
}

/** A message as Apache Kafka declares it in JSON. */
interface KafkaMessage {
  readonly name: string;
  readonly type: string;
  readonly apiKey?: number;
  readonly listeners?: readonly string[];
  readonly validVersions: string;
  readonly flexibleVersions: string;
  readonly latestVersionUnstable?: boolean;
  readonly fields: readonly KafkaField[];
  readonly commonStructs?: readonly { readonly name: string; readonly fields: readonly KafkaField[] }[];
}

interface KafkaField {
  readonly name: string;
  readonly type: string;
  readonly versions?: string;
  readonly nullableVersions?: string;
  readonly taggedVersions?: string;
  readonly flexibleVersions?: string;
  readonly tag?: number;
  readonly default?: unknown;
  readonly ignorable?: boolean;
  readonly fields?: readonly KafkaField[];
}

/** A message as Kafka has it and as we have it, brought to one form: by version, one line a field, in the order of the wire. */
export interface Declared {
  readonly name: string;
  /** What holds for the message as a whole. */
  readonly head: string;
  readonly fieldsByVersion: ReadonlyMap<number, readonly string[]>;
}

/** Every message that Apache Kafka still speaks, from the JSON in its jars. */
export function kafkaDeclarations(): readonly Declared[] {
  const messages = new Map<string, KafkaMessage>();
  for (const path of jars.map(jarPath).filter((each) => existsSync(each))) {
    for (const text of textsInJar(path, ".json").values()) {
      const message = JSON.parse(text.replaceAll(/^\s*\/\/.*$/gm, "")) as KafkaMessage;
      if (message.validVersions !== "none") messages.set(message.name, message);
    }
  }
  return [...messages.values()].map((message) => declaredByKafka(message, isUnstable(message, messages)));
}

/** Only the request says that its API's newest version may still change. */
function isUnstable({ name }: KafkaMessage, messages: ReadonlyMap<string, KafkaMessage>): boolean {
  return messages.get(name.replace(/Response$/, "Request"))?.latestVersionUnstable ?? false;
}

function declaredByKafka(message: KafkaMessage, isNewestUnstable: boolean): Declared {
  const [first, newest] = parseVersions(message.validVersions);
  const last = isNewestUnstable ? newest - 1 : newest;
  const [flexibleFrom] = parseVersions(message.flexibleVersions);
  const structs = new Map((message.commonStructs ?? []).map(({ name, fields }) => [name, fields]));
  collectStructs(message.fields, structs);
  const lines = (fields: readonly KafkaField[], version: number, path: string): string[] =>
    fields
      .filter((field) => contains(field.versions ?? field.taggedVersions ?? "none", version))
      .flatMap((field) => {
        const name = path + lowerFirst(field.name);
        const inner = structs.get(elementType(field));
        return [kafkaLine(name, field, version), ...(inner === undefined ? [] : lines(inner, version, `${name}.`))];
      });
  return declared(message.name, [first, last], flexibleFrom > last ? null : Math.max(flexibleFrom, first), {
    kind: kindOf(message),
    lines: (version) => lines(message.fields, version, ""),
  });
}

/** What a request and a metadata record are known by. */
function kindOf({ type, apiKey, listeners }: KafkaMessage): string {
  if (type === "metadata") return `type ${apiKey}`;
  return listeners === undefined ? "" : `${apiKey} on ${listeners.join(", ")}`;
}

function collectStructs(fields: readonly KafkaField[], structs: Map<string, readonly KafkaField[]>): void {
  for (const field of fields) {
    if (field.fields === undefined) continue;
    structs.set(elementType(field), field.fields);
    collectStructs(field.fields, structs);
  }
}

const elementType = ({ type }: KafkaField): string => type.replace(/^\[\]/, "");
const isStruct = (type: string): boolean => /^[A-Z]/.test(type);

function kafkaLine(name: string, field: KafkaField, version: number): string {
  const element = elementType(field);
  const type = isStruct(element) ? "struct" : element;
  return line(name, {
    type: field.type.startsWith("[]") ? `[]${type}` : type,
    isNullable: contains(field.nullableVersions ?? "none", version),
    tag: contains(field.taggedVersions ?? "none", version) ? field.tag : undefined,
    default: kafkaDefault(field),
    isIgnorable: field.ignorable ?? false,
    isNeverFlexible: field.flexibleVersions === "none",
  });
}

function kafkaDefault({ type, default: value }: KafkaField): string {
  if (value === "null") return "null";
  if (type.startsWith("[]")) return "[]";
  if (isStruct(type)) return "{}";
  if (isGiven(value) && /^u?int/.test(type)) return BigInt(value as string).toString();
  return !isGiven(value) ? (zeros[type as ScalarType] ?? "0") : String(value);
}

/** JSON's null says nothing; the text "null" is the default that is null. */
const isGiven = (value: unknown): boolean => value !== undefined && value !== null;

const zeros: Partial<Record<ScalarType, string>> = {
  bool: "false",
  string: "",
  uuid: "zero",
  bytes: "empty",
  records: "empty",
};

/** Our declaration in the same form. `kind` is the key and the listeners of a request, or the type of a metadata record. */
export function ourDeclaration(schema: MessageSchema, kind: string): Declared {
  const lines = (fields: readonly FieldSchema[], version: number, path: string): string[] =>
    fields
      .filter(({ since = 0, until = Infinity }) => version >= since && version <= until)
      .filter(({ tag = 0 }) => tag < OWN_TAGS_FROM)
      .flatMap((field) => [
        ourLine(path + field.name, field, version),
        ...("struct" in field ? lines(field.of, version, `${path}${field.name}.`) : []),
      ]);
  return declared(schema.name, schema.versions, schema.flexibleFrom, {
    kind,
    lines: (version) => lines(schema.fields, version, ""),
  });
}

function ourLine(name: string, field: FieldSchema, version: number): string {
  const type = "struct" in field ? "struct" : field.type === "array" ? field.of : field.type;
  return line(name, {
    type: field.type === "array" ? `[]${type}` : type,
    isNullable: field.nullable === true || (field.nullable !== undefined && version >= field.nullable),
    tag: field.tag,
    default: ourDefault(field),
    isIgnorable: field.ignorable ?? false,
    isNeverFlexible: "neverFlexible" in field,
  });
}

function ourDefault(field: FieldSchema): string {
  if (field.default !== undefined) return String(field.default);
  if (field.type === "array") return "[]";
  return field.type === "struct" ? "{}" : (zeros[field.type] ?? "0");
}

function declared(
  name: string,
  [first, last]: readonly [number, number],
  flexibleFrom: number | null,
  { kind, lines }: { readonly kind: string; readonly lines: (version: number) => readonly string[] },
): Declared {
  const fieldsByVersion = new Map<number, readonly string[]>();
  for (let version = first; version <= last; version++) fieldsByVersion.set(version, lines(version));
  return { name, head: `${kind} v${first}-${last} flexible ${flexibleFrom ?? "never"}`.trim(), fieldsByVersion };
}

interface Line {
  readonly type: string;
  readonly isNullable: boolean;
  readonly tag: number | undefined;
  readonly default: string;
  readonly isIgnorable: boolean;
  readonly isNeverFlexible: boolean;
}

function line(name: string, { type, isNullable, tag, default: value, isIgnorable, isNeverFlexible }: Line): string {
  const words = [
    type,
    isNullable ? "nullable" : "",
    tag === undefined ? "" : `tag ${tag}`,
    `default ${value === "" ? '""' : value}`,
    isIgnorable ? "ignorable" : "",
    isNeverFlexible ? "never flexible" : "",
  ];
  return `${name}: ${words.filter((word) => word !== "").join(" ")}`;
}

/** "3+", "0-7", "4" or "none", as the first and the last version. */
function parseVersions(text: string): readonly [first: number, last: number] {
  if (text === "none") return [Infinity, -Infinity];
  if (text.endsWith("+")) return [Number(text.slice(0, -1)), Infinity];
  const [first, last = first] = text.split("-");
  return [Number(first), Number(last)];
}

function contains(versions: string, version: number): boolean {
  const [first, last] = parseVersions(versions);
  return version >= first && version <= last;
}

function lowerFirst(name: string): string {
  return name.slice(0, 1).toLowerCase() + name.slice(1);
}
