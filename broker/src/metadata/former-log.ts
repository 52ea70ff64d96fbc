import type { Logger } from "@millrace/base/logger";
import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import { DiskError } from "@millrace/base/world";
import type { Disk } from "@millrace/base/world";
import { frameAt, frameBytes, nextFrame } from "./frames.ts";
import { decodeBatch, UnknownMetadataRecord } from "./records.ts";
import type { MetadataRecord, RecordBatch } from "./records.ts";

export type FormerLogFailure = "corrupt" | "unknown-record" | "disk-failed";

/** The metadata of a broker that was its own controller: an image is the snapshot's records, then the batches. */
export interface FormerLog {
  /** The fewest records that stand for all up to and with `offset`. */
  readonly snapshot: { readonly offset: number; readonly records: readonly MetadataRecord[] } | null;
  /** Behind the snapshot, or from offset 0 on, without a gap. */
  readonly batches: readonly RecordBatch[];
  /** Of the last record; -1: there is none. */
  readonly offset: number;
}

interface FormerPlace {
  readonly disk: Disk;
  /** `<data>/metadata`. */
  readonly directory: string;
}

const snapshotName = "snapshot";
const temporaryName = "snapshot.tmp";
const logName = /^(\d{20})\.log$/;
/** msgpack's byte for an array of three: what every batch begins with. */
const batchByte = 0x93;

/*
 * Before there were quorums a broker kept its metadata in `<data>/metadata/` like this:
 *
 *     00000000000000000000.log   frames, one a decision; named by the offset of its first record
 *     snapshot                   the same image in fewer records; the log files before it are gone
 *
 * It is read once and replaced by the quorum's files, so nothing here writes.
 */

/** Whether a former log lies there, or what a removal has left of one: where the quorum has a store, it is only to be removed. */
export async function hasFormerLog({ disk, directory }: FormerPlace): Promise<boolean> {
  return (await formerNames({ disk, directory })).length > 0;
}

/** Reads what was promised. A torn tail was not: it is passed over. Damage before it is refused by name. */
export async function readFormerLog({
  disk,
  directory,
  logger,
}: FormerPlace & { readonly logger: Logger }): Promise<Result<FormerLog, FormerLogFailure>> {
  try {
    return ok(await read({ disk, directory }, logger));
  } catch (error) {
    if (error instanceof CorruptFormerLog) return failed("corrupt", error.message);
    if (error instanceof UnknownMetadataRecord) return failed("unknown-record", error.message);
    if (error instanceof DiskError) return failed("disk-failed", error.message);
    throw error;
  }
}

/** When it resolves the removal is durable. What stands in its place has to be durable before. */
export async function removeFormerLog({ disk, directory }: FormerPlace): Promise<void> {
  const names = await formerNames({ disk, directory });
  for (const name of names) await disk.removeFile(`${directory}/${name}`);
  if (names.length > 0) await disk.syncDirectory(directory);
}

/** Damage of what was promised: file and position are in the message. */
class CorruptFormerLog extends Error {
  override readonly name = "CorruptFormerLog";
}

async function formerNames({ disk, directory }: FormerPlace): Promise<readonly string[]> {
  if ((await disk.stat(directory)) === null) return [];
  const names = (await disk.list(directory)).map(({ name }) => name);
  return names.filter((name) => name === snapshotName || name === temporaryName || logName.test(name)).sort();
}

async function read({ disk, directory }: FormerPlace, logger: Logger): Promise<FormerLog> {
  const names = await formerNames({ disk, directory });
  const snapshot = names.includes(snapshotName) ? await readSnapshot(disk, `${directory}/${snapshotName}`) : null;
  const firstNeeded = snapshot === null ? 0 : snapshot.offset + 1;
  const bases = names.flatMap((name) => {
    const match = logName.exec(name);
    return match === null ? [] : [Number(match[1])];
  });
  // A crash may have kept files before the snapshot from being removed.
  const needed = bases.filter((_, index) => (bases[index + 1] ?? Number.POSITIVE_INFINITY) > firstNeeded);
  const batches: RecordBatch[] = [];
  let expected = firstNeeded;
  for (const [index, base] of needed.entries()) {
    const path = `${directory}/${String(base).padStart(20, "0")}.log`;
    if (base > expected) {
      throw new CorruptFormerLog(`${path} begins at record ${base}, but record ${expected} is missing`);
    }
    for (const batch of readBatches(path, await disk.readFile(path), { isLast: index === needed.length - 1, logger })) {
      const next = batch.offset + batch.records.length;
      if (next <= expected) continue;
      if (batch.offset !== expected) {
        throw new CorruptFormerLog(`${path} holds record ${batch.offset} where ${expected} belongs`);
      }
      batches.push(batch);
      expected = next;
    }
  }
  return { snapshot, batches, offset: expected - 1 };
}

function readBatches(
  path: string,
  bytes: Buffer,
  { isLast, logger }: { readonly isLast: boolean; readonly logger: Logger },
): readonly RecordBatch[] {
  const batches: RecordBatch[] = [];
  let position = 0;
  while (position < bytes.length) {
    const payload = frameAt(bytes, position);
    if (payload === null) {
      const beyond = nextFrame(bytes, position, (firstByte) => firstByte === batchByte);
      if (beyond !== -1 || !isLast) {
        const what = beyond === -1 ? "but is not the last file" : `while a whole record follows at ${beyond}`;
        throw new CorruptFormerLog(`${path} is damaged at position ${position} ${what}; nothing was changed`);
      }
      logger.warn("the metadata log ends in a change that was not completed; it is passed over", {
        path,
        position,
        bytes: bytes.length - position,
      });
      break;
    }
    batches.push(decodeBatch(payload));
    position += frameBytes(payload);
  }
  return batches;
}

/** A frame that says up to where and how many records, then frames of records. */
async function readSnapshot(disk: Disk, path: string): Promise<NonNullable<FormerLog["snapshot"]>> {
  const bytes = await disk.readFile(path);
  const head = frameAt(bytes, 0);
  if (head === null) throw new CorruptFormerLog(`${path} is damaged at position 0; nothing was changed`);
  const { offset, timeMs: count } = decodeBatch(head);
  const records: MetadataRecord[] = [];
  let position = frameBytes(head);
  while (records.length < count) {
    const payload = frameAt(bytes, position);
    if (payload === null) throw new CorruptFormerLog(`${path} is damaged at position ${position}; nothing was changed`);
    records.push(...decodeBatch(payload).records);
    position += frameBytes(payload);
  }
  return { offset, records };
}
