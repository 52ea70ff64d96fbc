import { systemClock } from "@millrace/base/node/system-clock";
import { Cluster } from "@millrace/client";
import { brokerAddresses, keyValues, wholeNumber } from "../arguments.ts";
import { UsageError } from "../usage-error.ts";
import type { BootstrapOptions, CreateTopicOptions } from "../program.ts";

const cluster = ({ bootstrap }: BootstrapOptions): Cluster =>
  new Cluster({ brokers: brokerAddresses(bootstrap), clientId: "millrace-cli" });
const print = (line: string): void => void process.stdout.write(`${line}\n`);
const replicasMax = 32_767;

export async function createTopic(name: string, options: CreateTopicOptions): Promise<void> {
  const partitions = wholeNumber("--partitions", options.partitions, { min: 1, max: 0x7fff_ffff });
  const replicationFactor = wholeNumber("--replication-factor", options.replicationFactor, {
    min: 1,
    max: replicasMax,
  });
  const config = keyValues("--config", options.config);
  await using connected = cluster(options);
  await connected.admin().topics.create({
    name,
    config,
    ...(partitions === undefined ? {} : { partitions }),
    ...(replicationFactor === undefined ? {} : { replicationFactor }),
  });
  print(`created topic ${name}`);
}

export async function listTopics(options: BootstrapOptions): Promise<void> {
  await using connected = cluster(options);
  for await (const { name } of connected.admin().topics.list({ includeInternal: true })) print(name);
}

export async function describeTopic(name: string, options: BootstrapOptions): Promise<void> {
  await using connected = cluster(options);
  const admin = connected.admin();
  const topic = await admin.topics.describe(name);
  const config = await admin.configs.describe({ type: "topic", name });
  print(`topic ${topic.name}  id ${topic.topicId}  partitions ${topic.partitions.length}`);
  for (const { name: key, value, source } of config.values()) {
    if (source !== "default" && value !== null) print(`  ${key}=${value}`);
  }
  for (const { index, leaderId, leaderEpoch, replicas, inSyncReplicas } of topic.partitions) {
    const leader = leaderId < 0 ? "none" : leaderId;
    const [all, inSync] = [replicas.join(","), inSyncReplicas.join(",")];
    print(`  partition ${index}  leader ${leader}  epoch ${leaderEpoch}  replicas ${all}  isr ${inSync}`);
  }
}

/** Asks for a compaction; the brokers do it in the background, whatever the topic's dirty ratio. */
export async function compactTopic(name: string, options: BootstrapOptions): Promise<void> {
  await using connected = cluster(options);
  const { configs } = connected.admin();
  const config = await configs.describe({ type: "topic", name });
  const policy = config.get("cleanup.policy")?.value ?? "delete";
  if (!policy.split(",").includes("compact"))
    throw new UsageError(`topic ${name} is not compacted: its cleanup.policy is ${policy === "" ? "empty" : policy}`);
  // Larger than what was asked for before, also where a clock stands wrong.
  const before = Number(config.get("millrace.compact.request")?.value ?? 0);
  const request = String(Math.max(systemClock.now(), before + 1));
  await configs.alter({ type: "topic", name, changes: { set: { "millrace.compact.request": request } } });
  print(`asked for a compaction of topic ${name}`);
}

export async function deleteTopic(name: string, options: BootstrapOptions): Promise<void> {
  await using connected = cluster(options);
  await connected.admin().topics.delete(name);
  print(`deleted topic ${name}`);
}
