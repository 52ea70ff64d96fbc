import { partitionKey } from "../topic-partition.ts";
import type { TopicPartition } from "../topic-partition.ts";
import { KafkaJSNonRetriableError, KafkaJSNumberOfRetriesExceeded } from "./errors.ts";
import { RetryPauses } from "./retry.ts";
import type { RunParts } from "./run-parts.ts";

interface Trouble {
  readonly pauses: RetryPauses;
  count: number;
}

const brokenPrograms: ReadonlySet<string> = new Set(["RangeError", "ReferenceError", "SyntaxError", "TypeError"]);

/** What handlers have failed with, by partition, and how often in a row. */
export class Troubles {
  readonly #parts: RunParts;
  readonly #troubles = new Map<string, Trouble>();

  constructor(parts: RunParts) {
    this.#parts = parts;
  }

  forget(partition: TopicPartition): void {
    this.#troubles.delete(partitionKey(partition));
  }

  /** How long the partition waits before its batch comes again; or the error with which the run is over. */
  after(of: TopicPartition, failure: unknown): { readonly pauseMs: number } | { readonly end: Error } {
    const { retry, random, logger } = this.#parts;
    const key = partitionKey(of);
    const error = failure instanceof Error ? failure : new Error(String(failure));
    const { retriable } = error as { readonly retriable?: boolean };
    if (retriable === false || brokenPrograms.has(error.name))
      return { end: new KafkaJSNonRetriableError(error, { cause: error.cause ?? error }) };
    const trouble = this.#troubles.get(key) ?? { pauses: new RetryPauses(retry, random), count: 0 };
    this.#troubles.set(key, trouble);
    const retryTime = trouble.pauses.next();
    if (trouble.count >= retry.retries) {
      this.#troubles.delete(key);
      return { end: new KafkaJSNumberOfRetriesExceeded(error, { retryCount: trouble.count, retryTime }) };
    }
    trouble.count++;
    const { topic, partition } = of;
    logger.debug("the batch comes again", { topic, partition, retryCount: trouble.count, retryTime, error });
    return { pauseMs: retryTime };
  }
}
