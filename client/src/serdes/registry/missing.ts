import type { KafkaError } from "../../errors.ts";

/** What a registry said not to have, for a while: damaged records name any ids, again and again. */
export class Missing {
  readonly #maxAgeMs: number;
  /** The oldest first, since all are believed for as long. */
  readonly #entries = new Map<string, { readonly error: KafkaError; readonly untilMs: number }>();

  constructor(maxAgeMs: number) {
    this.#maxAgeMs = maxAgeMs;
  }

  get size(): number {
    return this.#entries.size;
  }

  note(key: string, error: KafkaError, nowMs: number): void {
    this.#forget(nowMs);
    this.#entries.delete(key);
    this.#entries.set(key, { error, untilMs: nowMs + this.#maxAgeMs });
  }

  find(key: string, nowMs: number): KafkaError | null {
    this.#forget(nowMs);
    return this.#entries.get(key)?.error ?? null;
  }

  #forget(nowMs: number): void {
    for (const [key, { untilMs }] of this.#entries) {
      if (untilMs > nowMs) return;
      this.#entries.delete(key);
    }
  }
}
