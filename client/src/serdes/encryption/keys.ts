import { createCipheriv, createDecipheriv } from "node:crypto";
import { systemClock } from "@millrace/base/node/system-clock";
import { systemRandom } from "@millrace/base/node/system-random";
import type { Clock, Random } from "@millrace/base/world";
import { KafkaError } from "../../errors.ts";
import { sentenceOf } from "../failures.ts";

/** A data key as it is kept: what can be read of it is useless without the wrapping. */
export interface StoredKey {
  /** 32 hexadecimal digits, by chance: it stands beside every value and says nothing of the subject. */
  readonly id: string;
  /** Whose values it is for: a person, an entity, or a topic. */
  readonly subject: string;
  /** The data key as `KeyWrapping` has wrapped it. */
  readonly wrapped: Uint8Array;
}

/**
 * Where wrapped keys lie. `MemoryKeyStorage` is one; others put them into a database, a file or a compacted topic (keyed by
 * the subject, a tombstone in the place of what is destroyed). It must be the only place: a backup of it that survives a
 * destruction undoes the destruction.
 */
export interface KeyStorage {
  /** Null: it never was here. A destroyed one is remembered by its id, so that the two are told apart. */
  byId(id: string): Promise<StoredKey | "destroyed" | null>;
  /** What values of the subject are written with. Null: it has no key yet. */
  current(subject: string): Promise<StoredKey | "destroyed" | null>;
  /**
   * Makes a key the current one, if the current one is still `replaces` (null: none). Else nothing changes. Gives what is
   * the current one then: of two writers who make the first key of a subject, both get the same.
   */
  add(key: StoredKey, replaces: string | null): Promise<StoredKey | "destroyed">;
  /** Deletes all keys of the subject for good. Also one without keys is destroyed: nobody makes any for it again. */
  destroy(subject: string): Promise<void>;
}

/** What wraps data keys: a key management service, or `LocalKeyWrapping`. */
export interface KeyWrapping {
  /** The data key of a subject, so that only who may can unwrap it. What it throws becomes KEYS_UNAVAILABLE, retriable. */
  wrap(secret: Buffer, subject: string): Promise<Uint8Array>;
  /**
   * The data key that was wrapped.
   *
   * @throws KafkaError KEY_NOT_GRANTED where this reader may not: it then reads what is clear.
   */
  unwrap(wrapped: Uint8Array, subject: string): Promise<Buffer>;
}

/** A data key in use: 32 bytes, and the 16 of its id. */
export interface DataKey {
  /** 16 bytes, which stand in every value. */
  readonly id: Buffer;
  /** 32 bytes. */
  readonly secret: Buffer;
}

/** Why there is no key for a value. */
export type NoKey = "destroyed" | "not granted";

/** Where keys lie, what wraps them, and how long they are kept in memory. */
export interface KeyRingOptions {
  /** Where wrapped keys lie. */
  readonly storage: KeyStorage;
  /** What wraps and unwraps them. */
  readonly wrapping: KeyWrapping;
  /** So long a key, or that there is none, is believed: a destroyed one is in use nowhere after it. Default 300,000. */
  readonly cacheMs?: number;
  /** So many keys are in memory; those not used for longest go first. Default 10,000. */
  readonly cacheMax?: number;
  /** Another clock than the platform's, as in a test. */
  readonly clock?: Clock;
  /** Another source of keys than the platform's, as in a test. */
  readonly random?: Random;
}

interface Cached {
  readonly found: DataKey | NoKey;
  readonly untilMs: number;
}

/**
 * The data keys of a program, for `encrypted`: makes them, keeps them for a while, and destroys them.
 *
 * @example
 *     const wrapping = new LocalKeyWrapping({ keys: { "2026": new Uint8Array(32) }, current: "2026" }); // 32 secret bytes
 *     const keys = new KeyRing({ storage: new MemoryKeyStorage(), wrapping });
 *     await keys.destroy("user-7"); // nobody reads what was encrypted for user-7 any more
 */
export class KeyRing {
  readonly #options: Required<KeyRingOptions>;
  /** By "subject ..." for writing and "id ..." for reading; the least recently used first. */
  readonly #cache = new Map<string, Cached>();
  readonly #asking = new Map<string, Promise<DataKey | NoKey>>();

  constructor(options: KeyRingOptions) {
    this.#options = { cacheMs: 300_000, cacheMax: 10_000, clock: systemClock, random: systemRandom, ...options };
  }

