import { KafkaError } from "../errors.ts";
import { nullRefused, placeOf, readFailure, writeFailure } from "./failures.ts";
import { proceed } from "./maybe-promise.ts";
import { mayMean, ProtobufFile } from "./protobuf-file.ts";
import type { FoundMessage } from "./protobuf-file.ts";
import { asRead, toWrite } from "./protobuf-values.ts";
import { frame, messageIndexBytes, readMessageIndexes, unframe } from "./registry/framing.ts";
import { SchemaBook } from "./registry/schema-book.ts";
import type { SchemaFormat, SchemaSerdeOptions } from "./registry/schema-book.ts";
import type { Serde, SerdeContext } from "./serde.ts";

/** How values become Protobuf, and which schema they have. */
export interface ProtobufOptions extends SchemaSerdeOptions {
  /** The text of a .proto file. Absent: the newest schema of the subject, and on reading the writer's own. */
  readonly schema?: string;
  /** Which message of the file, by its full name or its own. Absent: the first; on reading without a schema, whichever was written. */
  readonly message?: string;
  /** What a 64-bit number is: a number, where one beyond ±(2^53 − 1) is an error and never rounded, or a bigint. Default "number". */
  readonly longs?: "number" | "bigint";
  /** Names of fields as in the file in the place of camelCase. Default false. */
  readonly keepCase?: boolean;
}

/**
 * Protobuf with its schemas in a registry: bytes as Confluent's serializers write them. It needs the package `protobufjs`
 * beside this client.
 *
 * Values are plain objects: scalars that were not written have their defaults, messages are null, enums are their names,
 * bytes are Buffers. A field that the message does not have, or a value that is not of its type, is refused before it is
 * sent. Where a schema is given, another message than its own is SCHEMA_INCOMPATIBLE; another version of it is read by
 * Protobuf's own rules. Null as a whole is refused: see `nullable`.
 *
 * @throws KafkaError INVALID_SCHEMA.
 *
 * @example
 *     const schema = 'syntax = "proto3"; package shop; message Order { string id = 1; }';
 *     const orders = topic("orders", { value: protobuf<{ id: string }>({ registry, schema, message: "shop.Order" }) });
 */
export function protobuf<Read = unknown, Write = Read>(options: ProtobufOptions): Serde<Read, Write> {
  return new ProtobufSerde<Read, Write>(options);
}

class ProtobufSerde<Read, Write> implements Serde<Read, Write> {
  readonly #book: SchemaBook<ProtobufFile>;
  readonly #name: string | undefined;
  readonly #longs: "number" | "bigint";

  constructor({ schema, message, longs = "number", keepCase = false, ...options }: ProtobufOptions) {
    const format: SchemaFormat<ProtobufFile> = {
      type: "PROTOBUF",
      compile(resolved) {
        const file = new ProtobufFile(resolved, { keepCase });
        // A writer's file may hold other messages: what is in it is looked at value by value.
        if (resolved.schema.text === schema && file.byName(message) === null)
          throw new Error(`the file holds no message ${message ?? "at all"}`);
        return file;
      },
      recordName: (file) => file.byName(message)?.name ?? null,
    };
    this.#book = new SchemaBook(options, format, schema ?? null);
    this.#name = message;
    this.#longs = longs;
  }

  serialize(value: Write, context: SerdeContext): Buffer | Promise<Buffer> {
    if (value === null || value === undefined) throw nullRefused(context, "protobuf()");
    return proceed(this.#book.toWrite(context), ({ id, codec }) => {
      const message = this.#chosen(codec, context);
      try {
        const { type, path } = message;
        const payload = type.encode(type.fromObject(toWrite(type, value))).finish();
        return frame(id, messageIndexBytes(path), payload);
      } catch (error) {
        throw writeFailure(error, context);
      }
    });
  }

  deserialize(bytes: Buffer | null, context: SerdeContext): Read | Promise<Read> {
    if (bytes === null) throw nullRefused(context, "protobuf()");
    const framed = unframe(bytes, context);
    return proceed(this.#book.writers(framed, context), (writer) =>
      proceed(this.#book.own(context), (own) => {
        const { header } = framed;
        const { path, position } = readMessageIndexes(
          header?.bytes ?? bytes,
          header?.position ?? framed.position,
          context,
        );
        const { type } = this.#toRead(writer, own, path, context);
        try {
          return asRead(type, type.decode(bytes.subarray(header === null ? position : 0)), this.#longs) as Read;
        } catch (error) {
          throw readFailure(error, context);
        }
      }),
    );
  }

  #chosen(file: ProtobufFile, context: SerdeContext): FoundMessage {
    const found = file.byName(this.#name);
    if (found !== null) return found;
    const sentence = `${placeOf(context)}: its schema holds no message ${this.#name ?? ""}`;
    throw new KafkaError("SCHEMA_INCOMPATIBLE", sentence);
  }

  #toRead(
    writer: ProtobufFile,
    own: ProtobufFile | null,
    path: readonly number[],
    context: SerdeContext,
  ): FoundMessage {
    const written = writer.byPath(path);
    const wanted = own === null && this.#name === undefined ? written : (own ?? writer).byName(this.#name);
    const inWriter = wanted === null ? null : writer.byName(wanted.name);
    if (wanted !== null && inWriter !== null && (inWriter.name === written?.name || mayMean(path, inWriter)))
      return wanted;
    const name = written?.name ?? `at [${path.join(", ")}], which its schema does not hold`;
    const sentence = `${placeOf(context)} is the message ${name}, where ${wanted?.name ?? this.#name ?? "another"} is read`;
    throw new KafkaError("SCHEMA_INCOMPATIBLE", sentence);
  }
}
