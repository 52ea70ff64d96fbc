import { Cluster, json, text, topic, validated } from "@millrace/client";
import { z } from "zod";

/**
 * `millrace-key-sums.ts BOOTSTRAP COUNT`: sums numbers by key, as a user of our client would write it: what
 * kafka_python_key_sums.py does. It ends after COUNT numbers.
 */
const [bootstrap = "", count = "0"] = process.argv.slice(2);

/** `next` is the offset behind the last number in the sum: a number that is read again is not added again. */
const Sum = z.object({ sum: z.number(), next: z.number() });
const numbers = topic("input_topic", { key: text(), value: validated(json(), z.number()) });
const states = topic("key_sums_state", { key: text(), value: validated(json(), Sum) });
const sums = topic("key_sums", { key: text(), value: json<{ readonly key: string; readonly total_sum: number }>() });

await using cluster = new Cluster({ brokers: [bootstrap], clientId: "key-sums" });

const state = new Map<string, z.infer<typeof Sum>>();
for await (const { key, value } of cluster.consumer().records(states, { untilEnd: true })) state.set(key, value);

await using producer = cluster.producer();
await using consumer = cluster.consumer({ group: "key-sums", commit: "manual" });
let left = Number(count);
for await (const batch of consumer.batches(numbers, { from: "earliest", countMax: Math.min(100, left) })) {
  const taken = [...batch].slice(0, left);
  for (const { key, value, offset } of taken) {
    const known = state.get(key) ?? { sum: 0, next: 0 };
    if (offset < known.next) continue;
    const sum = { sum: known.sum + value, next: offset + 1 };
    state.set(key, sum);
    producer.enqueue(states, { key, value: sum });
    if (sum.sum > 1_000) producer.enqueue(sums, { key, value: { key, total_sum: sum.sum } });
  }
  await producer.flush();
  const last = taken.at(-1);
  if (last !== undefined) {
    const { partition, offset } = last;
    await consumer.commit([{ topic: numbers.name, partition, offset: offset + 1, leaderEpoch: -1 }]);
  }
  left -= taken.length;
  if (left === 0) break;
}
