import { replaceFile } from "@millrace/base/replace-file";
import type { Disk } from "@millrace/base/world";
// Without the native part of the package, as for the store's own files.
import { Packr } from "msgpackr/pack";
import type { HardState, NodeId } from "raft-ts-lite";
import { encodeFrame, frameAt, frameBytes } from "../metadata/frames.ts";
import {
  CorruptStore,
  encodeLog,
  encodeSnapshot,
  isCount,
  isTexts,
  lastHardState,
  logFileName,
  readLog,
  readLogHead,
  readSnapshot,
  sequenceOf,
  snapshotName,
  UnknownStoreFormat,
} from "./store-format.ts";

/*
 * What becomes of a store whose snapshot, or a part of whose log, is damaged: the files are kept under other names, and the store begins
 * anew with the term and the vote, which are still known, and nothing else. From then on, and until all that was lost is there again,
 * a file says so:
 *
 *     quorum-recovering    one frame   ["recovering", 1, sequence, term, votedFor, voters]
 *
 * It is durable before anything else is touched, and has all that is needed to go on after a crash at any moment. What the store begins
 * with is there as soon as a snapshot is, and a log whose number is not below `sequence`.
 */

/** With what a damaged store begins anew. */
export interface Remains {
  readonly hardState: HardState;
  /** Whom to ask; the configuration itself comes with the entries. */
  readonly voters: readonly NodeId[];
}

interface Marker extends Remains {
  /** Of the log with which it begins anew. */
  readonly sequence: number;
}

export const markerName = "quorum-recovering";
const markerVersion = 1;
const packr = new Packr({ useRecords: false, variableMapSize: true });

/**
 * The term and the vote of a store that cannot be opened, as its newest log has them. Null: they are not known for certain.
 * @throws DiskError
 */
export async function hardStateLeft(disk: Disk, directory: string): Promise<HardState | null> {
  const [newest] = await logsIn(disk, directory);
  if (newest === undefined) return null;
  const bytes = await disk.readFile(`${directory}/${newest.name}`);
  try {
    const startIndex = orNull(() => readLogHead(newest.name, bytes).start.index) ?? Infinity;
    // Behind a later snapshot there was a later log.
    if (startIndex < (await snapshotIndex(disk, directory))) return null;
    return orNull(() => readLog(newest.name, bytes).hardState) ?? lastHardState(bytes);
  } catch (error) {
    if (error instanceof UnknownStoreFormat) return null;
    throw error;
  }
}

async function snapshotIndex(disk: Disk, directory: string): Promise<number> {
  const path = `${directory}/${snapshotName}`;
  if ((await disk.stat(path)) === null) return 0;
  const bytes = await disk.readFile(path);
  return orNull(() => readSnapshot(path, bytes).point.index) ?? 0;
}

function orNull<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (error instanceof CorruptStore) return null;
    throw error;
  }
}

/**
 * Puts the files of a damaged store aside, and begins it anew. Gives what they are called then.
 * @throws DiskError; after a crash `goOnSettingAside` does the rest
 */
export async function setAside(
  disk: Disk,
  directory: string,
  { hardState, voters }: Remains,
): Promise<readonly string[]> {
  const [newest] = await logsIn(disk, directory);
  const sequence = (newest?.sequence ?? 0) + 1;
  const { term, votedFor } = hardState;
  const payload = packr.pack(["recovering", markerVersion, sequence, term, votedFor, voters]);
  await replaceFile(disk, `${directory}/${markerName}`, Buffer.concat(encodeFrame(payload)));
  return carryOut(disk, directory, { sequence, hardState, voters });
}

/**
 * Ends what a crash has interrupted. False: this store has lost nothing that is not here again.
 * @throws CorruptStore, DiskError
 */
export async function goOnSettingAside(disk: Disk, directory: string): Promise<boolean> {
  const marker = await readMarker(disk, directory);
  if (marker === null) return false;
  const [newest] = await logsIn(disk, directory);
  const hasSnapshot = (await disk.stat(`${directory}/${snapshotName}`)) !== null;
  const isDone = hasSnapshot && newest !== undefined && newest.sequence >= marker.sequence;
  if (!isDone) await carryOut(disk, directory, marker);
  return true;
}

async function carryOut(
  disk: Disk,
  directory: string,
  { sequence, hardState, voters }: Marker,
): Promise<readonly string[]> {
  const spoilt = (await logsIn(disk, directory)).filter((log) => log.sequence < sequence).map(({ name }) => name);
  if ((await disk.stat(`${directory}/${snapshotName}`)) !== null) spoilt.unshift(snapshotName);
  const kept: string[] = [];
  for (const name of spoilt) {
    const to = `${directory}/${name}.spoilt-${sequence}`;
    await disk.rename(`${directory}/${name}`, to);
    kept.push(to);
  }
  // A crash must not bring back a name that stands for something else by then.
  await disk.syncDirectory(directory);
  const start = { index: 0, term: 0 };
  await replaceFile(disk, `${directory}/${logFileName(sequence)}`, encodeLog(start, hardState, []));
  await replaceFile(disk, `${directory}/${snapshotName}`, encodeSnapshot({ ...start, configuration: { voters } }, []));
  return kept;
}

async function readMarker(disk: Disk, directory: string): Promise<Marker | null> {
  const path = `${directory}/${markerName}`;
  if ((await disk.stat(path)) === null) return null;
  const bytes = await disk.readFile(path);
  const payload = frameAt(bytes, 0);
  if (payload === null || frameBytes(payload) !== bytes.length)
    throw new CorruptStore(`${path} is damaged; nothing was changed`);
  const [kind, version, sequence, term, votedFor, voters] = packr.unpack(payload) as unknown[];
  const isKnown = kind === "recovering" && version === markerVersion && isCount(sequence) && isCount(term);
  if (!isKnown || !isTexts(voters) || (votedFor !== null && typeof votedFor !== "string"))
    throw new CorruptStore(`${path} says what this version of Millrace does not know; nothing was changed`);
  return { sequence, hardState: { term, votedFor }, voters };
}

/** The newest first. */
async function logsIn(
  disk: Disk,
  directory: string,
): Promise<readonly { readonly name: string; readonly sequence: number }[]> {
  return (await disk.list(directory))
    .flatMap(({ name, kind }) => {
      const sequence = kind === "file" ? sequenceOf(name) : null;
      return sequence === null ? [] : [{ name, sequence }];
    })
    .sort((a, b) => b.sequence - a.sequence);
}
