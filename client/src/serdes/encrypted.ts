import { systemRandom } from "@millrace/base/node/system-random";
import type { Random } from "@millrace/base/world";
import { KafkaError } from "../errors.ts";
import { open, plainOf, seal, sealedWith, valueOf } from "./encryption/cipher.ts";
import { Editing } from "./encryption/fields.ts";
import type { FieldPath, Replaced } from "./encryption/fields.ts";
import { Hidden, Shredded, Withheld } from "./encryption/hidden.ts";
import type { DataKey, KeyRing, NoKey } from "./encryption/keys.ts";
import { decryptText, encryptText } from "./encryption/preserved.ts";
import { nullRefused, placeOf, readFailure, sentenceOf, unreadable, unwritable, writeFailure } from "./failures.ts";
import { proceed } from "./maybe-promise.ts";
import type { Serde, SerdeContext } from "./serde.ts";

/** What a reader gets where it cannot read: a marker, a failure of the whole record, or what a function makes of it. */
export type HiddenPolicy = "mark" | "fail" | ((hidden: Shredded | Withheld) => unknown);

interface EncryptionOptions<Value> {
  /** Null: a reader without any key, to whom all that is encrypted is withheld. */
  readonly keys: KeyRing | null;
  /** Whose value it is: the person or entity whose key encrypts it, or the same word for a whole topic. */
  readonly subject: (value: Value, context: SerdeContext) => string;
  /** Default "mark". */
  readonly hidden?: HiddenPolicy;
  /** Takes what is not encrypted, as was written before encryption began. Default: it is refused. */
  readonly mayBeClear?: boolean;
  /** Where nonces come from. Default: the platform's. */
  readonly random?: Random;
}

/** What is encrypted, by whose key, and what a reader without it gets. */
export interface EncryptedFieldsOptions<
  Value,
  Path extends string,
  Kept extends string,
> extends EncryptionOptions<Value> {
  /** "email", "customer.address", "lines.note": of an array each element. Whatever JSON can say, bytes and bigints. */
  readonly fields?: readonly Path[];
  /** Fields of text whose encrypted form has the same length and a character of the same class at each place. */
  readonly formatPreserved?: readonly Kept[];
}

/**
 * A serde whose values, or some fields of them, are encrypted by a key of the person or entity that they belong to
 * (AES-256-GCM). Brokers and logs never hold clear text; who has no key reads the other fields; and when a key is destroyed
 * what it encrypted is gone everywhere, and nothing else.
 *
 * An encrypted field is text to the serde inside: in an Avro schema it is declared as a string. Put a validator around it,
 * not inside: `validated(encrypted(...), Schema)`. A field that cannot be read is a `Shredded` or a `Withheld`, unless
 * `hidden` says otherwise ("fail": KafkaError SHREDDED or KEY_NOT_GRANTED); such a record may be written again, and the
 * field stays what it was. Null and absent fields stay as they are.
 *
 * Format-preserved fields are encrypted by FF1 (NIST SP 800-38G): the same text of the same subject looks the same, nothing
 * tells whether it was altered, and a text with fewer than a million others of its shape is refused. Their key is named in
 * the header `encryption-key-value` (or `-key`).
 *
 * Without `fields` and `formatPreserved` the whole value is encrypted, and names its key in its first bytes.
 *
 * @example
 *     interface Transfer {
 *       readonly user: string;
 *       readonly account: string;
 *     }
 *     const transfers = topic("transfers", {
 *       value: encrypted(json<Transfer>(), { fields: ["user", "account"], keys, subject: ({ user }) => user }),
 *     });
 */
export function encrypted<
  Read,
  Write,
  const Path extends FieldPath<Write> = never,
  const Kept extends FieldPath<Write> = never,
>(
  inner: Serde<Read, Write>,
  options: EncryptedFieldsOptions<Write, Path, Kept> &
    ({ readonly fields: readonly Path[] } | { readonly formatPreserved: readonly Kept[] }),
): Serde<Replaced<Read, Path | Kept, Shredded | Withheld>, Replaced<Write, Path | Kept, Shredded | Withheld>>;
export function encrypted<Read, Write>(
  inner: Serde<Read, Write>,
  options: EncryptionOptions<Write>,
): Serde<Read | Shredded | Withheld, Write | Shredded | Withheld>;
export function encrypted(
  inner: Serde<unknown, unknown>,
  options: EncryptedFieldsOptions<unknown, string, string>,
): Serde<unknown> {
  const isWhole = options.fields === undefined && options.formatPreserved === undefined;
  return isWhole ? new WholeEncryption(inner, options) : new FieldEncryption(inner, options);
}

/** What both ways of encrypting share: keys, and what there is without one. */
class Encryption<Options extends EncryptionOptions<unknown>> {
  readonly inner: Serde<unknown, unknown>;
  readonly options: Options;
  readonly random: Random;

