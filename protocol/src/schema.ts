/** The types of a field's value. What they look like on the wire is in reader.ts and writer.ts. */
export type ScalarType =
  | "bool"
  | "int8"
  | "int16"
  | "uint16"
  | "int32"
  | "uint32"
  | "int64"
  | "float64"
  | "uuid"
  | "string"
  | "bytes"
  | "records";

/** What all fields may say. Versions are those of the message, inclusive. */
interface FieldBase {
  readonly name: string;
  /** The first version that has the field; absent: from the start. */
  readonly since?: number;
  /** The last version that has the field; absent: to the end. */
  readonly until?: number;
  /** May be null: always, or from the named version on. */
  readonly nullable?: true | number;
  /** A tagged field (KIP-482): on the wire only where it differs from its default. */
  readonly tag?: number;
  /** What a version without the field reads as, and a writer may leave out. Absent: zero, "", false, [] or an empty struct. */
  readonly default?: number | bigint | string | boolean | null;
  /** A version without the field leaves it out silently; otherwise a value that differs from the default refuses to be written. */
  readonly ignorable?: true;
  /** What the number or the name does not say by itself. */
  readonly doc?: string;
}

export interface ScalarField extends FieldBase {
  readonly type: ScalarType;
  /** An int64 that may also be given as a bigint, where a number would not be exact. */
  readonly exact?: true;
  /** A string with an int16 length even in flexible versions. */
  readonly neverFlexible?: true;
}

export interface ScalarArrayField extends FieldBase {
  readonly type: "array";
  readonly of: ScalarType;
}

/** Where several fields stand together. */
interface StructBase extends FieldBase {
  /** The generated type is the message's name and this: "FetchRequest" and "Topic". */
  readonly struct: string;
  /** The fields. A list that is mentioned in several places is one type in the generated code. */
  readonly of: readonly FieldSchema[];
}

export interface StructField extends StructBase {
  readonly type: "struct";
}

export interface StructArrayField extends StructBase {
  readonly type: "array";
}

export type FieldSchema = ScalarField | ScalarArrayField | StructField | StructArrayField;

/** A message: every version at once, as data. Types, readers, writers, docs and the interpreter come from it. */
export interface MessageSchema {
  readonly name: string;
  /** The versions of Apache Kafka 4.3 that are stable, inclusive. */
  readonly versions: readonly [first: number, last: number];
  /** The first version with varint lengths and tagged fields (KIP-482); null: none. */
  readonly flexibleFrom: number | null;
  readonly fields: readonly FieldSchema[];
}

/** An API: its request and its response, which have the same versions always. */
export interface ApiSchema {
  readonly key: number;
  readonly name: string;
  /** What it does, and what its versions brought: for docs/apis.md and for whoever hovers over it. */
  readonly doc: string;
  readonly listeners: readonly ("broker" | "controller")[];
  readonly versions: MessageSchema["versions"];
  readonly flexibleFrom: number | null;
  readonly request: readonly FieldSchema[];
  readonly response: readonly FieldSchema[];
}

export function requestSchema({ name, versions, flexibleFrom, request }: ApiSchema): MessageSchema {
  return { name: `${name}Request`, versions, flexibleFrom, fields: request };
}

export function responseSchema({ name, versions, flexibleFrom, response }: ApiSchema): MessageSchema {
  return { name: `${name}Response`, versions, flexibleFrom, fields: response };
}

/** A message that is known by a number wherever it stands. */
export interface TypedMessageSchema extends MessageSchema {
  readonly type: number;
}

/** One kind of record of an internal topic. */
export interface RecordKindSchema {
  /** The int16 in front of the key. */
  readonly type: number;
  /** In lower camel case: the generated constant's name. */
  readonly name: string;
  readonly key: MessageSchema;
  readonly value: MessageSchema;
}
