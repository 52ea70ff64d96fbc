import { Cluster } from "@millrace/client";
import { keyValues, wholeNumber } from "../arguments.ts";
import type { BootstrapOptions, CreateTopicOptions } from "../program.ts";

const cluster = ({ bootstrap }: BootstrapOptions): Cluster =>
  new Cluster({ brokers: bootstrap.split(","), clientId: "millrace-cli" });
const print = (line: string): void => void process.stdout.write(`${line}\n`);

export async function createTopic(name: string, options: CreateTopicOptions): Promise<void> {
  await using connected = cluster(options);
  const partitions = wholeNumber("--partitions", options.partitions);
  const replicationFactor = wholeNumber("--replication-factor", options.replicationFactor);
  await connected.admin().topics.create({
    name,
    config: keyValues(options.config),
    ...(partitions === undefined ? {} : { partitions }),
    ...(replicationFactor === undefined ? {} : { replicationFactor }),
  });
  print(`created topic ${name}`);
}

export async function listTopics(options: BootstrapOptions): Promise<void> {
  await using connected = cluster(options);
  for (const { name } of await connected.admin().topics.list()) print(name);
}

export async function describeTopic(name: string, options: BootstrapOptions): Promise<void> {
  await using connected = cluster(options);
  const topic = await connected.admin().topics.describe(name);
  print(`topic ${topic.name}  id ${topic.topicId}  partitions ${topic.partitions.length}`);
  for (const [key, value] of topic.config) print(`  ${key}=${value}`);
  for (const { index, leaderId, leaderEpoch, replicas, inSyncReplicas } of topic.partitions) {
    print(
      `  partition ${index}  leader ${leaderId}  epoch ${leaderEpoch}  replicas ${replicas.join(",")}  isr ${inSyncReplicas.join(",")}`,
    );
  }
}

export async function deleteTopic(name: string, options: BootstrapOptions): Promise<void> {
  await using connected = cluster(options);
  await connected.admin().topics.delete(name);
  print(`deleted topic ${name}`);
}