  /** The key to write a subject's values with; one is made where there is none. */
  toWrite(subject: string): DataKey | NoKey | Promise<DataKey | NoKey> {
    return this.#cached(`subject ${subject}`, async () => {
      const stored = (await this.#options.storage.current(subject)) ?? (await this.#make(subject, null));
      return this.#unwrapped(stored);
    });
  }

  /**
   * The key that a value was written with.
   *
   * @throws KafkaError KEY_NOT_FOUND, where the storage never had it: it is another one than the writer's;
   *   KEYS_UNAVAILABLE (retriable), where storage or wrapping failed otherwise.
   */
  toRead(id: Buffer): DataKey | NoKey | Promise<DataKey | NoKey> {
    const name = id.toString("hex");
    return this.#cached(`id ${name}`, async () => {
      const stored = await this.#options.storage.byId(name);
      if (stored !== null) return this.#unwrapped(stored);
      throw new KafkaError("KEY_NOT_FOUND", `the key storage never had the key ${name}: is it the writer's storage?`);
    });
  }

  /**
   * The next values of the subject are written with a new key; those written before stay readable.
   *
   * @throws KafkaError SHREDDED, where its keys were destroyed.
   */
  async rotate(subject: string): Promise<void> {
    const current = await this.#options.storage.current(subject);
    if (current === "destroyed")
      throw new KafkaError("SHREDDED", `the keys of ${subject} were destroyed: it has none that could be replaced`);
    await this.#make(subject, current?.id ?? null);
    this.#cache.delete(`subject ${subject}`);
  }

  /**
   * Deletes the subject's keys for good. What they encrypted is unreadable here at once, elsewhere when the caches there
   * are over, and with it in every replica, mirror and backup of the topics.
   */
  async destroy(subject: string): Promise<void> {
    await this.#options.storage.destroy(subject);
    // Keys are cached by id, too, and which ids are the subject's only the storage knows.
    this.#cache.clear();
    this.#asking.clear();
  }

  async #make(subject: string, replaces: string | null): Promise<StoredKey | "destroyed"> {
    const { storage, wrapping, random } = this.#options;
    const wrapped = await wrapping.wrap(random.bytes(32), subject);
    return storage.add({ id: random.bytes(16).toString("hex"), subject, wrapped }, replaces);
  }

  async #unwrapped(stored: StoredKey | "destroyed"): Promise<DataKey | NoKey> {
    if (stored === "destroyed") return stored;
    try {
      const secret = await this.#options.wrapping.unwrap(stored.wrapped, stored.subject);
      return { id: Buffer.from(stored.id, "hex"), secret };
    } catch (error) {
      if (error instanceof KafkaError && error.code === "KEY_NOT_GRANTED") return "not granted";
      throw error;
    }
  }

  #cached(name: string, find: () => Promise<DataKey | NoKey>): DataKey | NoKey | Promise<DataKey | NoKey> {
    const known = this.#cache.get(name);
    if (known === undefined) return this.#ask(name, find);
    this.#cache.delete(name);
    if (known.untilMs <= this.#options.clock.monotonicMs()) return this.#ask(name, find);
    this.#cache.set(name, known);
    return known.found;
  }

  async #ask(name: string, find: () => Promise<DataKey | NoKey>): Promise<DataKey | NoKey> {
    const under = this.#asking.get(name);
    if (under !== undefined) return under;
    const asking = find().catch((error: unknown) => {
      if (error instanceof KafkaError) throw error;
      const sentence = `the key of ${name} cannot be had: ${sentenceOf(error)}`;
      throw new KafkaError("KEYS_UNAVAILABLE", sentence, { retriable: true, cause: error });
    });
    this.#asking.set(name, asking);
    try {
      const found = await asking;
      // A destruction meanwhile makes what was found old.
      if (this.#asking.get(name) === asking) this.#keep(name, found);
      return found;
    } finally {
      if (this.#asking.get(name) === asking) this.#asking.delete(name);
    }
  }

  #keep(name: string, found: DataKey | NoKey): void {
    this.#cache.set(name, { found, untilMs: this.#options.clock.monotonicMs() + this.#options.cacheMs });
    for (const oldest of this.#cache.keys()) {
      if (this.#cache.size <= this.#options.cacheMax) return;
      this.#cache.delete(oldest);
    }
  }
}

/**
 * Keys in memory: for tests, and to show what a storage must do.
 *
 * @example
 *     const storage = new MemoryKeyStorage();
 *     await storage.destroy("user-7");
 */
export class MemoryKeyStorage implements KeyStorage {
  readonly #keys = new Map<string, StoredKey | "destroyed">();
  /** An id that no key has: the subject is destroyed. */
  readonly #current = new Map<string, string>();

  /** See `KeyStorage.byId`. */
  async byId(id: string): Promise<StoredKey | "destroyed" | null> {
    return this.#keys.get(id) ?? null;
  }

