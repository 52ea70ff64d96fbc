/** In the place of a value that cannot be read here. Written again by the same serde it is what it was before. */
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

  abstract readonly reason: "shredded" | "withheld";

  /** "[shredded]": for a log, or whoever prints a record. */
  toString(): string {
    return `[${this.reason}]`;
  }

  toJSON(): string {
    return this.toString();
  }
}

/** Its key was destroyed: nobody will ever read it. */
export class Shredded extends Hidden {
  readonly reason = "shredded";
}

/** There is a key, which this reader was not granted. */
export class Withheld extends Hidden {
  readonly reason = "withheld";
}