  constructor(inner: Serde<unknown, unknown>, options: Options) {
    this.inner = inner;
    this.options = options;
    this.random = options.random ?? systemRandom;
  }

  keyToWrite(value: unknown, context: SerdeContext): DataKey | Promise<DataKey> {
    const { keys, subject } = this.options;
    if (keys === null) {
      const sentence = `${placeOf(context)} cannot be encrypted: this serde was given no keys, and only reads`;
      throw new KafkaError("KEY_NOT_GRANTED", sentence);
    }
    const whose: unknown = subject(value, context);
    if (typeof whose !== "string" || whose === "")
      throw unwritable(context, "its subject, whose key encrypts it, is no text");
    return proceed(keys.toWrite(whose), (key) => {
      if (typeof key !== "string") return key;
      const code = key === "destroyed" ? "SHREDDED" : "KEY_NOT_GRANTED";
      throw new KafkaError(code, `${placeOf(context)} cannot be encrypted: the key of its subject is ${key}`);
    });
  }

  keyToRead(id: Buffer): DataKey | NoKey | Promise<DataKey | NoKey> {
    return this.options.keys === null ? "not granted" : this.options.keys.toRead(id);
  }

  /** What stands in the place of what cannot be read. */
  hidden(why: NoKey, place: { readonly path: string; readonly encrypted: unknown }, context: SerdeContext): unknown {
    const { path, encrypted: kept } = place;
    const { hidden = "mark" } = this.options;
    if (hidden === "fail") {
      const sentence = `${placeOf(context)} holds ${path === "" ? "what" : `the field ${path}, which`} cannot be read`;
      if (why === "destroyed") throw new KafkaError("SHREDDED", `${sentence}: its key was destroyed`);
      throw new KafkaError("KEY_NOT_GRANTED", `${sentence}: its key is not granted to this reader`);
    }
    const marker = why === "destroyed" ? new Shredded(path, kept) : new Withheld(path, kept);
    return hidden === "mark" ? marker : hidden(marker);
  }
}

/** In front of a whole value that is encrypted. Neither UTF-8 nor MessagePack has this byte. */
const wholeMagic = 0xc1;

class WholeEncryption extends Encryption<EncryptionOptions<unknown>> implements Serde<unknown> {
  serialize(value: unknown, context: SerdeContext): Uint8Array | null | Promise<Uint8Array | null> {
    if (value instanceof Hidden) return value.encrypted as Buffer;
    if (value === null || value === undefined) throw nullRefused(context, "encrypted()");
    return proceed(this.inner.serialize(value, context), (plain) => {
      if (plain === null) throw nullRefused(context, "encrypted()");
      return proceed(this.keyToWrite(value, context), (key) =>
        Buffer.concat([Buffer.of(wholeMagic), seal(plain, key, "", this.random)]),
      );
    });
  }

  deserialize(bytes: Buffer | null, context: SerdeContext): unknown {
    if (bytes === null) throw nullRefused(context, "encrypted()");
    if (bytes[0] !== wholeMagic) {
      if (this.options.mayBeClear === true) return this.inner.deserialize(bytes, context);
      throw unreadable(context, "it is not encrypted: see mayBeClear");
    }
    const sealed = bytes.subarray(1);
    return proceed(this.keyToRead(attempt(() => sealedWith(sealed), context)), (key) => {
      // The batch's memory is not kept for as long as a marker may be.
      if (typeof key === "string") return this.hidden(key, { path: "", encrypted: Buffer.from(bytes) }, context);
      return this.inner.deserialize(
        attempt(() => open(sealed, key, ""), context),
        context,
      );
    });
  }
}

const tokenPrefix = "enc1:";

class FieldEncryption extends Encryption<EncryptedFieldsOptions<unknown, string, string>> implements Serde<unknown> {
  serialize(value: unknown, context: SerdeContext): Uint8Array | null | Promise<Uint8Array | null> {
    if (value === null || value === undefined) throw nullRefused(context, "encrypted()");
    const { fields = [], formatPreserved = [] } = this.options;
    const isNeeded = [...fields, ...formatPreserved].some((path) =>
      this.#at(value, path, context).some((found) => !(found instanceof Hidden)),
    );
    const key = isNeeded ? this.keyToWrite(value, context) : null;
    return proceed<DataKey | null, Uint8Array | null>(key, (found) =>
      this.inner.serialize(this.#sealed(value, found, context), context),
    );
  }

  deserialize(bytes: Buffer | null, context: SerdeContext): unknown {
    return proceed(this.inner.deserialize(bytes, context), (value) => this.#opened(value, context));
  }

  #at(value: unknown, path: string, context: SerdeContext): readonly unknown[] {
    try {
      return new Editing(value).at(path);
    } catch (error) {
      throw writeFailure(error, context);
    }
  }

  // --- Writing ----------------------------------------------------------------------------------------------------------

  #sealed(value: unknown, key: DataKey | null, context: SerdeContext): unknown {
    const { fields = [], formatPreserved = [] } = this.options;
    const editing = new Editing(value);
    const edit = (path: string, encrypt: (found: unknown, by: DataKey) => unknown): void =>
      editing.edit(path, (found) => {
        if (found instanceof Hidden) return found.encrypted;
        if (key === null) return found;
        try {
          return encrypt(found, key);
        } catch (error) {
          throw unwritable(context, `${path}: ${sentenceOf(error)}`, error);
        }
      });
    for (const path of fields)
      edit(path, (found, by) => tokenPrefix + seal(plainOf(found), by, path, this.random).toString("base64url"));
    for (const path of formatPreserved) {
      if (editing.at(path).some((found) => found instanceof Hidden)) this.#checkKept(key, context);
      edit(path, (found, by) => {
        if (typeof found !== "string") throw new Error(`${typeof found} has no format that could be preserved`);
        return encryptText(found, by, path);
      });
    }
    if (formatPreserved.length > 0 && key !== null) context.headers.set(keyHeader(context), key.id);
    return editing.root;
  }

