import { InlineWorkers } from "@millrace/base/inline-workers";
import { silentLogger } from "@millrace/base/logger";
import { openMetadataStore } from "@millrace/broker/metadata/metadata-store";
import { ReplayedImage } from "@millrace/broker/metadata/image";
import { decodeBatch } from "@millrace/broker/metadata/records";
import { defaultCleanerSettings } from "@millrace/storage/cleaner/cleaner";
import { LogDirectories } from "@millrace/storage/log-directories";
import { defaultLogConfig } from "@millrace/storage/log-config";
import { decodeMetaProperties } from "@millrace/storage/meta-properties";
import { verifyDirectory } from "@millrace/storage/verify";
import { isDeepStrictEqual } from "node:util";
import { SeededRandom } from "../seeded-random.ts";
import { lastByKey } from "./compacted.ts";
import type { SimulatedDisk } from "../simulated-disk.ts";
import type { VirtualClock } from "../virtual-clock.ts";
import { dataDirectory } from "./node.ts";
import type { Node } from "./node.ts";
import type { Story } from "./story.ts";

export interface Inspected {
  readonly clock: VirtualClock;
  readonly nodes: readonly Node[];
  readonly story: Story;
}

/** A log as it lies on one node. */
interface Replica {
  readonly node: string;
  readonly startOffset: number;
  /** By base offset. */
  readonly batches: ReadonlyMap<number, Buffer>;
  readonly endOffset: number;
  readonly producers: readonly Remembered[];
}

/** What a log knows of a producer. */
interface Remembered {
  readonly producerId: number;
  readonly epoch: number;
  readonly coordinatorEpoch: number;
  readonly marks: readonly {
    readonly lastOffset: number;
    readonly offsetDelta: number;
    readonly lastSequence: number;
  }[];
  readonly currentTxnFirstOffset: number;
}

/**
 * Looks at the disks of nodes that have stopped in peace: each log directory for itself, the replicas of each partition beside each
 * other, what is remembered of producers beside what a log alone gives, and the metadata.
 */
export async function inspectNodes(inspected: Inspected): Promise<void> {
  const { nodes, story } = inspected;
  const replicas = new Map<string, Replica[]>();
  for (const node of nodes) {
    const verified = await verifyDirectory(node.platter, dataDirectory);
    for (const { path, position, message } of verified.problems)
      story.fault(`disk of ${node.name}: ${path} at ${position}: ${message}`);
    const kept = await logsOf(inspected, node, node.platter.afterProcessDeath());
    const rebuilt = await logsOf(inspected, node, await withoutMemory(node.platter));
    for (const [name, replica] of kept) {
      const again = rebuilt.get(name)?.producers ?? [];
      const [one, two] = [replica.producers, again].map((each) => comparable(name, each, replica.startOffset));
      if (!isDeepStrictEqual(one, two))
        story.fault(`producers of ${name} on ${node.name}: ${shown(one)}, and by the log alone ${shown(two)}`);
      replicas.set(name, [...(replicas.get(name) ?? []), replica]);
    }
  }
  for (const [name, ofPartition] of replicas) compare(name, ofPartition, story);
  await compareMetadata(inspected);
}

function shown(value: unknown): string {
  return JSON.stringify(value)?.slice(0, 600) ?? "nothing";
}

/**
 * Of what retention has taken only the snapshots know, which a replica that has come later does not have; and compaction leaves of each
 * producer the last batch.
 */
function comparable(name: string, producers: readonly Remembered[], startOffset: number): unknown {
  const isCompacted = compactedTopics.test(name);
  return producers
    .map(({ marks, ...producer }) => {
      const kept = marks.filter(({ lastOffset, offsetDelta }) => lastOffset - offsetDelta >= startOffset);
      return { ...producer, marks: isCompacted ? kept.slice(-1).map(({ lastSequence }) => lastSequence) : kept };
    })
    .filter(({ marks }) => startOffset === 0 || marks.length > 0);
}

// --- Logs ---------------------------------------------------------------------------------------------------------------

