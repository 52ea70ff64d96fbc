import { defaultText, structsWithDefault } from "./defaults.ts";
import { arrayUses, type Field, flexibleRange, inRange, type Message, type Struct, whenFlexible } from "./plan.ts";
import { indented, methodOf, presence, versionLines } from "./read.ts";

/** The functions that write a message: one for each struct, one for each array of structs. */
export function writersOf(message: Message): string {
  const uses = arrayUses(message);
  const defaults = structsWithDefault(message);
  const parts = message.structs.flatMap((struct) => [
    writeStruct(message, struct),
    ...(uses.plain.has(struct) || uses.nullable.has(struct) ? [writeArray(struct, uses.nullable.has(struct))] : []),
    ...(defaults.has(struct) ? [isDefault(struct)] : []),
  ]);
  return parts.join("\n");
}

function writeStruct(message: Message, struct: Struct): string {
  const lines = struct === message.root ? versionLines(message, "w") : [];
  for (const field of struct.fields) {
    if (field.schema.tag === undefined) lines.push(...writeField(message, struct, field));
    else lines.push(...refuseTagged(message, struct, field));
  }
  lines.push(...writeTags(message, struct));
  return `function write${struct.type}(w: ByteWriter, m: ${struct.type}Input, v: number): void {\n${indented(lines)}}\n`;
}

/** What the caller gave, or the default. */
function given(field: Field): string {
  if (!field.isOptional) return `m.${field.name}`;
  if (!isNullMore(field)) return `m.${field.name} ?? ${defaultText(field)}`;
  return field.schema.tag === undefined ? field.name : givenOrNull(field);
}

/** As `given`, where null says something else than the default, so that `??` would lose it. */
function givenOrNull(field: Field): string {
  return `m.${field.name} === undefined ? ${defaultText(field)} : m.${field.name}`;
}

function isNullMore({ isOptional, nullableFrom, schema }: Field): boolean {
  return isOptional && nullableFrom !== null && schema.default !== null;
}

function writeField(message: Message, struct: Struct, field: Field): string[] {
  const before = isNullMore(field) ? [`const ${field.name} = ${givenOrNull(field)};`] : [];
  const condition = inRange(field.range, struct.range);
  const lines = writePresent(message, field, given(field));
  if (condition === true) return [...before, ...lines];
  const body = lines.length === 1 ? [`if (${condition}) ${lines[0]}`] : [`if (${condition}) {`, ...nested(lines), `}`];
  if (field.schema.ignorable === true) return [...before, ...body];
  return [...before, ...body, `else ${refusal(message, struct, field, "")}`];
}

/** Writes a field in a version that has it. */
function writePresent(message: Message, field: Field, value: string): string[] {
  if (field.nullableFrom === null) return [writeOne(field, value, false)];
  const condition = inRange({ first: field.nullableFrom, last: field.range.last }, field.range);
  if (condition === true) return writeNullable(field, value);
  const checked = `notNull(${value}, "${message.schema.name}", "${field.name}", v)`;
  return [`if (${condition}) ${writeNullable(field, value).join(" ")}`, `else ${writeOne(field, checked, false)}`];
}

function writeNullable(field: Field, value: string): string[] {
  const { schema, struct } = field;
  if (struct === null || schema.type === "array") return [writeOne(field, value, true)];
  const isName = /^\w+$/.test(value);
  const local = isName ? value : `given${capital(field.name)}`;
  return [
    ...(isName ? [] : [`const ${local} = ${value};`]),
    `w.${presence(schema)}(${local} !== null);`,
    `if (${local} !== null) write${struct.type}(w, ${local}, v);`,
  ];
}

function writeOne({ schema, struct }: Field, value: string, isNullable: boolean): string {
  if (struct === null) return `w.${methodOf(schema, isNullable)}(${value});`;
  return `write${struct.type}${schema.type === "array" ? "Array" : ""}(w, ${value}, v);`;
}

/** Throws where a version without the field would lose what it says. */
function refusal(message: Message, struct: Struct, field: Field, when: string): string {
  const path = struct === message.root ? field.name : `${struct.type.slice(message.root.type.length)}.${field.name}`;
  const differing = differs(field, given(field));
  const test = when === "" ? differing : `${when} && ${differing.includes("||") ? `(${differing})` : differing}`;
  return `if (${test}) failUnsupported("${message.schema.name}", "${path}", v);`;
}

