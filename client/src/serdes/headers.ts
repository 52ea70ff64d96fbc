import type { Header } from "kafka-protocol-ts/records/record";
import { unwritable } from "./failures.ts";
import type { HeaderSerde, ReadOf, WriteOf } from "./serde.ts";

/** What may be written into a header; text is UTF-8. */
export type HeaderValue = string | Uint8Array | null;

/** Headers that a topic declares: what each of these names holds. Others stay text or bytes. */
export type HeaderSerdes = Readonly<Record<string, HeaderSerde<unknown, never>>>;

/** No name is declared. */
// oxlint-disable-next-line typescript/no-generated-empty-object-type -- the object type without names is what is meant
export type NoHeaderSerdes = Readonly<Record<never, never>>;

/** Headers to be sent; of the names that `Declared` holds the values that their serdes write. */
export type HeadersInput<Declared = NoHeaderSerdes> =
  | Headers
  | Iterable<readonly [string, HeaderValue]>
  | (keyof Declared extends never ? Readonly<Record<string, HeaderValue>> : DeclaredInput<Declared>);

/** The index signature holds the declared types, too, since TypeScript knows no "every other name". */
type DeclaredInput<Declared> = { readonly [Name in keyof Declared]?: WriteOf<Declared[Name]> } & Readonly<
  Record<string, HeaderValue | WriteOf<Declared[keyof Declared]>>
>;

/** `Headers` of a topic that declares some: `get` of such a name gives what its serde reads. */
export type TypedHeaders<Declared = NoHeaderSerdes> = keyof Declared extends never
  ? Headers
  : {
      get<Name extends keyof Declared & string>(name: Name): ReadOf<Declared[Name]> | undefined;
      set<Name extends keyof Declared & string>(name: Name, value: WriteOf<Declared[Name]>): TypedHeaders<Declared>;
      append<Name extends keyof Declared & string>(name: Name, value: WriteOf<Declared[Name]>): TypedHeaders<Declared>;
    } & Headers;

/** Whose headers they are: a `Topic`. */
export interface HeadersOwner<Declared extends HeaderSerdes = HeaderSerdes> {
  readonly name: string;
  readonly headers?: Declared;
}

const none: readonly Header[] = Object.freeze([]);

/**
 * The headers of a record: names with bytes, in order; a name may come more than once.
 *
 * Where the topic declares serdes for headers, `get`, `set` and `append` of their names take and give their values:
 *
 * @example
 *     const headers = new Headers().set("trace", "abc").append("hop", "1").append("hop", "2");
 *     headers.get("hop"); // "2": the last one of the name
 *     headers.all("hop").length; // 2
 */
export class Headers implements Iterable<readonly [name: string, value: Buffer | null]> {
  #entries: readonly Header[];
  readonly #owner: HeadersOwner | undefined;

  /**
   * @param entries are taken as they are.
   * @param owner the topic whose declared serdes read and write them.
   */
  constructor(entries: readonly Header[] = none, owner?: HeadersOwner) {
    this.#entries = entries;
    this.#owner = owner;
  }

  /**
   * Headers to be sent to a topic.
   *
   * @throws KafkaError SERIALIZATION_FAILED naming the header whose value is neither text, bytes nor null, or what the
   *   serde throws that is declared for it.
   */
  static from(input: HeadersInput | undefined): Headers;
  static from<Declared extends HeaderSerdes>(
    input: HeadersInput<Declared> | undefined,
    owner: HeadersOwner<Declared>,
  ): TypedHeaders<Declared>;
  static from(input: HeadersInput | undefined, owner?: HeadersOwner): Headers {
    return Headers.#made(input, owner);
  }

  /** Headers that were read, as the topic declares them. */
  static of<Declared extends HeaderSerdes = NoHeaderSerdes>(
    entries: readonly Header[],
    owner?: HeadersOwner<Declared>,
  ): TypedHeaders<Declared> {
    return new Headers(entries, owner) as TypedHeaders<Declared>;
  }

  static #made(input: HeadersInput | undefined, owner: HeadersOwner | undefined): Headers {
    if (input === undefined) return new Headers(none, owner);
    if (input instanceof Headers) return new Headers(input.#entries, owner);
    const headers = new Headers(none, owner);
    // A name of which nothing is said is as if it were not there.
    const pairs = Symbol.iterator in input ? input : Object.entries(input).filter(([, value]) => value !== undefined);
    headers.#entries = Array.from(pairs, ([key, value]) => ({ key, value: headers.#bytesOf(key, value) }));
    return headers;
  }

  /** How many headers, those of the same name included. */
  get size(): number {
    return this.#entries.length;
  }

  /** As they are written. */
  get entries(): readonly Header[] {
    return this.#entries;
  }

  /**
   * The last header of this name: text, or what the serde reads that the topic declares for it. Null: it has no value;
   * undefined: there is none.
   *
   * @throws KafkaError, where a declared serde cannot read the bytes.
   */
  get(name: string): string | null | undefined {
    const bytes = this.bytes(name);
    if (bytes === undefined) return undefined;
    const serde = this.#serdeOf(name);
    if (serde !== undefined) return serde.deserialize(bytes, this.#context(name)) as string | null;
    return bytes === null ? null : bytes.toString("utf8");
  }

  /** The last header of this name, as it is written. */
  bytes(name: string): Buffer | null | undefined {
    return this.#entries.findLast(({ key }) => key === name)?.value;
  }

  /** All headers of this name, in their order. */
  all(name: string): readonly (Buffer | null)[] {
    return this.#entries.filter(({ key }) => key === name).map(({ value }) => value);
  }

  /** Whether there is a header of this name, be it without a value. */
  has(name: string): boolean {
    return this.#entries.some(({ key }) => key === name);
  }

  /** In the place of all headers of this name. */
  set(name: string, value: HeaderValue): this {
    const bytes = this.#bytesOf(name, value);
    this.#entries = [...this.#entries.filter(({ key }) => key !== name), { key: name, value: bytes }];
    return this;
  }

  /**
   * Behind the others, also those of this name.
   *
   * @throws KafkaError SERIALIZATION_FAILED naming the header.
   */
  append(name: string, value: HeaderValue): this {
    this.#entries = [...this.#entries, { key: name, value: this.#bytesOf(name, value) }];
    return this;
  }

  /** All headers of this name. */
  delete(name: string): this {
    if (this.has(name)) this.#entries = this.#entries.filter(({ key }) => key !== name);
    return this;
  }

  *[Symbol.iterator](): Iterator<readonly [name: string, value: Buffer | null]> {
    for (const { key, value } of this.#entries) yield [key, value];
  }

  #serdeOf(name: string): HeaderSerde<unknown, never> | undefined {
    const declared = this.#owner?.headers;
    return declared !== undefined && Object.hasOwn(declared, name) ? declared[name] : undefined;
  }

  #context(name: string): { topic: string; part: "header"; header: string; headers: Headers } {
    return { topic: this.#owner?.name ?? "that is not named", part: "header", header: name, headers: this };
  }

  #bytesOf(name: string, value: HeaderValue): Buffer | null {
    const serde = this.#serdeOf(name);
    if (serde !== undefined) return viewOf(serde.serialize(value as never, this.#context(name)));
    if (value === null || typeof value === "string" || value instanceof Uint8Array) return viewOf(value);
    const sentence = `${typeof value} is neither text, bytes nor null, and the topic declares no serde for the header`;
    throw unwritable(this.#context(name), sentence);
  }
}

function viewOf(value: HeaderValue): Buffer | null {
  if (value === null) return null;
  return typeof value === "string" ? Buffer.from(value) : Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}
