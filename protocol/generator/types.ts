import type { FieldSchema, ScalarType } from "../src/schema.ts";
import type { Field, Message, Struct } from "./plan.ts";

const scalarTypes: Readonly<Record<ScalarType, string>> = {
  bool: "boolean",
  int8: "number",
  int16: "number",
  uint16: "number",
  int32: "number",
  uint32: "number",
  int64: "number",
  float64: "number",
  uuid: "string",
  string: "string",
  bytes: "Buffer",
  records: "Buffer",
};

/** The interfaces of a message: as it is read, and, where that differs, as it may be written. */
export function typesOf(message: Message, doc: string): string {
  const parts = message.structs.map((struct) => {
    const head = struct === message.root && doc !== "" ? comment(doc, "") : "";
    const read = `${head}export interface ${struct.type} {\n${members(struct, false)}}\n`;
    const input = struct.hasInput
      ? `export interface ${struct.type}Input {\n${members(struct, true)}}\n`
      : `export type ${struct.type}Input = ${struct.type};\n`;
    return `${read}\n${input}`;
  });
  return parts.join("\n");
}

function members(struct: Struct, isInput: boolean): string {
  const lines = struct.fields.map((field) => {
    const mark = isInput && field.isOptional ? "?" : "";
    const doc = isInput ? "" : memberComment(field, struct);
    return `${doc}  readonly ${field.name}${mark}: ${typeOf(field, isInput)};\n`;
  });
  return lines.join("");
}

function memberComment({ schema, range }: Field, struct: Struct): string {
  const versions: string[] = [];
  if (range.first > struct.range.first) versions.push(`Since v${range.first}.`);
  if (range.last < struct.range.last) versions.push(`Up to v${range.last}.`);
  if (schema.doc !== undefined) versions.push(schema.doc);
  return versions.length === 0 ? "" : comment(versions.join(" "), "  ");
}

/** A field's type, in TypeScript. */
export function typeOf({ schema, struct, nullableFrom }: Field, isInput: boolean): string {
  const orNull = nullableFrom === null ? "" : " | null";
  const element = struct === null ? scalarType(schema, isInput) : struct.type + (isInput ? "Input" : "");
  return schema.type === "array" ? `readonly ${element}[]${orNull}` : element + orNull;
}

function scalarType(schema: FieldSchema, isInput: boolean): string {
  if ("struct" in schema) return schema.struct;
  const scalar = schema.type === "array" ? schema.of : schema.type;
  if (isInput && (scalar === "bytes" || scalar === "records")) return "Uint8Array | ExternalBytes";
  if (isInput && "exact" in schema) return "number | bigint";
  return scalarTypes[scalar];
}

const columns = 120;

/** A doc comment, on one line if it fits. */
export function comment(text: string, indent: string): string {
  const oneLine = `${indent}/** ${text} */\n`;
  if (oneLine.length <= columns) return oneLine;
  const lines = [`${indent} *`];
  for (const word of text.split(" ")) {
    const last = lines.at(-1) ?? "";
    if (last.length + 1 + word.length > columns) lines.push(`${indent} * ${word}`);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return `${indent}/**\n${lines.join("\n")}\n${indent} */\n`;
}
