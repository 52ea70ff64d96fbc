// A program in CommonJS: `require` gives the same client, and nothing of its inside. Arguments: the broker, a topic.
const { Cluster, KafkaError } = require("@millrace/client");
const { Kafka } = require("@millrace/client/kafkajs");

async function main([address, name]) {
  if (typeof Kafka !== "function") throw new Error("kafkajs: Kafka is no class");
  let hidden = null;
  try {
    require("@millrace/client/network/wire");
  } catch (error) {
    hidden = error.code;
  }
  if (hidden !== "ERR_PACKAGE_PATH_NOT_EXPORTED") throw new Error(`the inside of the client can be had: ${hidden}`);

  const cluster = new Cluster({ brokers: [address] });
  const producer = cluster.producer();
  await producer.send(name, { value: "from CommonJS" });
  const consumer = cluster.consumer();
  let count = 0;
  for await (const { value } of consumer.records(name, { untilEnd: true })) if (value.length > 0) count++;
  const refused = await producer.send(name, { value: "x", partition: 99 }).catch((error) => error);
  if (!(refused instanceof KafkaError)) throw new Error("an error is not of the class that require gives");
  await cluster.close();
  console.log(`read ${count} records`);
}

void main(process.argv.slice(2));
