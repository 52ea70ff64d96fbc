import { silentLogger } from "@millrace/base/logger";
import type { Result } from "@millrace/base/result";
import type { World } from "@millrace/base/world";
import { forEachOf } from "@millrace/storage/concurrency";
import { fileNames, partitionDirectoryName } from "@millrace/storage/file-names";
import { defaultLogDirectoryLimits } from "@millrace/storage/log-directory-limits";
import { randomUuid } from "@millrace/storage/meta-properties";
import { NewDirectory } from "@millrace/storage/new-directory";
import { verifyDirectory } from "@millrace/storage/verify";
import { BrokerConfigs } from "../config/broker-configs.ts";
import { brokerKeys } from "../config/broker-keys.ts";
import type { BrokerKey, ConfigTable } from "../config/key.ts";
import { allBrokers, ResourceType } from "../config/resources.ts";
import {
  checkBrokerOverrides,
  checkClientMetricsOverrides,
  checkGroupOverrides,
  checkTopicOverrides,
} from "../metadata/controller/check-configs.ts";
import { supportedFeatures } from "../metadata/features.ts";
import { ReplayedImage } from "../metadata/image.ts";
import { noExtras } from "../metadata/records.ts";
import type { MetadataRecord } from "../metadata/records.ts";
import { snapshotFrames } from "../metadata/snapshot.ts";
import { raftIdOf } from "../quorum/node-ids.ts";
import type { QuorumMember } from "../quorum/node-ids.ts";
import { QuorumStore } from "../quorum/store.ts";
import { ImportRefused } from "./import-refused.ts";
import { checkpointOf, KafkaDirectories } from "./kafka-directories.ts";
import type { KafkaLog } from "./kafka-directories.ts";
import { readKafkaMetadata } from "./kafka-metadata-log.ts";
import type { KafkaMetadata, KafkaPartition, KafkaTopic } from "./kafka-metadata.ts";

export interface ImportOptions {
  readonly world: Pick<World, "disk" | "random" | "clock">;
  /** All log directories of one broker. */
  readonly from: readonly string[];
  /** Missing or empty. Paths are absolute. */
  readonly to: string;
  /** What has no counterpart here is left behind; otherwise it is a reason to refuse. */
  readonly dropsUnsupported: boolean;
}

export interface ImportReport {
  readonly clusterId: string;
  readonly nodeId: number;
  readonly topics: number;
  readonly partitions: number;
  readonly bytes: number;
  /** What was left behind, a sentence each. */
  readonly dropped: readonly string[];
  /** What is worth knowing, a sentence each. */
  readonly notes: readonly string[];
}

/** Directories that are copied at the same time. */
const COPIED_AT_ONCE = 4;

/**
 * Makes a data directory of what a stopped Apache Kafka in KRaft mode has on its disk: topics with their ids, settings and
 * records, and the groups' offsets. Kafka's directories are only read.
 *
 *     lock, clean stop? → replay the metadata log → can all of it be served? → copy → verify the copy → millrace.format
 *
 * @throws ImportRefused
 */
export async function importFromKafka(options: ImportOptions): Promise<ImportReport> {
  const { disk } = options.world;
  const around = options.from.find((path) => `${options.to}/`.startsWith(`${path}/`));
  if (around !== undefined) throw new ImportRefused(`${options.to} lies in ${around}, which is only read`);
  await using source = await KafkaDirectories.open(disk, options.from);
  const metadata = await readKafkaMetadata(disk, source.metadataPath);
  const plan = planImport(source, metadata);
  if (plan.unsupported.length > 0 && !options.dropsUnsupported) {
    const list = plan.unsupported.map((each) => `\n  ${each}`).join("");
    throw new ImportRefused(`this cannot be taken over, and --drop-unsupported leaves it behind:${list}`);
  }
  const bytes = await build(options, source, plan);
  return {
    clusterId: source.clusterId,
    nodeId: source.nodeId,
    topics: metadata.topics.size,
    partitions: plan.logs.length,
    bytes,
    dropped: plan.unsupported,
    notes: plan.notes,
  };
}

// --- What is taken over ----------------------------------------------------------------------------------------------

interface Plan {
  readonly logs: readonly KafkaLog[];
  readonly records: readonly MetadataRecord[];
  readonly unsupported: readonly string[];
  readonly notes: readonly string[];
}

