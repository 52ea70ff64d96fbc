import { must } from "@millrace/base/assert";
import type { Uuid } from "@millrace/storage/types";

/**
 * How many partitions of which topics have a replica at a broker. It changes with the replicas only, not with leaders
 * and ISRs, and makes the partitions of one broker findable without a look at every topic.
 */
export class ReplicaCounts {
  readonly #byBroker = new Map<number, Map<Uuid, number>>();

  /** One more partition of the topic has these replicas. */
  add(topicId: Uuid, replicas: readonly number[]): void {
    for (const broker of replicas) {
      let topics = this.#byBroker.get(broker);
      if (topics === undefined) this.#byBroker.set(broker, (topics = new Map<Uuid, number>()));
      topics.set(topicId, (topics.get(topicId) ?? 0) + 1);
    }
  }

  remove(topicId: Uuid, replicas: readonly number[]): void {
    for (const broker of replicas) {
      const topics = must(this.#byBroker.get(broker), `the replicas of broker ${broker}`);
      const left = must(topics.get(topicId), `the replicas of ${topicId} at broker ${broker}`) - 1;
      if (left > 0) topics.set(topicId, left);
      else topics.delete(topicId);
      if (topics.size === 0) this.#byBroker.delete(broker);
    }
  }

  topicsOf(brokerId: number): Iterable<Uuid> {
    return this.#byBroker.get(brokerId)?.keys() ?? [];
  }
}