async function logsOf(inspected: Inspected, node: Node, disk: SimulatedDisk): Promise<ReadonlyMap<string, Replica>> {
  const { clock, story } = inspected;
  const meta = decodeMetaProperties((await disk.readFile(`${dataDirectory}/meta.properties`)).toString());
  const found = new Map<string, Replica>();
  const opened = await LogDirectories.open({
    paths: [dataDirectory],
    disk,
    clock,
    random: new SeededRandom(1),
    logger: silentLogger,
    clusterId: meta.ok ? meta.value.clusterId : null,
    directoryId: meta.ok ? meta.value.directoryId : null,
    nodeId: node.id,
    areReplicated: true,
    // It knows up to where offsets may be missing.
    cleaner: { workers: new InlineWorkers(), settings: () => ({ ...defaultCleanerSettings, isEnabled: false }) },
  });
  if (!opened.ok) {
    story.fault(`disk of ${node.name} does not open: ${opened.message ?? opened.failure}`);
    return found;
  }
  const logs = opened.value;
  const loaded = await logs.load(() => defaultLogConfig);
  if (!loaded.ok) story.fault(`logs of ${node.name} do not load: ${loaded.message ?? loaded.failure}`);
  else
    for (const report of loaded.value)
      for (const offline of report.offline) story.fault(`a log of ${node.name} is offline: ${shown(offline)}`);
  for (const log of logs.logs()) {
    const name = `${log.topic}-${log.partition} ${log.topicId}`;
    const bytes: Buffer[] = [];
    for (const file of await segmentFiles(disk, log.directory)) bytes.push(await disk.readFile(file));
    const producers = [...log.producers()]
      .map(({ producerId, epoch, coordinatorEpoch, marks, currentTxnFirstOffset }) => ({
        ...{ producerId, epoch, coordinatorEpoch, marks, currentTxnFirstOffset },
      }))
      .sort((a, b) => a.producerId - b.producerId);
    found.set(name, {
      node: node.name,
      startOffset: log.logStartOffset,
      endOffset: log.logEndOffset,
      batches: batchesOf(bytes),
      producers,
    });
  }
  await logs.close();
  return found;
}

export async function segmentFiles(disk: SimulatedDisk, directory: string): Promise<string[]> {
  const names = (await disk.list(directory)).map(({ name }) => name).filter((name) => name.endsWith(".log"));
  return names.sort().map((name) => `${directory}/${name}`);
}

const headBytes = 12;

/** By base offset; what lies behind the last batch of a segment is room. */
export function batchesOf(segments: readonly Buffer[]): Map<number, Buffer> {
  const batches = new Map<number, Buffer>();
  for (const bytes of segments) {
    let position = 0;
    while (position + headBytes <= bytes.length) {
      const length = bytes.readInt32BE(position + 8);
      if (length <= 0) break;
      const end = position + headBytes + length;
      batches.set(Number(bytes.readBigInt64BE(position)), bytes.subarray(position, end));
      position = end;
    }
  }
  return batches;
}

/** The same disk, with nothing in it that could be made from the logs. */
async function withoutMemory(platter: SimulatedDisk): Promise<SimulatedDisk> {
  const disk = platter.afterProcessDeath();
  for (const { name, kind } of await disk.list(dataDirectory)) {
    if (kind !== "directory") continue;
    for (const file of await disk.list(`${dataDirectory}/${name}`))
      if (/\.(snapshot|index|timeindex|txnindex)$/.test(file.name))
        await disk.removeFile(`${dataDirectory}/${name}/${file.name}`);
  }
  await disk.removeFile(`${dataDirectory}/.kafka_cleanshutdown`);
  await disk.removeFile(`${dataDirectory}/recovery-point-offset-checkpoint`);
  return disk;
}