function planImport(source: KafkaDirectories, metadata: KafkaMetadata): Plan {
  checkFeatures(metadata);
  const logs: KafkaLog[] = [];
  const records: MetadataRecord[] = [];
  const unsupported: string[] = [];
  const notes = [...source.leftAlone, ...strays(source, metadata)].map(
    (path) => `${path} is no topic's, and stays behind`,
  );
  let shared = 0;
  for (const topic of metadata.topics.values()) {
    records.push({ type: "topic", name: topic.name, id: topic.id });
    for (let index = 0; index < topic.partitions.size; index++) {
      const partition = topic.partitions.get(index);
      if (partition === undefined) throw new ImportRefused(`${topic.name} has no partition ${index}`);
      if (partition.replicas.length > 1) shared++;
      logs.push(logOf(source, { topic, index, partition }));
      records.push(partitionRecord(source, { topic, index, partition }));
    }
  }
  for (const { path, openTransactions } of logs) {
    for (const { producerId, firstOffset } of openTransactions) {
      unsupported.push(
        `${path}: the transaction of producer ${producerId} from offset ${firstOffset} on has not ended. Start Kafka, let it end or time out, and stop it; without that, read_committed consumers wait there`,
      );
    }
  }
  if (shared > 0) {
    notes.push(`${shared} partitions have replicas on other brokers: what only those hold is not taken over`);
  }
  const configs = takeConfigs(source, metadata);
  records.push(...configs.records);
  unsupported.push(...configs.unsupported, ...foreignParts(metadata));
  notes.push(...configs.notes);
  if (metadata.nextProducerId > 0) {
    records.push({ type: "producer-ids", brokerId: -1, nextId: metadata.nextProducerId });
  }
  return { logs, records, unsupported, notes };
}

/** How the metadata itself is to be read; the other features are the broker's to finalise. */
function checkFeatures({ features }: KafkaMetadata): void {
  const level = features.get("metadata.version") ?? 0;
  const known = supportedFeatures.find(({ name }) => name === "metadata.version")?.maxVersion ?? 0;
  if (level > known) throw new ImportRefused(`metadata.version is at level ${level}; up to ${known} is known`);
}

function strays(source: KafkaDirectories, metadata: KafkaMetadata): string[] {
  return [...source.logs.values()].filter(({ topicId }) => !metadata.topics.has(topicId)).map(({ path }) => path);
}

interface PartitionAt {
  readonly topic: KafkaTopic;
  readonly index: number;
  readonly partition: KafkaPartition;
}

function logOf(source: KafkaDirectories, { topic, index, partition }: PartitionAt): KafkaLog {
  const name = partitionDirectoryName(topic.name, index);
  if (!partition.replicas.includes(source.nodeId)) {
    const nodes = partition.replicas.join(", ");
    throw new ImportRefused(
      `${name} is not on node ${source.nodeId} but on ${nodes}: a broker that holds all partitions is needed`,
    );
  }
  const log = source.logs.get(name);
  if (log === undefined) throw new ImportRefused(`there is no directory ${name}: give all log.dirs of the broker`);
  if (log.topicId === topic.id) return log;
  throw new ImportRefused(`${log.path} is of topic id ${log.topicId}, but ${topic.name} has ${topic.id}`);
}

function partitionRecord({ nodeId }: KafkaDirectories, { topic, index, partition }: PartitionAt): MetadataRecord {
  const { leaderEpoch, partitionEpoch } = partition;
  const here = [nodeId];
  return {
    type: "partition",
    topicId: topic.id,
    index,
    replicas: here,
    isr: here,
    leader: nodeId,
    leaderEpoch,
    partitionEpoch,
    ...noExtras,
  };
}

function foreignParts({ foreign }: KafkaMetadata): string[] {
  return Object.entries(foreign)
    .filter(([, names]) => names.size > 0)
    .map(([kind, { size }]) => `${size} ${kind}${size === 1 ? "" : "s"}: not built yet`);
}

// --- Settings --------------------------------------------------------------------------------------------------------

type ConfigCheck = (overrides: ReadonlyMap<string, string>) => Result<unknown, string>;

