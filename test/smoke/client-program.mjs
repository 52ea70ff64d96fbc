// What a program of somebody's does with the installed client: 1,000 records in, 1,000 records out. Arguments: the broker, a topic.
import { Cluster, json, text, topic } from "@millrace/client";

const [address, name] = process.argv.slice(2);
const count = 1_000;
const readings = topic(name, { key: text(), value: json() });

await using cluster = new Cluster({ brokers: [address], clientId: "smoke" });
await cluster.admin().topics.create({ name, partitions: 3 });

await using producer = cluster.producer({ compression: "gzip" });
for (let index = 0; index < count; index++) {
  producer.enqueue(readings, { key: `k${index % 7}`, value: { index } });
  await producer.ready();
}
await producer.flush();

await using consumer = cluster.consumer({ group: `${name}-readers` });
const seen = new Set();
const lastOf = new Map();
for await (const { key, value, offset } of consumer.records(readings, { from: "earliest" })) {
  if ((lastOf.get(key) ?? -1) >= value.index) throw new Error(`${key}: ${value.index} comes too late (${offset})`);
  lastOf.set(key, value.index);
  seen.add(value.index);
  if (seen.size === count) break;
}
console.log(`read ${seen.size} records`);
