import { existsSync, readFileSync, writeFileSync } from "node:fs";
import type { KeyStorage, StoredKey } from "@millrace/client/serdes/encryption/keys";

type Entry = { readonly subject: string; readonly wrapped: string } | "destroyed";

interface Content {
  readonly keys: Readonly<Record<string, Entry>>;
  /** By subject, the id of its current key; of one that is destroyed "destroyed". */
  readonly current: Readonly<Record<string, string>>;
}

/** Wrapped keys in a file that several processes read, and one writes. */
export class FileKeyStorage implements KeyStorage {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  async byId(id: string): Promise<StoredKey | "destroyed" | null> {
    const entry = this.#read().keys[id];
    if (entry === undefined || entry === "destroyed") return entry ?? null;
    return { id, subject: entry.subject, wrapped: Buffer.from(entry.wrapped, "base64") };
  }

  async current(subject: string): Promise<StoredKey | "destroyed" | null> {
    const id = this.#read().current[subject];
    return id === undefined || id === "destroyed" ? (id ?? null) : this.byId(id);
  }

  async add(key: StoredKey, replaces: string | null): Promise<StoredKey | "destroyed"> {
    const { keys, current } = this.#read();
    const { id, subject, wrapped } = key;
    if ((current[subject] ?? null) !== replaces) return (await this.current(subject)) ?? "destroyed";
    const entry = { subject, wrapped: Buffer.from(wrapped).toString("base64") };
    this.#write({ keys: { ...keys, [id]: entry }, current: { ...current, [subject]: id } });
    return key;
  }

  async destroy(subject: string): Promise<void> {
    const { keys, current } = this.#read();
    const left = Object.entries(keys).map(([id, entry]): [string, Entry] => {
      const isOfSubject = entry !== "destroyed" && entry.subject === subject;
      return [id, isOfSubject ? "destroyed" : entry];
    });
    this.#write({ keys: Object.fromEntries(left), current: { ...current, [subject]: "destroyed" } });
  }

  #read(): Content {
    if (!existsSync(this.#path)) return { keys: {}, current: {} };
    return JSON.parse(readFileSync(this.#path, "utf8")) as Content;
  }

  #write(content: Content): void {
    writeFileSync(this.#path, JSON.stringify(content));
  }
}