function takeConfigs(
  { nodeId }: KafkaDirectories,
  metadata: KafkaMetadata,
): { readonly records: readonly MetadataRecord[]; readonly unsupported: readonly string[]; readonly notes: string[] } {
  const overrides = { configVersion: 0, configsOf: () => new Map<string, string>() };
  const context = { configs: new BrokerConfigs({ nodeId, texts: new Map(), overrides }) };
  const checks: Readonly<Record<number, { readonly what: string; check(resource: string): ConfigCheck }>> = {
    [ResourceType.TOPIC]: { what: "topic", check: () => (some) => checkTopicOverrides(context, some) },
    [ResourceType.BROKER]: { what: "broker", check: (resource) => (some) => checkBroker(resource, some) },
    [ResourceType.GROUP]: { what: "group", check: () => (some) => checkGroupOverrides(context, some) },
    [ResourceType.CLIENT_METRICS]: { what: "client metrics", check: () => checkClientMetricsOverrides },
  };
  const records: MetadataRecord[] = [];
  const unsupported: string[] = [];
  const notes: string[] = [];
  for (const [resourceType, resources] of metadata.configs) {
    const kind = checks[resourceType];
    for (const [resourceName, settings] of resources) {
      const isOfOther = resourceType === ResourceType.BROKER && ![allBrokers, String(nodeId)].includes(resourceName);
      if (isOfOther && settings.size > 0) notes.push(`settings of broker ${resourceName} stay behind`);
      if (isOfOther) continue;
      for (const [name, value] of settings) {
        refuseTiered(resourceName, name, value);
        const checked = kind?.check(resourceName)(new Map([[name, value]]));
        if (checked?.ok === true) records.push({ type: "config", resourceType, resourceName, name, value });
        else {
          const where = `${kind?.what ?? `resource of type ${resourceType}`} ${resourceName || "defaults"}`;
          unsupported.push(`${where}, ${name}=${value}: ${checked?.message ?? "unknown"}`);
        }
      }
    }
  }
  return { records, unsupported, notes };
}

/** What would stop the start if it stood in a file must not be lost on this way. */
function checkBroker(resource: string, some: ReadonlyMap<string, string>): Result<unknown, string> {
  const table: ConfigTable<BrokerKey> = brokerKeys;
  for (const name of some.keys()) {
    if (table[name]?.refused !== undefined)
      return { ok: false, failure: "refused", message: `${name} is not built yet` };
  }
  return checkBrokerOverrides(resource, some);
}

/** Its older records lie elsewhere: without them the copy would begin too late. */
function refuseTiered(topic: string, name: string, value: string): void {
  if (name !== "remote.storage.enable" || value !== "true") return;
  throw new ImportRefused(`${topic} has remote.storage.enable=true: its older records are not in its directory`);
}

// --- The new directory -----------------------------------------------------------------------------------------------

/** Gives the bytes that were copied. A failure leaves nothing of it. */
async function build(options: ImportOptions, source: KafkaDirectories, plan: Plan): Promise<number> {
  const { disk, random } = options.world;
  const { clusterId, nodeId } = source;
  // An id of its own: the directory that it is copied from may live on.
  const directoryId = randomUuid(random);
  const begun = await NewDirectory.begin(disk, options.to, { clusterId, nodeId, directoryId });
  if (!begun.ok) throw new ImportRefused(begun.message ?? begun.failure);
  const directory = begun.value;
  try {
    let bytes = 0;
    await forEachOf(plan.logs, COPIED_AT_ONCE, async ({ topic, partition, path: from }) => {
      bytes += await directory.copyLog({ topic, partition, from });
    });
    await writeMetadata(options, { nodeId, directoryId }, plan.records);
    await directory.noteCleanStop({
      recoveryPoints: checkpointOf(plan.logs, (log) => log.recoveryPoint),
      highWatermarks: checkpointOf(plan.logs, (log) => log.highWatermark),
      logStartOffsets: checkpointOf(plan.logs, (log) => log.logStartOffset),
      cleanerOffsets: checkpointOf(plan.logs, (log) => log.cleanerOffset),
    });
    await expectWhole(options);
    await source.expectStillStopped();
    await directory.complete(defaultLogDirectoryLimits.unsyncedBytesMax);
    return bytes;
  } catch (error) {
    await directory.abandon();
    throw error;
  }
}

/** As that of a quorum in which the node votes alone. */
async function writeMetadata(
  { world, to }: ImportOptions,
  { nodeId, directoryId }: QuorumMember,
  records: readonly MetadataRecord[],
): Promise<void> {
  const directory = `${to}/${fileNames.metadataDirectory}`;
  const opened = await QuorumStore.open({ disk: world.disk, directory, logger: silentLogger });
  if (!opened.ok) throw new ImportRefused(opened.message ?? opened.failure);
  const image = new ReplayedImage();
  image.restore(records, records.length - 1);
  try {
    const configuration = { voters: [raftIdOf({ nodeId, directoryId })] };
    await opened.value.store.format({ index: 1, term: 1, configuration }, snapshotFrames(image));
  } finally {
    await opened.value.store.close();
  }
}

/** Every batch of the copy is read once: damage that Kafka had not come across must not become ours. */
async function expectWhole({ world, to }: ImportOptions): Promise<void> {
  const { problems } = await verifyDirectory(world.disk, to);
  const [first] = problems;
  if (first === undefined) return;
  const place = [first.path, ...(first.position === null ? [] : [`position ${first.position}`])].join(" ");
  throw new ImportRefused(
    `what was copied is not whole (${problems.length} findings); the first: ${place}: ${first.message}`,
  );
}