function compare(name: string, [first, ...others]: readonly Replica[], story: Story): void {
  if (first === undefined) return;
  for (const other of others) {
    const pair = `${first.node} and ${other.node}`;
    if (first.endOffset !== other.endOffset)
      story.fault(`replicas of ${name} end at ${first.endOffset} and ${other.endOffset} on ${pair}`);
    const start = Math.max(first.startOffset, other.startOffset);
    const [one, two] = [first, other].map(({ producers }) => comparable(name, producers, start));
    if (!isDeepStrictEqual(one, two)) story.fault(`producers of ${name} on ${pair}: ${shown(one)} and ${shown(two)}`);
    if (compactedTopics.test(name)) {
      compareKeys(name, first, other, story);
      continue;
    }
    const offsets = new Set([...first.batches.keys(), ...other.batches.keys()].filter((offset) => offset >= start));
    for (const offset of [...offsets].sort((a, b) => a - b)) {
      const [one, two] = [first.batches.get(offset), other.batches.get(offset)];
      if (one !== undefined && two !== undefined && one.equals(two)) continue;
      story.fault(`replicas of ${name} differ at ${offset} on ${pair}: ${digest(one)} and ${digest(two)}`);
      break;
    }
  }
}

/** For each key the same record is the last, at the same offset; what is gone before it is each replica's own business. */
function compareKeys(name: string, first: Replica, other: Replica, story: Story): void {
  const [one, two] = [lastByKey(first.batches.values()), lastByKey(other.batches.values())];
  for (const key of new Set([...one.keys(), ...two.keys()])) {
    if (one.get(key) === two.get(key)) continue;
    const text = `${one.get(key) ?? "nothing"} and ${two.get(key) ?? "nothing"}`.slice(0, 300);
    story.fault(`replicas of ${name} have for ${key} on ${first.node} and ${other.node}: ${text}`);
    return;
  }
}

const compactedTopics = /^(keys|__consumer_offsets|__transaction_state)-/;

function digest(bytes: Buffer | undefined): string {
  return bytes === undefined ? "nothing" : `${bytes.length} bytes, epoch ${bytes.readInt32BE(headBytes)}`;
}

// --- Metadata -----------------------------------------------------------------------------------------------------------

interface Kept {
  readonly node: string;
  readonly image: ReplayedImage;
  readonly snapshotIndex: number;
  readonly entries: readonly { readonly index: number; readonly term: number; readonly data?: Uint8Array }[];
}

/** All nodes have the same image at the last entry that all of them have. */
async function compareMetadata({ nodes, story }: Inspected): Promise<void> {
  const all: Kept[] = [];
  for (const node of nodes) {
    const image = new ReplayedImage();
    const disk = node.platter.afterProcessDeath();
    const directory = `${dataDirectory}/metadata`;
    const opened = await openMetadataStore({ disk, directory, logger: silentLogger, own: "", image });
    if (!opened.ok) {
      story.fault(`metadata of ${node.name}: ${opened.message ?? opened.failure}`);
      continue;
    }
    const { state, store } = opened.value;
    all.push({ node: node.name, image, snapshotIndex: state.snapshot.index, entries: state.entries });
    await store.close();
  }
  const end = Math.min(...all.map(({ entries, snapshotIndex }) => entries.at(-1)?.index ?? snapshotIndex));
  const start = Math.max(...all.map(({ snapshotIndex }) => snapshotIndex));
  const termsAt = (index: number): Set<number | undefined> =>
    new Set(all.map(({ entries }) => entries.find((entry) => entry.index === index)?.term));
  let common = end;
  while (common > start && termsAt(common).size > 1) common--;
  if (common < start) return;
  const images = all.map(({ node, image, entries }) => {
    for (const entry of entries) {
      const { data } = entry;
      if (entry.index > common || data === undefined) continue;
      image.replay(decodeBatch(Buffer.from(data.buffer, data.byteOffset, data.length)));
    }
    return {
      node,
      text: [...image.records()]
        .map((record) => JSON.stringify(record))
        .sort()
        .join("\n"),
    };
  });
  const [first, ...others] = images;
  for (const other of others)
    if (first !== undefined && other.text !== first.text)
      story.fault(
        `metadata at ${common} of ${first.node} and ${other.node} differs: ${firstDifference(first.text, other.text)}`,
      );
}

function firstDifference(a: string, b: string): string {
  const [ours, theirs] = [new Set(a.split("\n")), new Set(b.split("\n"))];
  const only = (one: Set<string>, other: Set<string>): string => [...one].find((line) => !other.has(line)) ?? "nothing";
  return `${only(ours, theirs)} and ${only(theirs, ours)}`.slice(0, 500);
}
