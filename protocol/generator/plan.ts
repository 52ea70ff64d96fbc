import type { FieldSchema, MessageSchema, ScalarType, StructArrayField, StructField } from "../src/schema.ts";

/** The versions in which something exists, inclusive. */
export interface Range {
  readonly first: number;
  readonly last: number;
}

/** A message, or a struct inside of it, as the code for it needs it. */
export interface Struct {
  /** The name of its TypeScript interface. */
  readonly type: string;
  readonly range: Range;
  readonly fields: readonly Field[];
  /** Whether what is written may be typed differently from what is read. */
  readonly hasInput: boolean;
}

export interface Field {
  readonly schema: FieldSchema;
  readonly name: string;
  /** Inside the versions of its struct. */
  readonly range: Range;
  readonly struct: Struct | null;
  /** The first version in which it may be null; null: never. */
  readonly nullableFrom: number | null;
  /** Whether a writer may leave it out. */
  readonly isOptional: boolean;
}

export interface Message {
  readonly schema: MessageSchema;
  readonly root: Struct;
  /** Inner structs first, so that each is declared before it is used. */
  readonly structs: readonly Struct[];
}

/** A struct's fields as declared, and the versions of all places in which it stands. */
interface Declared {
  readonly list: readonly FieldSchema[];
  readonly range: Range;
}

export function isStructField(field: FieldSchema): field is StructField | StructArrayField {
  return "struct" in field;
}

/** Resolves versions, names and shared structs, and refuses declarations that can not be meant. */
export function plan(schema: MessageSchema): Message {
  const declared = new Map<string, Declared>();
  const whole: Range = { first: schema.versions[0], last: schema.versions[1] };
  collect(schema, schema.fields, whole, declared);

  const structs = new Map<string, Struct>();
  const build = (type: string, { list, range }: Declared): Struct => {
    const known = structs.get(type);
    if (known !== undefined) return known;
    const fields = list.map((field) => {
      const inner = isStructField(field) ? declared.get(structType(schema, field)) : undefined;
      const struct = isStructField(field) && inner ? build(structType(schema, field), inner) : null;
      return planField(field, range, struct);
    });
    const struct: Struct = { type, range, fields, hasInput: fields.some(differsWhenWritten) };
    check(schema, struct);
    structs.set(type, struct);
    return struct;
  };
  const root = build(schema.name, { list: schema.fields, range: whole });
  return { schema, root, structs: [...structs.values()] };
}

function planField(schema: FieldSchema, parent: Range, struct: Struct | null): Field {
  const range = clip(schema, parent);
  const isEverywhere = range.first === parent.first && range.last === parent.last;
  const nullableFrom = schema.nullable === undefined ? null : schema.nullable === true ? range.first : schema.nullable;
  const isOptional = schema.default !== undefined || schema.tag !== undefined || !isEverywhere;
  return { schema, name: schema.name, range, struct, nullableFrom, isOptional };
}

function differsWhenWritten({ schema, isOptional, struct }: Field): boolean {
  const isBytes = schema.type === "bytes" || schema.type === "records";
  return isOptional || isBytes || "exact" in schema || (struct?.hasInput ?? false);
}

/** A struct that stands in several places exists in all versions of all of them. */
function collect(
  schema: MessageSchema,
  fields: readonly FieldSchema[],
  parent: Range,
  declared: Map<string, Declared>,
): void {
  for (const field of fields) {
    if (!isStructField(field)) continue;
    const type = structType(schema, field);
    const own = clip(field, parent);
    const known = declared.get(type);
    if (known !== undefined && known.list !== field.of) throw new Error(`${type} is declared twice, differently`);
    const range = known === undefined ? own : union(known.range, own);
    declared.set(type, { list: field.of, range });
    collect(schema, field.of, range, declared);
  }
}

function structType(schema: MessageSchema, field: StructField | StructArrayField): string {
  return schema.name + field.struct;
}

function clip({ since, until }: FieldSchema, parent: Range): Range {
  return { first: Math.max(since ?? parent.first, parent.first), last: Math.min(until ?? parent.last, parent.last) };
}

function union(left: Range, right: Range): Range {
  return { first: Math.min(left.first, right.first), last: Math.max(left.last, right.last) };
}

/** Names that the generated functions use themselves, or that are no names in JavaScript. */
const takenNames = new Set("r w m v at left tag end item items default new delete function import class".split(" "));

