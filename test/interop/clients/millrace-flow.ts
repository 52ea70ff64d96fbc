import { setTimeout as sleep } from "node:timers/promises";
import { Cluster } from "@millrace/client";

/**
 * `millrace-flow.ts BOOTSTRAP TOPIC ROUNDS RECORDS`: so many records a round go through a producer and a consumer of a
 * group. When all of a round are read, a line says what the process holds after a collection.
 */
const [bootstrap = "", topic = "", rounds = "1", records = "1"] = process.argv.slice(2);
const recordsPerRound = Number(records);

await using cluster = new Cluster({ brokers: [bootstrap], clientId: "flow" });
await using producer = cluster.producer({ lingerMs: 5, compression: "lz4" });
await using consumer = cluster.consumer({ group: "flow", commitIntervalMs: 1_000 });
const read = { count: 0, sum: 0 };
const running = consumer.run(
  topic,
  ({ key, value, headers }) => {
    read.count++;
    read.sum += Number(key?.toString()) + (value?.length ?? 0) + (headers.get("round") ?? "").length;
  },
  { from: "earliest" },
);

const value = Buffer.alloc(100, "x");
let sentSum = 0;
for (let round = 1; round <= Number(rounds); round++) {
  const headers = { round: `${round % 10}` };
  for (let index = 0; index < recordsPerRound; index++) {
    const key = `${index % 1_000}`;
    producer.enqueue(topic, { key, value, headers });
    sentSum += Number(key) + value.length + 1;
    if (index % 100 === 0) await producer.ready();
  }
  await producer.flush();
  const sentCount = round * recordsPerRound;
  while (read.count < sentCount) await Promise.race([sleep(5), running]);
  if (read.count > sentCount || read.sum !== sentSum)
    throw new Error(`${read.count} were read with sum ${read.sum}, ${sentCount} sent with ${sentSum}`);
  // What ends with a request, or at the next turn, has ended.
  await sleep(50);
  globalThis.gc?.();
  globalThis.gc?.();
  const { heapUsed, arrayBuffers, rss } = process.memoryUsage();
  console.log(JSON.stringify({ round, heapUsed, arrayBuffers, rss }));
}
await consumer.close();
await running;