  /** One header names one key: a field that is passed on unread has its own, which must be named, and no other. */
  #checkKept(key: DataKey | null, context: SerdeContext): void {
    const named = context.headers.bytes(keyHeader(context));
    if (named !== undefined && named !== null && (key === null || named.equals(key.id))) return;
    const sentence = `it holds a field that could not be read, whose key must be the one in the header ${keyHeader(context)}`;
    throw unwritable(context, sentence);
  }

  // --- Reading ----------------------------------------------------------------------------------------------------------

  #opened(value: unknown, context: SerdeContext): unknown {
    const { fields = [], formatPreserved = [] } = this.options;
    const ids = new Map<string, Buffer>();
    const editing = new Editing(value);
    attempt(() => {
      for (const path of fields)
        for (const token of editing.at(path)) this.#noteKey(ids, this.#sealedToken(token, path));
    }, context);
    const kept = formatPreserved.some((path) => attempt(() => editing.at(path), context).length > 0)
      ? this.#keptKey(context)
      : null;
    this.#noteKey(ids, null, kept);
    return proceed(this.#keysOf(ids), (keys) => {
      const keyOf = (id: Buffer): DataKey | NoKey => keys.get(id.toString("hex")) ?? "not granted";
      for (const path of fields) {
        editing.edit(path, (token) => {
          const sealed = this.#sealedToken(token, path);
          if (sealed === null) return token;
          const key = keyOf(sealedWith(sealed));
          if (typeof key === "string") return this.hidden(key, { path, encrypted: token }, context);
          return attempt(() => valueOf(open(sealed, key, path)), context);
        });
      }
      for (const path of kept === null ? [] : formatPreserved) {
        editing.edit(path, (found) => {
          const key = keyOf(kept ?? Buffer.alloc(0));
          if (typeof key === "string") return this.hidden(key, { path, encrypted: found }, context);
          return attempt(() => decryptText(String(found), key, path), context);
        });
      }
      return editing.root;
    });
  }

  /** Null: it is clear, and may be. */
  #sealedToken(token: unknown, path: string): Buffer | null {
    if (typeof token === "string" && token.startsWith(tokenPrefix))
      return Buffer.from(token.slice(tokenPrefix.length), "base64url");
    if (this.options.mayBeClear === true) return null;
    throw new Error(`the field ${path} is not encrypted: see mayBeClear`);
  }

  #keptKey(context: SerdeContext): Buffer | null {
    const id = context.headers.bytes(keyHeader(context));
    if (id?.length === 16) return id;
    if (this.options.mayBeClear === true) return null;
    throw unreadable(context, `the header ${keyHeader(context)}, which names the key, is not there`);
  }

  #noteKey(ids: Map<string, Buffer>, sealed: Buffer | null, id: Buffer | null = null): void {
    const found = sealed === null ? id : sealedWith(sealed);
    if (found !== null) ids.set(found.toString("hex"), found);
  }

  #keysOf(
    ids: ReadonlyMap<string, Buffer>,
  ): ReadonlyMap<string, DataKey | NoKey> | Promise<ReadonlyMap<string, DataKey | NoKey>> {
    const keys = new Map<string, DataKey | NoKey>();
    const waiting: Promise<unknown>[] = [];
    for (const [name, id] of ids) {
      const key = this.keyToRead(id);
      if (key instanceof Promise) waiting.push(key.then((found) => keys.set(name, found)));
      else keys.set(name, key);
    }
    return waiting.length === 0 ? keys : Promise.all(waiting).then(() => keys);
  }
}

function keyHeader({ part }: SerdeContext): string {
  return `encryption-key-${part}`;
}

function attempt<Result>(read: () => Result, context: SerdeContext): Result {
  try {
    return read();
  } catch (error) {
    throw readFailure(error, context);
  }
}