function refuseTagged(message: Message, struct: Struct, field: Field): string[] {
  if (inRange(field.range, struct.range) === true || field.schema.ignorable === true) return [];
  return [refusal(message, struct, field, `v < ${field.range.first}`)];
}

/** Whether a value is more than its default. */
function differs(field: Field, value: string): string {
  const { schema, nullableFrom } = field;
  const operand = value.includes(" ") ? `(${value})` : value;
  if (schema.default === null) return `${operand} !== null`;
  const test = isComparable(field) ? `${operand} !== ${defaultText(field)}` : isNot(sameAsDefault(field, value));
  return nullableFrom === null || isComparable(field) ? test : `${operand} === null || ${test}`;
}

/** Whether a value is its default. */
function isSame(field: Field, value: string): string {
  const { schema, nullableFrom } = field;
  const operand = value.includes(" ") ? `(${value})` : value;
  if (schema.default === null) return `${operand} === null`;
  if (isComparable(field)) return `${operand} === ${defaultText(field)}`;
  return `${nullableFrom === null ? "" : `${operand} !== null && `}${sameAsDefault(field, value)}`;
}

/** Arrays, structs and bytes have no default that `===` could tell. */
function isComparable({ schema, struct }: Field): boolean {
  return schema.type !== "array" && struct === null && schema.type !== "bytes" && schema.type !== "records";
}

function sameAsDefault({ schema, struct }: Field, value: string): string {
  if (schema.type === "array") return `${value.includes(" ") ? `(${value})` : value}.length === 0`;
  return struct === null ? `isEmpty(${value})` : `isDefault${struct.type}(${value})`;
}

const isNot = (test: string): string => (test.endsWith(" === 0") ? test.replace(/ === 0$/, " > 0") : `!${test}`);

/** The tagged fields at the end of a flexible struct: those that differ from their defaults, in the order of tags. */
function writeTags(message: Message, struct: Struct): string[] {
  const isFlexible = whenFlexible(message, struct);
  if (isFlexible === false) return [];
  const tagged = struct.fields.filter(({ schema }) => schema.tag !== undefined);
  if (tagged.length === 0)
    return [isFlexible === true ? `w.unsignedVarint(0);` : `if (${isFlexible}) w.unsignedVarint(0);`];
  tagged.sort((left, right) => (left.schema.tag ?? 0) - (right.schema.tag ?? 0));
  const lines: string[] = [];
  for (const field of tagged) {
    const condition = inRange(field.range, flexibleRange(message, struct));
    const differing = differs(field, field.name);
    const operand = differing.includes("||") ? `(${differing})` : differing;
    lines.push(`const ${field.name} = ${given(field)};`);
    lines.push(`const has${capital(field.name)} = ${condition === true ? differing : `${condition} && ${operand}`};`);
  }
  lines.push(`w.unsignedVarint(${tagged.map(({ name }) => `Number(has${capital(name)})`).join(" + ")});`);
  for (const field of tagged) {
    lines.push(`if (has${capital(field.name)}) {`, `  const at = w.beginTag(${field.schema.tag});`);
    lines.push(...nested(writePresent(message, field, field.name)), `  w.endTag(at);`, `}`);
  }
  return isFlexible === true ? lines : [`if (${isFlexible}) {`, ...nested(lines), `}`];
}

function writeArray({ type }: Struct, isNullable: boolean): string {
  const items = `readonly ${type}Input[]${isNullable ? " | null" : ""}`;
  return `function write${type}Array(w: ByteWriter, items: ${items}, v: number): void {
${isNullable ? `  if (items === null) return w.arrayLength(-1);\n` : ""}  w.arrayLength(items.length);
  for (const item of items) write${type}(w, item, v);
}
`;
}

function isDefault(struct: Struct): string {
  const same = struct.fields.map((field) => isSame(field, given(field)));
  return `function isDefault${struct.type}(m: ${struct.type}Input): boolean {
  return m === default${struct.type} || (${same.join(" && ")});
}
`;
}

const capital = (name: string): string => name.slice(0, 1).toUpperCase() + name.slice(1);

const nested = (lines: readonly string[]): string[] => lines.map((line) => `  ${line}`);
