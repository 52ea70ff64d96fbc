import { zeroUuid } from "kafka-protocol-ts/reader";

/** Of each name so many topics that are gone are remembered. */
const formerMax = 8;

/**
 * Which topics have had which name. An id never comes back: a broker that names one which another has followed has not heard
 * of that yet, and whoever believed it would read the new topic from its beginning once more.
 */
export class TopicIds {
  readonly #last = new Map<string, string>();
  readonly #former = new Map<string, readonly string[]>();

  /** The topic is gone: another one of this name was there later. */
  isFormer(name: string, topicId: string): boolean {
    return this.#former.get(name)?.includes(topicId) ?? false;
  }

  see(name: string, topicId: string): void {
    // From a broker that knows no ids yet: which topic it is, it does not say.
    if (topicId === zeroUuid) return;
    const last = this.#last.get(name);
    if (last === topicId) return;
    this.#last.set(name, topicId);
    if (last !== undefined) this.#former.set(name, [...(this.#former.get(name) ?? []), last].slice(-formerMax));
  }
}
