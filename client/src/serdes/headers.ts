import type { Header } from "kafka-protocol-ts/records/record";

/** What may be written into a header; text is UTF-8. */
export type HeaderValue = string | Uint8Array | null;

export type HeadersInput = Headers | Readonly<Record<string, HeaderValue>> | Iterable<readonly [string, HeaderValue]>;

/**
 * The headers of a record: names with bytes, in order; a name may come more than once.
 *
 *     record.headers.get("trace")     the last one of the name, as text; undefined where there is none
 */
export class Headers implements Iterable<readonly [name: string, value: Buffer | null]> {
  #entries: readonly Header[];

  /** @param entries are taken as they are. */
  constructor(entries: readonly Header[] = []) {
    this.#entries = entries;
  }

  static from(input: HeadersInput | undefined): Headers {
    if (input === undefined) return new Headers();
    if (input instanceof Headers) return new Headers(input.#entries);
    const pairs = Symbol.iterator in input ? input : Object.entries(input);
    return new Headers(Array.from(pairs, ([key, value]) => ({ key, value: bytesOf(value) })));
  }

  get size(): number {
    return this.#entries.length;
  }

  /** As they are written. */
  get entries(): readonly Header[] {
    return this.#entries;
  }

  /** The last header of this name as text. Null: it has no value; undefined: there is none. */
  get(name: string): string | null | undefined {
    const bytes = this.bytes(name);
    return bytes === null || bytes === undefined ? bytes : bytes.toString("utf8");
  }

  /** The last header of this name. */
  bytes(name: string): Buffer | null | undefined {
    return this.#entries.findLast(({ key }) => key === name)?.value;
  }

  /** All headers of this name, in their order. */
  all(name: string): readonly (Buffer | null)[] {
    return this.#entries.filter(({ key }) => key === name).map(({ value }) => value);
  }

  has(name: string): boolean {
    return this.#entries.some(({ key }) => key === name);
  }

  /** In the place of all headers of this name. */
  set(name: string, value: HeaderValue): this {
    this.delete(name);
    return this.append(name, value);
  }

  append(name: string, value: HeaderValue): this {
    this.#entries = [...this.#entries, { key: name, value: bytesOf(value) }];
    return this;
  }

  delete(name: string): this {
    if (this.has(name)) this.#entries = this.#entries.filter(({ key }) => key !== name);
    return this;
  }

  *[Symbol.iterator](): Iterator<readonly [name: string, value: Buffer | null]> {
    for (const { key, value } of this.#entries) yield [key, value];
  }
}

function bytesOf(value: HeaderValue): Buffer | null {
  if (value === null) return null;
  return typeof value === "string" ? Buffer.from(value) : Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}
