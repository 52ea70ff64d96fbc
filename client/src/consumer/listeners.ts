import type { Logger } from "@millrace/base/logger";
import type { ConsumerEvents } from "./options.ts";

export type Listener<Event> = (event: Event) => void | Promise<void>;

/** Who wants to hear of what. A listener that throws keeps nobody from anything: it is logged. */
export class Listeners {
  readonly #logger: Logger;
  readonly #byName = new Map<keyof ConsumerEvents, Set<Listener<never>>>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Gives a function that ends it. */
  on<Name extends keyof ConsumerEvents>(name: Name, listener: Listener<ConsumerEvents[Name]>): () => void {
    const listeners = this.#byName.get(name) ?? new Set();
    this.#byName.set(name, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  /** Settles when all have. */
  async tell<Name extends keyof ConsumerEvents>(name: Name, event: ConsumerEvents[Name]): Promise<void> {
    const listeners = this.#byName.get(name);
    if (listeners === undefined) return;
    for (const listener of [...listeners]) {
      try {
        await (listener as Listener<ConsumerEvents[Name]>)(event);
      } catch (error) {
        this.#logger.error("a listener of a consumer failed", { event: name, error });
      }
    }
  }
}
