import avsc from "avsc";
import type { Schema as AvroSchema, Type } from "avsc";
import { KafkaError } from "../errors.ts";
import { checkAvro } from "./avro-guard.ts";
import { nullRefused, placeOf, readFailure, sentenceOf, unreadable, unwritable } from "./failures.ts";
import { proceed } from "./maybe-promise.ts";
import { frame, unframe } from "./registry/framing.ts";
import type { ResolvedSchema } from "./registry/schema.ts";
import { SchemaBook } from "./registry/schema-book.ts";
import type { SchemaFormat, SchemaSerdeOptions } from "./registry/schema-book.ts";
import type { Serde, SerdeContext } from "./serde.ts";

/** How values become Avro, and which schema they have. */
export interface AvroOptions extends SchemaSerdeOptions {
  /** As JSON text or as its object. Absent: written with the newest schema of the subject, read by the writer's own. */
  readonly schema?: string | object;
  /**
   * What a long is: a number, where one beyond ±(2^53 − 1) is an error and never rounded, or a bigint. Default "number".
   */
  readonly longs?: "number" | "bigint";
  /** avsc's: by name of the logical type what makes its values. Absent: the plain values, a timestamp as its number. */
  readonly logicalTypes?: Readonly<Record<string, new () => avsc.types.LogicalType>>;
}

/**
 * Avro with its schemas in a registry: bytes as Confluent's serializers write them. It needs the package `avsc` beside
 * this client.
 *
 * What is read was written by some version of the schema, which the registry gives, and comes as the given schema has it:
 * fields that it does not know are left out, those that the writer did not know have their defaults. A writer's schema
 * that cannot be read so is SCHEMA_INCOMPATIBLE. A value that breaks its schema is refused before it is sent.
 *
 * Branches of a union are values as they are, as long as their types differ in JavaScript: `["null", "string"]` is null or
 * text; `["int", "float"]` is `{ int: 1 }`. Bytes are Buffers, enums text. Null as a whole is refused: see `nullable`.
 *
 * @throws KafkaError INVALID_SCHEMA.
 *
 * @example
 *     const schema = { type: "record", name: "Bill", fields: [{ name: "id", type: "string" }] };
 *     const bills = topic("bills", { key: text(), value: avro<{ id: string }>({ registry, schema }) });
 */
export function avro<Read = unknown, Write = Read>(options: AvroOptions): Serde<Read, Write> {
  const { schema } = options;
  const text = schema === undefined ? null : typeof schema === "string" ? schema : JSON.stringify(schema);
  return new AvroSerde<Read, Write>(new SchemaBook(options, avroFormat(options), text));
}

function avroFormat({ longs = "number", logicalTypes }: AvroOptions): SchemaFormat<Type> {
  return {
    type: "AVRO",
    compile({ schema, references }: ResolvedSchema) {
      const registry: Record<string, Type> = longs === "bigint" ? { long: bigLong() } : {};
      const options = { registry, ...(logicalTypes === undefined ? {} : { logicalTypes }) };
      const parse = (text: string): Type => avsc.Type.forSchema(JSON.parse(text) as AvroSchema, options);
      for (const reference of references) parse(reference.schema.text);
      return parse(schema.text);
    },
    recordName: (type) => type.name ?? null,
  };
}

class AvroSerde<Read, Write> implements Serde<Read, Write> {
  readonly #book: SchemaBook<Type>;
  /** By the writer's type: how its bytes become what the own type holds. */
  readonly #resolvers = new WeakMap<Type, avsc.Resolver>();

  constructor(book: SchemaBook<Type>) {
    this.#book = book;
  }

  serialize(value: Write, context: SerdeContext): Buffer | Promise<Buffer> {
    if (value === null || value === undefined) throw nullRefused(context, "avro()");
    return proceed(this.#book.toWrite(context), ({ id, codec }) => {
      try {
        return frame(id, codec.toBuffer(value));
      } catch (error) {
        throw unwritable(context, `${refusalOf(codec, value) ?? sentenceOf(error)} (schema id ${id})`, error);
      }
    });
  }

  deserialize(bytes: Buffer | null, context: SerdeContext): Read | Promise<Read> {
    if (bytes === null) throw nullRefused(context, "avro()");
    const framed = unframe(bytes, context);
    return proceed(this.#book.writers(framed, context), (writer) =>
      proceed(this.#book.own(context), (own) => {
        const resolver = own === null || own === writer ? undefined : this.#resolver(own, writer, context);
        try {
          checkAvro(writer, bytes, framed.position);
          return (own ?? writer).fromBuffer(bytes.subarray(framed.position), resolver) as Read;
        } catch (error) {
          const name = framed.guid ?? String(framed.schemaId);
          throw error instanceof RangeError
            ? unreadable(context, `it is nested too deeply (schema ${name})`, error)
            : readFailure(new Error(`${sentenceOf(error)} (schema ${name})`, { cause: error }), context);
        }
      }),
    );
  }

  #resolver(own: Type, writer: Type, context: SerdeContext): avsc.Resolver {
    let resolver = this.#resolvers.get(writer);
    if (resolver !== undefined) return resolver;
    try {
      resolver = own.createResolver(writer);
    } catch (error) {
      const sentence = `${placeOf(context)} was written with a schema that the given one cannot read: ${sentenceOf(error)}`;
      throw new KafkaError("SCHEMA_INCOMPATIBLE", sentence, { cause: error });
    }
    this.#resolvers.set(writer, resolver);
    return resolver;
  }
}

/** The first place where a value is not what its schema says: "items.0.price: "x" is no valid int". */
function refusalOf(type: Type, value: unknown): string | null {
  let refusal: string | null = null;
  type.isValid(value, {
    errorHook(path, found: unknown, expected) {
      const where = path.length === 0 ? "" : `${path.join(".")}: `;
      const shown = typeof found === "bigint" ? `${found}n` : (JSON.stringify(found) ?? String(found));
      refusal ??= `${where}${shown.slice(0, 60)} is no valid ${expected.name ?? expected.typeName}`;
    },
  });
  return refusal;
}

/** The whole range of a long. avsc gives and takes 8 bytes, little-endian. */
function bigLong(): Type {
  const isLong = (value: unknown): value is bigint => typeof value === "bigint" && value === BigInt.asIntN(64, value);
  return avsc.types.LongType.__with({
    fromBuffer: (bytes: Buffer) => bytes.readBigInt64LE(),
    toBuffer(value: bigint) {
      if (!isLong(value)) throw new Error(`${String(value)} is no bigint of 64 bits with sign`);
      const bytes = Buffer.alloc(8);
      bytes.writeBigInt64LE(value);
      return bytes;
    },
    fromJSON: BigInt,
    toJSON: Number,
    isValid: isLong,
    compare: (a: bigint, b: bigint) => (a === b ? 0 : a < b ? -1 : 1),
  });
}
