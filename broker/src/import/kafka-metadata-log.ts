import { MalformedMessage } from "kafka-protocol-ts/malformed";
import { RecordBatchView } from "kafka-protocol-ts/records/batch";
import { ControlType, readControlKey } from "kafka-protocol-ts/records/control";
import { readRecords } from "kafka-protocol-ts/records/record";
import type { Disk, DiskFile } from "@millrace/base/world";
import { scanBatches } from "@millrace/storage/batch-scan";
import { parseSegmentFileName, segmentFileName } from "@millrace/storage/file-names";
import type { Offset } from "@millrace/storage/types";
import { ImportRefused } from "./import-refused.ts";
import { KafkaMetadata } from "./kafka-metadata.ts";

/** `END-EPOCH.checkpoint`: everything below offset END, in fewer records (KIP-630). */
const snapshotName = /^(\d{20})-(\d{10})\.checkpoint$/;

interface Snapshot {
  readonly name: string;
  readonly endOffset: number;
}

/** Replays `__cluster_metadata-0` of a stopped Apache Kafka: its newest snapshot, then the log from there on. */
export async function readKafkaMetadata(disk: Disk, directory: string): Promise<KafkaMetadata> {
  const image = new KafkaMetadata();
  const names = (await disk.list(directory)).map(({ name }) => name);
  const snapshot = newestSnapshot(names);
  if (snapshot !== null) {
    const replay = (record: Buffer, offset: number): void => image.replay(record, offset);
    await replayFile(disk, `${directory}/${snapshot.name}`, { nextOffset: 0, isSnapshot: true, replay });
  }
  let nextOffset = snapshot?.endOffset ?? 0;
  const bases = names
    .flatMap((name) => parseSegmentFileName(name) ?? [])
    .flatMap(({ baseOffset, suffix }) => (suffix === ".log" ? [baseOffset] : []))
    .sort((a, b) => a - b);
  // A segment is needed unless the next one begins at or below what the snapshot ends with.
  const needed = bases.filter((_, index) => (bases[index + 1] ?? Number.POSITIVE_INFINITY) > nextOffset);
  const from = nextOffset;
  for (const base of needed) {
    const path = `${directory}/${segmentFileName(base, ".log")}`;
    if (base > nextOffset)
      throw new ImportRefused(`${path}: metadata records from offset ${nextOffset} on are missing`);
    const replay = (record: Buffer, offset: number): void => {
      if (offset >= from) image.replay(record, offset);
    };
    nextOffset = Math.max(nextOffset, await replayFile(disk, path, { nextOffset: base, isSnapshot: false, replay }));
  }
  return image;
}

function newestSnapshot(names: readonly string[]): Snapshot | null {
  let newest: Snapshot | null = null;
  // Names sort as their offsets and epochs do.
  for (const name of names.toSorted()) {
    const found = snapshotName.exec(name);
    if (found !== null) newest = { name, endOffset: Number(found[1]) };
  }
  return newest;
}

interface Replaying {
  readonly nextOffset: number;
  readonly isSnapshot: boolean;
  replay(record: Buffer, offset: number): void;
}

/** Every record of a file, in order; its checksums are made again first. Gives the offset after the last one. */
async function replayFile(disk: Disk, path: string, options: Replaying): Promise<number> {
  const file = await disk.open(path, "read");
  try {
    const places: { readonly position: number; readonly sizeBytes: number }[] = [];
    const scanned = await scanBatches(file, {
      from: 0,
      to: await file.sizeBytes(),
      nextOffset: options.nextOffset as Offset,
      isCrcChecked: true,
      visit: ({ sizeBytes }, position) => void places.push({ position, sizeBytes }),
    });
    if (scanned.fault !== null) {
      throw new ImportRefused(`${path} position ${scanned.position} offset ${scanned.nextOffset}: ${scanned.fault}`);
    }
    let isEnded = !options.isSnapshot;
    for (const place of places) {
      const batch = await readBatch(file, place);
      for (const { key, value, offset } of recordsOf(batch, `${path} position ${place.position}`)) {
        if (batch.isControl) isEnded ||= isFooter(key, `${path} offset ${offset}`);
        else if (value === null) throw new ImportRefused(`${path} offset ${offset}: a metadata record without a value`);
        else options.replay(value, offset);
      }
    }
    // Kafka renames a snapshot when its footer is written: one without was cut.
    if (!isEnded) throw new ImportRefused(`${path}: the snapshot has no end`);
    return scanned.nextOffset;
  } finally {
    await file.close();
  }
}

async function readBatch(
  file: DiskFile,
  { position, sizeBytes }: { readonly position: number; readonly sizeBytes: number },
): Promise<RecordBatchView> {
  const bytes = Buffer.allocUnsafe(sizeBytes);
  await file.read(bytes, position);
  return new RecordBatchView(bytes);
}

function recordsOf(batch: RecordBatchView, where: string): ReturnType<typeof readRecords> {
  try {
    return readRecords(batch);
  } catch (error) {
    if (error instanceof MalformedMessage) throw new ImportRefused(`${where}: ${error.message}`, error);
    throw error;
  }
}

/** Of whom the quorum consists, who leads it, how a snapshot begins: nothing that is taken over. */
const skippedControls: ReadonlySet<number> = new Set([
  ControlType.LEADER_CHANGE,
  ControlType.SNAPSHOT_HEADER,
  ControlType.SNAPSHOT_FOOTER,
  ControlType.KRAFT_VERSION,
  ControlType.KRAFT_VOTERS,
]);

function isFooter(key: Buffer | null, where: string): boolean {
  const { type, version } = readControlKey(key);
  if (skippedControls.has(type)) return type === ControlType.SNAPSHOT_FOOTER;
  throw new ImportRefused(`${where}: control record of type ${type} (version ${version}) is unknown`);
}
