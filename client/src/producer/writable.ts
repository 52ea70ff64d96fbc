import type { KafkaError } from "../errors.ts";
import type { Front } from "./front.ts";
import type { AnyRecord } from "./interceptors.ts";
import type { Outbox } from "./outbox.ts";
import type { AnyTopic } from "./records.ts";

/**
 * Records of a stream. A write waits while the buffer is full; the first record that is not delivered ends the stream with
 * its error; closing waits until all are delivered.
 */
export function writableOf(front: Front, outbox: Outbox, topic: AnyTopic): WritableStream<AnyRecord> {
  const failures: KafkaError[] = [];
  let onFailure: ((error: KafkaError) => void) | null = null;
  const sink = {
    delivered: (): void => {},
    failed: (error: KafkaError): void => {
      if (failures.length > 0) return;
      failures.push(error);
      onFailure?.(error);
    },
  };
  return new WritableStream<AnyRecord>(
    {
      start(controller) {
        onFailure = (error) => controller.error(error);
      },
      async write(record) {
        // Before it: others may have filled the buffer.
        await outbox.room();
        front.enqueue(topic, record, sink);
      },
      async close() {
        await outbox.flush();
        for (const failure of failures) throw failure;
      },
    },
    { highWaterMark: 64 },
  );
}
