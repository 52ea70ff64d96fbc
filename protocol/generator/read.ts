import type { FieldSchema } from "../src/schema.ts";
import { defaultText } from "./defaults.ts";
import {
  arrayUses,
  elementBytesMin,
  type Field,
  flexibleRange,
  inRange,
  type Message,
  type Struct,
  whenFlexible,
} from "./plan.ts";
import { typeOf } from "./types.ts";

/** The functions that read a message: one for each struct, one for each array of structs. */
export function readersOf(message: Message): string {
  const uses = arrayUses(message);
  const parts = message.structs.flatMap((struct) => [
    readStruct(message, struct),
    ...(uses.plain.has(struct) ? [readArray(message, struct)] : []),
    ...(uses.nullable.has(struct) ? [readNullableArray(message, struct)] : []),
  ]);
  return parts.join("\n");
}

function readStruct(message: Message, struct: Struct): string {
  const lines = struct === message.root ? versionLines(message, "r") : [];
  for (const field of struct.fields) {
    const type = typeOf(field, false);
    if (field.schema.tag === undefined)
      lines.push(`const ${field.name}${annotation(field, struct)} = ${read(field, struct)};`);
    else lines.push(`let ${field.name}: ${type} = ${defaultText(field)};`);
  }
  lines.push(...readTags(message, struct));
  lines.push(`return { ${struct.fields.map(({ name }) => name).join(", ")} };`);
  return `function read${struct.type}(r: ByteReader, v: number): ${struct.type} {\n${indented(lines)}}\n`;
}

/** What the reader or writer of a whole message does first. */
export function versionLines(message: Message, variable: "r" | "w"): string[] {
  const { type, range } = message.root;
  return [
    `if (v < ${range.first} || v > ${range.last}) failVersion("${type}", v);`,
    `${variable}.flexible = ${whenFlexible(message, message.root)};`,
  ];
}

/** Where TypeScript would infer less than the type: from an empty array. */
function annotation(field: Field, struct: Struct): string {
  const isPartial = inRange(field.range, struct.range) !== true;
  return isPartial && field.schema.type === "array" ? `: ${typeOf(field, false)}` : "";
}

function read(field: Field, struct: Struct): string {
  const condition = inRange(field.range, struct.range);
  const expression = readPresent(field);
  return condition === true ? expression : `${condition} ? ${operand(expression)} : ${defaultText(field)}`;
}

/** Reads a field in a version that has it. */
function readPresent(field: Field): string {
  if (field.nullableFrom === null) return readOne(field, false);
  const condition = inRange({ first: field.nullableFrom, last: field.range.last }, field.range);
  if (condition === true) return readOne(field, true);
  return `${condition} ? ${operand(readOne(field, true))} : ${readOne(field, false)}`;
}

function readOne({ schema, struct }: Field, isNullable: boolean): string {
  if (struct === null) return `r.${methodOf(schema, isNullable)}()`;
  if (schema.type === "array") return `read${struct.type}Array${isNullable ? "OrNull" : ""}(r, v)`;
  return isNullable ? `r.${presence(schema)}() ? read${struct.type}(r, v) : null` : `read${struct.type}(r, v)`;
}

/** The method for what stands in front of a struct that may be null. */
export function presence({ tag }: FieldSchema): string {
  return tag === undefined ? "isPresent" : "isTaggedPresent";
}

const operand = (expression: string): string => (expression.includes(" ? ") ? `(${expression})` : expression);

/** The method of ByteReader and ByteWriter for a scalar or an array of scalars. */
export function methodOf(schema: FieldSchema, isNullable: boolean): string {
  if ("struct" in schema) throw new Error(`${schema.name} is no scalar`);
  const scalar = schema.type === "array" ? schema.of : schema.type;
  const name = (scalar === "records" ? "bytes" : scalar) + (schema.type === "array" ? "Array" : "");
  return isNullable ? `nullable${name.slice(0, 1).toUpperCase()}${name.slice(1)}` : name;
}

/** The tagged fields at the end of a flexible struct. What is not known is stepped over. */
function readTags(message: Message, struct: Struct): string[] {
  const isFlexible = whenFlexible(message, struct);
  if (isFlexible === false) return [];
  const when = isFlexible === true ? "" : `if (${isFlexible}) `;
  const tagged = struct.fields.filter(({ schema }) => schema.tag !== undefined);
  if (tagged.length === 0) return [`${when}r.skipTags();`];
  const choices = tagged.map((field) => {
    const condition = inRange(field.range, flexibleRange(message, struct));
    const guard = condition === true ? "" : ` && ${condition}`;
    return `if (tag === ${field.schema.tag}${guard}) ${field.name} = ${readPresent(field)};`;
  });
  return [
    `${when}for (let left = r.unsignedVarint(); left > 0; left--) {`,
    `  const tag = r.unsignedVarint();`,
    `  const end = r.taggedEnd();`,
    ...choices.map((choice, index) => `  ${index === 0 ? "" : "else "}${choice}`),
    `  else r.position = end;`,
    `  r.expectTaggedEnd(end);`,
    `}`,
  ];
}

function readArray(message: Message, struct: Struct): string {
  const { type } = struct;
  // An array that grows sets aside 17 places: for the one element that most have, a literal takes an eighth of that.
  return `function read${type}Array(r: ByteReader, v: number): ${type}[] {
  const count = r.arrayLength(${elementBytesMin(message, struct)});
  if (count === 1) return [read${type}(r, v)];
  const items: ${type}[] = [];
  for (let left = count; left > 0; left--) items.push(read${type}(r, v));
  return items;
}
`;
}

function readNullableArray(message: Message, struct: Struct): string {
  const { type } = struct;
  return `function read${type}ArrayOrNull(r: ByteReader, v: number): ${type}[] | null {
  const count = r.nullableArrayLength(${elementBytesMin(message, struct)});
  if (count < 0) return null;
  if (count === 1) return [read${type}(r, v)];
  const items: ${type}[] = [];
  for (let left = count; left > 0; left--) items.push(read${type}(r, v));
  return items;
}
`;
}

export function indented(lines: readonly string[]): string {
  return lines.map((line) => `  ${line}\n`).join("");
}
