export type SchemaType = "AVRO" | "PROTOBUF" | "JSON";

/** Another schema that this one names: its `name` as it stands in the text, and where the registry has it. */
export interface SchemaReference {
  readonly name: string;
  readonly subject: string;
  readonly version: number;
}

/** A schema as a registry holds it. */
export interface Schema {
  readonly type: SchemaType;
  readonly text: string;
  readonly references: readonly SchemaReference[];
}

/** A version of a subject. The id is that of the schema, whatever the subject. */
export interface SubjectVersion {
  readonly subject: string;
  readonly version: number;
  readonly id: number;
  readonly schema: Schema;
}

/** A schema with all that it refers to: those that others need come first. */
export interface ResolvedSchema {
  readonly schema: Schema;
  readonly references: readonly { readonly name: string; readonly schema: Schema }[];
}