function check(schema: MessageSchema, { type, fields }: Struct): void {
  const names = new Set<string>();
  const tags = new Set<number>();
  for (const { name, range, schema: field } of fields) {
    const where = `${type}.${name}`;
    if (names.has(name)) throw new Error(`${where} is declared twice`);
    if (takenNames.has(name)) throw new Error(`${where}: the generated code uses this name itself`);
    if (range.first > range.last) throw new Error(`${where} exists in no version`);
    names.add(name);
    if (field.tag === undefined) continue;
    if (tags.has(field.tag)) throw new Error(`${where}: its tag is taken`);
    if (schema.flexibleFrom === null || range.first < schema.flexibleFrom) {
      throw new Error(`${where} is tagged in a version without tags`);
    }
    tags.add(field.tag);
  }
}

interface Size {
  readonly rigid: number;
  readonly flexible: number;
}

const sameSize = (sizeBytes: number): Size => ({ rigid: sizeBytes, flexible: sizeBytes });

/** The fewest bytes of each type. */
const scalarBytesMin: Readonly<Record<ScalarType, Size>> = {
  bool: sameSize(1),
  int8: sameSize(1),
  int16: sameSize(2),
  uint16: sameSize(2),
  int32: sameSize(4),
  uint32: sameSize(4),
  int64: sameSize(8),
  float64: sameSize(8),
  uuid: sameSize(16),
  string: { rigid: 2, flexible: 1 },
  bytes: { rigid: 4, flexible: 1 },
  records: { rigid: 4, flexible: 1 },
};

/** The fewest bytes that one element takes in any version: against it the reader holds what an array claims. */
export function elementBytesMin({ schema }: Message, struct: Struct): number {
  let least = Infinity;
  for (let version = struct.range.first; version <= struct.range.last; version++) {
    least = Math.min(least, structBytesMin(schema, struct, version));
  }
  if (least < 1) throw new Error(`${struct.type} may take no bytes: an array of it could claim any length`);
  return least;
}

function structBytesMin(schema: MessageSchema, struct: Struct, version: number): number {
  const isFlexible = schema.flexibleFrom !== null && version >= schema.flexibleFrom;
  let sum = isFlexible ? 1 : 0;
  for (const field of struct.fields) {
    const isThere = version >= field.range.first && version <= field.range.last && field.schema.tag === undefined;
    if (isThere) sum += fieldBytesMin(schema, field, version, isFlexible);
  }
  return sum;
}

function fieldBytesMin(schema: MessageSchema, field: Field, version: number, isFlexible: boolean): number {
  if (field.schema.type === "array") return isFlexible ? 1 : 4;
  if (field.schema.type !== "struct") return scalarBytesMin[field.schema.type][isFlexible ? "flexible" : "rigid"];
  if (field.nullableFrom !== null && version >= field.nullableFrom) return 1;
  return field.struct === null ? 0 : structBytesMin(schema, field.struct, version);
}

/** When `v`, which lies in `known`, lies in `range` too: a condition as code, or what it always is. */
export function inRange(range: Range, known: Range): string | boolean {
  if (range.first > known.last || range.last < known.first) return false;
  const parts: string[] = [];
  if (range.first > known.first) parts.push(`v >= ${range.first}`);
  if (range.last < known.last) parts.push(`v <= ${range.last}`);
  return parts.length === 0 ? true : parts.join(" && ");
}

/** When `v` is flexible, inside a struct. */
export function whenFlexible({ schema }: Message, struct: Struct): string | boolean {
  return schema.flexibleFrom !== null && inRange({ first: schema.flexibleFrom, last: Infinity }, struct.range);
}

/** The flexible versions of a struct that has some. */
export function flexibleRange({ schema }: Message, { range }: Struct): Range {
  return { first: Math.max(schema.flexibleFrom ?? 0, range.first), last: range.last };
}

/** Which structs stand in arrays, and whether such an array may be null. */
export function arrayUses(message: Message): { readonly plain: Set<Struct>; readonly nullable: Set<Struct> } {
  const plain = new Set<Struct>();
  const nullable = new Set<Struct>();
  for (const { schema, struct, nullableFrom, range } of message.structs.flatMap(({ fields }) => fields)) {
    if (struct === null || schema.type !== "array") continue;
    if (nullableFrom === null || nullableFrom > range.first) plain.add(struct);
    if (nullableFrom !== null) nullable.add(struct);
  }
  return { plain, nullable };
}
