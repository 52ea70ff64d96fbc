import { Ajv } from "ajv";
import type { ValidateFunction } from "ajv";
import { Ajv2019 } from "ajv/dist/2019.js";
import { Ajv2020 } from "ajv/dist/2020.js";
import { nullRefused, refused } from "./failures.ts";
import { json } from "./json.ts";
import { proceed } from "./maybe-promise.ts";
import { frame, unframe } from "./registry/framing.ts";
import type { ResolvedSchema } from "./registry/schema.ts";
import { SchemaBook } from "./registry/schema-book.ts";
import type { SchemaFormat, SchemaSerdeOptions } from "./registry/schema-book.ts";
import type { Serde, SerdeContext } from "./serde.ts";

/** How values are validated, and which schema they have. */
export interface JsonSchemaOptions extends SchemaSerdeOptions {
  /** As JSON text or as its object. Absent: the newest schema of the subject, and on reading the writer's own. */
  readonly schema?: string | object;
  /**
   * Makes the validator, as for formats ("email", "date-time": `ajv-formats`) or drafts that ajv brings as a package of its
   * own. Absent: drafts 6 and 7, 2019-09 and 2020-12 by the schema's `$schema`; formats are not looked at.
   */
  readonly ajv?: (options: { readonly useDefaults: boolean }) => AjvLike;
}

/** What is used of an Ajv. */
export interface AjvLike {
  /** Makes a schema known under the name by which others refer to it. */
  addSchema(schema: object, key: string): unknown;
  /** Makes a validator of a schema; throws what is wrong with it. */
  compile(schema: object): ValidateFunction;
  /** What a validator found, as a sentence. */
  errorsText(errors?: ValidateFunction["errors"], options?: { readonly dataVar?: string }): string;
}

/**
 * JSON with its schemas in a registry: bytes as Confluent's serializers write them. It needs the package `ajv` beside this
 * client.
 *
 * What is sent is validated by the schema it is written with, and goes out as it was given. What is read is validated by
 * the given schema, or the writer's where none is given, and gets the defaults that it names.
 *
 * @throws KafkaError INVALID_SCHEMA.
 *
 * @example
 *     const schema = { type: "object", properties: { id: { type: "string" } }, required: ["id"] };
 *     const orders = topic("orders", { key: text(), value: jsonSchema<{ id: string }>({ registry, schema }) });
 */
export function jsonSchema<Read = unknown, Write = Read>(options: JsonSchemaOptions): Serde<Read, Write> {
  const { schema } = options;
  const text = schema === undefined ? null : typeof schema === "string" ? schema : JSON.stringify(schema);
  const book = new SchemaBook(options, formatOf(options.ajv), text);
  const plain = json();
  return {
    serialize(value, context) {
      if (value === null || value === undefined) throw nullRefused(context, "jsonSchema()");
      return proceed(book.toWrite(context), ({ id, codec }) => {
        codec.check("write", value, context);
        return frame(id, plain.serialize(value, context) ?? Buffer.alloc(0));
      });
    },
    deserialize(bytes, context) {
      if (bytes === null) throw nullRefused(context, "jsonSchema()");
      const framed = unframe(bytes, context);
      return proceed(book.writers(framed, context), (writer) =>
        proceed(book.own(context), (own) => {
          const value = plain.deserialize(bytes.subarray(framed.position), context);
          (own ?? writer).check("read", value, context);
          return value as Read;
        }),
      );
    },
  };
}

type AjvMaker = NonNullable<JsonSchemaOptions["ajv"]>;

class JsonSchemaCodec {
  readonly title: string | null;
  readonly #ajv: AjvLike;
  readonly #write: ValidateFunction;
  readonly #read: ValidateFunction;

  constructor({ schema, references }: ResolvedSchema, ajvOf: AjvMaker | undefined) {
    const parsed = objectOf(schema.text);
    const make = ajvOf ?? ajvFor(parsed);
    const compile = (useDefaults: boolean): readonly [AjvLike, ValidateFunction] => {
      const ajv = make({ useDefaults });
      for (const reference of references) ajv.addSchema(objectOf(reference.schema.text), reference.name);
      return [ajv, ajv.compile(parsed)];
    };
    [this.#ajv, this.#write] = compile(false);
    [, this.#read] = compile(true);
    const { title } = parsed as { readonly title?: unknown };
    this.title = typeof title === "string" ? title : null;
  }

  check(direction: "read" | "write", value: unknown, context: SerdeContext): void {
    const validate = direction === "read" ? this.#read : this.#write;
    if (validate(value)) return;
    const { errors } = validate;
    throw refused(context, this.#ajv.errorsText(errors, { dataVar: "" }), errors ?? undefined);
  }
}

function formatOf(ajv: AjvMaker | undefined): SchemaFormat<JsonSchemaCodec> {
  return {
    type: "JSON",
    compile: (schema) => new JsonSchemaCodec(schema, ajv),
    recordName: ({ title }) => title,
  };
}

/** Text of a schema; true and false, which JSON Schema has for "all" and "nothing", are none that a topic needs. */
function objectOf(text: string): object {
  const parsed: unknown = JSON.parse(text);
  if (typeof parsed === "object" && parsed !== null) return parsed;
  throw new Error("a JSON Schema is an object");
}

/** Which of ajv's classes knows the draft. What ajv cannot know (a keyword of somebody else's) is no reason to refuse. */
function ajvFor(schema: object): AjvMaker {
  const { $schema } = schema as { readonly $schema?: unknown };
  const draft = typeof $schema === "string" ? $schema : "";
  const Class = draft.includes("2020-12") ? Ajv2020 : draft.includes("2019-09") ? Ajv2019 : Ajv;
  return (options) => new Class({ ...options, strict: false, validateFormats: false });
}