  /** See `KeyStorage.current`. */
  async current(subject: string): Promise<StoredKey | "destroyed" | null> {
    return this.#currentOf(subject);
  }

  /** See `KeyStorage.add`. */
  async add(key: StoredKey, replaces: string | null): Promise<StoredKey | "destroyed"> {
    // Nothing is awaited between looking and setting.
    const current = this.#currentOf(key.subject);
    if (current === "destroyed" || (current?.id ?? null) !== replaces) return current ?? "destroyed";
    this.#keys.set(key.id, key);
    this.#current.set(key.subject, key.id);
    return key;
  }

  /** See `KeyStorage.destroy`. */
  async destroy(subject: string): Promise<void> {
    this.#current.set(subject, "destroyed");
    for (const [id, key] of this.#keys)
      if (key !== "destroyed" && key.subject === subject) this.#keys.set(id, "destroyed");
  }

  #currentOf(subject: string): StoredKey | "destroyed" | null {
    const id = this.#current.get(subject);
    return id === undefined ? null : (this.#keys.get(id) ?? "destroyed");
  }
}

/** The keys that wrap data keys. */
export interface LocalKeyWrappingOptions {
  /** Keys of 32 bytes by their names; a name is written beside what its key wraps. */
  readonly keys: Readonly<Record<string, Uint8Array>>;
  /** The one that wraps. The others unwrap what they once wrapped. */
  readonly current: string;
  /** Where nonces come from. Default: the platform's. */
  readonly random?: Random;
}

const nonceBytes = 12;
const tagBytes = 16;

/**
 * Wraps data keys with keys that the program holds itself: AES-256-GCM.
 *
 * @example
 *     const wrapping = new LocalKeyWrapping({ keys: { "2026": new Uint8Array(32) }, current: "2026" }); // 32 secret bytes
 */
export class LocalKeyWrapping implements KeyWrapping {
  readonly #options: LocalKeyWrappingOptions;

  /** @throws KafkaError INVALID_CONFIG, naming the key. */
  constructor(options: LocalKeyWrappingOptions) {
    for (const [name, { length }] of Object.entries(options.keys)) {
      if (length !== 32) throw new KafkaError("INVALID_CONFIG", `keys: "${name}" is ${length} bytes and must be 32`);
      if (Buffer.byteLength(name) > 255) throw new KafkaError("INVALID_CONFIG", `keys: a name of more than 255 bytes`);
    }
    if (!Object.hasOwn(options.keys, options.current))
      throw new KafkaError("INVALID_CONFIG", `current: "${options.current}" is none of the keys`);
    this.#options = options;
  }

  /** Under the current key, bound to the subject. */
  async wrap(secret: Buffer, subject: string): Promise<Buffer> {
    const { current, random = systemRandom } = this.#options;
    const name = Buffer.from(current);
    const nonce = random.bytes(nonceBytes);
    const cipher = createCipheriv("aes-256-gcm", this.#key(current), nonce).setAAD(Buffer.from(subject));
    const sealed = [cipher.update(secret), cipher.final()];
    return Buffer.concat([Buffer.of(name.length), name, nonce, ...sealed, cipher.getAuthTag()]);
  }

  /**
   * Under the key that it names.
   *
   * @throws KafkaError KEY_NOT_GRANTED where this program does not have that.
   */
  async unwrap(wrapped: Uint8Array, subject: string): Promise<Buffer> {
    const bytes = Buffer.from(wrapped);
    const nameEnd = 1 + (bytes[0] ?? 0);
    const name = bytes.toString("utf8", 1, nameEnd);
    const nonceEnd = nameEnd + nonceBytes;
    const tagBegin = bytes.length - tagBytes;
    const key = this.#key(name);
    try {
      const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(nameEnd, nonceEnd), {
        authTagLength: tagBytes,
      });
      decipher.setAAD(Buffer.from(subject)).setAuthTag(bytes.subarray(tagBegin));
      return Buffer.concat([decipher.update(bytes.subarray(nonceEnd, tagBegin)), decipher.final()]);
    } catch (error) {
      const sentence = `the data key of ${subject} cannot be unwrapped by "${name}": ${sentenceOf(error)}`;
      throw new KafkaError("KEY_NOT_FOUND", sentence, { cause: error });
    }
  }

  #key(name: string): Uint8Array {
    const key = Object.hasOwn(this.#options.keys, name) ? this.#options.keys[name] : undefined;
    if (key !== undefined) return key;
    throw new KafkaError(
      "KEY_NOT_GRANTED",
      `a data key is wrapped by "${name}", which is not among the keys given here`,
    );
  }
}
