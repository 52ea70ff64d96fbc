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
  let failure: KafkaError | null = null;
  let onFailure: ((error: KafkaError) => void) | null = null;
  const sink = {
    delivered: (): void => {},
    failed: (error: KafkaError): void => {
      if (failure !== null) return;
      failure = error;
      onFailure?.(error);
    },
  };
  return new WritableStream<AnyRecord>(
    {
      start(controller) {
        onFailure = (error) => controller.error(error);
      },
      write(record) {
        front.enqueue(topic, record, sink);
        return outbox.room();
      },
      async close() {
        await outbox.flush();
        if (failure !== null) throw failure as KafkaError;
      },
    },
    { highWaterMark: 64 },
  );
}
