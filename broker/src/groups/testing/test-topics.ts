import type { KnownTopic, TopicLookup } from "../topic-lookup.ts";

/** Topics that a test makes, resizes and takes away. A name that comes back is another topic. */
export class TestTopics implements TopicLookup {
  version = 0;
  readonly #topics = new Map<string, KnownTopic>();

  constructor(partitionCounts: Readonly<Record<string, number>> = {}) {
    for (const [name, partitionCount] of Object.entries(partitionCounts)) this.set(name, partitionCount);
  }

  set(name: string, partitionCount: number): void {
    this.version += 1;
    const id = this.#topics.get(name)?.id ?? idOf(name, this.version);
    this.#topics.set(name, { name, id, partitionCount });
  }

  remove(name: string): void {
    this.version += 1;
    this.#topics.delete(name);
  }

  byName(name: string): KnownTopic | null {
    return this.#topics.get(name) ?? null;
  }

  byId(id: string): KnownTopic | null {
    for (const topic of this.#topics.values()) if (topic.id === id) return topic;
    return null;
  }

  names(): Iterable<string> {
    return this.#topics.keys();
  }
}

/** The uuid's text shows the name: 16 bytes as base64url. */
function idOf(name: string, version: number): string {
  return Buffer.from(`${name}~${version}~`.padEnd(16, "~").slice(0, 16)).toString("base64url");
}
