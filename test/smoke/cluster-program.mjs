// A cluster in a process, as a test of somebody's would have it.
import { Cluster } from "@millrace/client";
import { startCluster } from "millrace";

const cluster = await startCluster({ nodes: 3 });
const client = new Cluster({ brokers: cluster.bootstrap });
await client.admin().topics.create({ name: "smoke", partitions: 1 });
const producer = client.producer();
for (let at = 0; at < 5; at++) await producer.send("smoke", { value: `value ${at}` });
await cluster.brokers[0].restart();
for (let at = 5; at < 10; at++) await producer.send("smoke", { value: `value ${at}` });
const consumer = client.consumer();
let count = 0;
for await (const _ of consumer.records("smoke", { untilEnd: true })) count++;
await client.close();
await cluster[Symbol.asyncDispose]();
console.log(`${cluster.bootstrap.length} nodes have ${count} records`);
