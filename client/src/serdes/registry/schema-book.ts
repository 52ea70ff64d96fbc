import { KafkaError } from "../../errors.ts";
import { placeOf, sentenceOf } from "../failures.ts";
import { proceed } from "../maybe-promise.ts";
import type { SerdeContext } from "../serde.ts";
import type { Framed } from "./framing.ts";
import type { ResolvedSchema, Schema, SchemaReference, SchemaType } from "./schema.ts";
import type { SchemaRegistry } from "./schema-registry.ts";
import { topicNameSubject } from "./subjects.ts";
import type { SubjectStrategy } from "./subjects.ts";

/** Of every serde whose schemas lie in a registry. */
export interface SchemaSerdeOptions {
  /** Where the schemas lie. */
  readonly registry: SchemaRegistry;
  /** Under which subject a schema is. Default: `topicNameSubject`, as "orders-value". */
  readonly subject?: SubjectStrategy;
  /** Registers the schema at its first use. False: it must be registered already. Default true. */
  readonly autoRegister?: boolean;
  /** Writes with the newest schema of the subject in the place of the given one. Default: only where none is given. */
  readonly useLatestVersion?: boolean;
  /** Writes with the schema of this id, whatever the subject. */
  readonly id?: number;
  /** Has the registry put schemas in canonical form before it compares them. Default false. */
  readonly normalize?: boolean;
  /** What the given schema refers to. */
  readonly references?: readonly SchemaReference[];
}

/** What a kind of schema brings: how its text becomes something that reads and writes. */
export interface SchemaFormat<Codec> {
  readonly type: SchemaType;
  /** Throws whatever is wrong with the text. */
  compile(schema: ResolvedSchema): Codec;
  /** What strategies of subjects call the record. */
  recordName(codec: Codec): string | null;
}

export interface ToWrite<Codec> {
  readonly id: number;
  readonly codec: Codec;
}

/** The schemas that one serde has met, each compiled once. Where all is known already nothing is a promise. */
export class SchemaBook<Codec> {
  readonly #options: SchemaSerdeOptions;
  readonly #format: SchemaFormat<Codec>;
  readonly #ownSchema: Schema | null;
  #own: Codec | null = null;
  readonly #compiled = new Map<string, Codec>();
  readonly #toWrite = new Map<string, ToWrite<Codec>>();

  /** @param text of the serde's own schema; null where it takes what the registry has. */
  constructor(options: SchemaSerdeOptions, format: SchemaFormat<Codec>, text: string | null) {
    this.#options = options;
    this.#format = format;
    const { references = [] } = options;
    this.#ownSchema = text === null ? null : { type: format.type, text, references };
    // A schema that stands alone and is wrong is told where the serde is made, not at the first record.
    if (this.#ownSchema !== null && references.length === 0)
      this.#own = this.#compile("the given schema", { schema: this.#ownSchema, references: [] });
  }

  /** The serde's own schema, which readers get their values by; null where it has none. */
  own(context: SerdeContext): Codec | null | Promise<Codec | null> {
    const schema = this.#ownSchema;
    if (schema === null || this.#own !== null) return this.#own;
    return this.#located(context, async () => {
      this.#own ??= this.#compile("the given schema", await this.#options.registry.resolve(schema));
      return this.#own;
    });
  }

  /** The schema that a value was written with. */
  writers({ schemaId, guid }: Framed, context: SerdeContext): Codec | Promise<Codec> {
    const key = guid ?? String(schemaId);
    const known = this.#compiled.get(key);
    if (known !== undefined) return known;
    const { registry } = this.#options;
    return this.#located(context, async () =>
      this.#learn(key, guid === null ? await registry.schema(schemaId ?? 0) : await registry.schemaByGuid(guid)),
    );
  }

  /** The schema with which a value is to be written, and its id. */
  toWrite(context: SerdeContext): ToWrite<Codec> | Promise<ToWrite<Codec>> {
    const { id, useLatestVersion = this.#ownSchema === null } = this.#options;
    if (id !== undefined)
      return proceed(this.writers({ schemaId: id, guid: null, position: 0, header: null }, context), (codec) => ({
        id,
        codec,
      }));
    return proceed(this.own(context), (own) => {
      const name = own === null ? null : this.#format.recordName(own);
      const subject = (this.#options.subject ?? topicNameSubject)(context, name);
      return useLatestVersion || own === null ? this.#latest(subject, context) : this.#ownId(subject, own, context);
    });
  }

  #latest(subject: string, context: SerdeContext): ToWrite<Codec> | Promise<ToWrite<Codec>> {
    const latest = this.#options.registry.latest(subject);
    if (!(latest instanceof Promise)) {
      const codec = this.#compiled.get(String(latest.id));
      if (codec !== undefined) return { id: latest.id, codec };
    }
    return this.#located(context, async () => {
      const { id, schema } = await latest;
      return { id, codec: this.#compiled.get(String(id)) ?? (await this.#learn(String(id), schema)) };
    });
  }

  #ownId(subject: string, own: Codec, context: SerdeContext): ToWrite<Codec> | Promise<ToWrite<Codec>> {
    const known = this.#toWrite.get(subject);
    const schema = this.#ownSchema;
    if (known !== undefined) return known;
    if (schema === null)
      throw new KafkaError("INVALID_CONFIG", `${placeOf(context)}: no schema was given to write it with`);
    const { registry, autoRegister = true, normalize = false } = this.#options;
    return this.#located(context, async () => {
      const id = autoRegister
        ? await registry.register(subject, schema, { normalize })
        : await registry.lookup(subject, schema, { normalize });
      const found = { id, codec: own };
      this.#toWrite.set(subject, found);
      return found;
    });
  }

  async #learn(key: string, schema: Schema): Promise<Codec> {
    const what = `schema ${key}`;
    if (schema.type !== this.#format.type) {
      const sentence = `${what} is of type ${schema.type}, and this serde takes ${this.#format.type}`;
      throw new KafkaError("SCHEMA_INCOMPATIBLE", sentence);
    }
    const codec = this.#compile(what, await this.#options.registry.resolve(schema));
    this.#compiled.set(key, codec);
    return codec;
  }

  #compile(what: string, schema: ResolvedSchema): Codec {
    try {
      return this.#format.compile(schema);
    } catch (error) {
      throw new KafkaError("INVALID_SCHEMA", `${what} cannot be used: ${sentenceOf(error)}`, { cause: error });
    }
  }

  /** What the registry says does not know for which record it was asked. */
  async #located<Found>(context: SerdeContext, find: () => Promise<Found>): Promise<Found> {
    try {
      return await find();
    } catch (error) {
      if (!(error instanceof KafkaError)) throw error;
      const { code, message, retriable } = error;
      throw new KafkaError(code, `${placeOf(context)}: ${message}`, { retriable, cause: error });
    }
  }
}
