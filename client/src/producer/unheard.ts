import type { KafkaError } from "../errors.ts";

/** Failures of records for which nobody waits and nobody listens: the first one is thrown where somebody looks. */
export class Unheard {
  #first: KafkaError | null = null;

  get isNoted(): boolean {
    return this.#first !== null;
  }

  note(error: KafkaError): void {
    this.#first ??= error;
  }

  /** Throws once what was noted. */
  throwFirst(): void {
    const error = this.#first;
    if (error === null) return;
    this.#first = null;
    throw error;
  }
}
