import type { Logger } from "./logger.ts";

/** Says each thing once, however often it comes up. */
export class Warnings {
  readonly #logger: Logger;
  readonly #said = new Set<string>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  once(message: string): void {
    if (this.#said.has(message)) return;
    this.#said.add(message);
    this.#logger.warn(message);
  }

  /** For options that nobody knows: a slip, or of a later KafkaJS. `where` is what they were given to: "kafka.producer". */
  unknownOptions(where: string, options: object | undefined, known: readonly string[]): void {
    for (const [name, value] of Object.entries(options ?? {})) {
      if (value === undefined || known.includes(name)) continue;
      this.once(`${where}: the option "${name}" is not known and has no effect; known are ${known.join(", ")}`);
    }
  }
}
