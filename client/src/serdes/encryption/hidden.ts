/**
 * In the place of a value that cannot be read here. Written again by the same serde it is what it was before.
 *
 * @example
 *     const shown = (account: unknown): string => (account instanceof Hidden ? `(${account.reason})` : String(account));
 */
export abstract class Hidden {
  /** Where it stands: the path of the field; "" for a whole value. */
  readonly path: string;
  readonly #encrypted: unknown;

  constructor(path: string, encrypted: unknown) {
    this.path = path;
    this.#encrypted = encrypted;
  }

  /** As it lies in the topic. */
  get encrypted(): unknown {
    return this.#encrypted;
  }

  /** Whether the key is gone, or not given to this reader. */
  abstract readonly reason: "shredded" | "withheld";

  /** "[shredded]": for a log, or whoever prints a record. */
  toString(): string {
    return `[${this.reason}]`;
  }

  /** As `toString`, so that a record with hidden fields can be logged. */
  toJSON(): string {
    return this.toString();
  }
}

/**
 * Its key was destroyed: nobody will ever read it.
 *
 * @example
 *     const isGone = (account: unknown): boolean => account instanceof Shredded;
 */
export class Shredded extends Hidden {
  /** The key is gone. */
  readonly reason = "shredded";
}

/**
 * There is a key, which this reader was not granted.
 *
 * @example
 *     const isForOthers = (account: unknown): boolean => account instanceof Withheld;
 */
export class Withheld extends Hidden {
  /** The key is not given to this reader. */
  readonly reason = "withheld";
}
