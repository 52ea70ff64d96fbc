import type { ConsumedOffsets } from "../consumer/consumed-offsets.ts";
import type { HeaderSerdes } from "../serdes/headers.ts";
import type { RecordInput, Topic } from "../topic.ts";
import type { Delivered, ProducerRecord, SendResult } from "./options.ts";
import type { SendOptions, WaitOptions } from "./producer.ts";

/** What gives the offsets of what it holds: a batch of a consumer. */
export interface HasConsumedOffsets {
  /** Where its group goes on behind it, and as which member. */
  consumedOffsets(): ConsumedOffsets;
}

/** A transaction that is open: what is sent and committed with it is seen together, or not at all. */
export interface Transaction {
  /** Aborted when the transaction cannot be committed any more; its reason says why. */
  readonly signal: AbortSignal;
  /** As `Producer.send`. Where it fails, the transaction is aborted. */
  send<Key, Value, Declared extends HeaderSerdes>(
    topic: Topic<unknown, unknown, Key, Value, Declared>,
    record: RecordInput<NoInfer<Key>, NoInfer<Value>, NoInfer<Declared>>,
    options?: SendOptions,
  ): Promise<Delivered>;
  send(topic: string, record: ProducerRecord, options?: SendOptions): Promise<Delivered>;
  /** As `Producer.sendAll`. Where one record fails, the transaction is aborted. */
  sendAll<Key, Value, Declared extends HeaderSerdes>(
    topic: Topic<unknown, unknown, Key, Value, Declared>,
    records: readonly RecordInput<NoInfer<Key>, NoInfer<Value>, NoInfer<Declared>>[],
    options?: SendOptions,
  ): Promise<readonly SendResult[]>;
  sendAll(topic: string, records: readonly ProducerRecord[], options?: SendOptions): Promise<readonly SendResult[]>;
  /** As `Producer.enqueue`. A failure aborts the transaction, which then throws it. */
  enqueue<Key, Value, Declared extends HeaderSerdes>(
    topic: Topic<unknown, unknown, Key, Value, Declared>,
    records:
      | RecordInput<NoInfer<Key>, NoInfer<Value>, NoInfer<Declared>>
      | readonly RecordInput<NoInfer<Key>, NoInfer<Value>, NoInfer<Declared>>[],
  ): void;
  enqueue(topic: string, records: ProducerRecord | readonly ProducerRecord[]): void;
  /** As `Producer.ready`. */
  ready(options?: WaitOptions): Promise<void>;
  /**
   * Commits what was consumed with the transaction: the next offsets, as a member of its group. The group's coordinator
   * refuses a member that has lost its partitions, and then the transaction is aborted.
   */
  commitOffsets(consumed: ConsumedOffsets | HasConsumedOffsets): Promise<void>;
}
