// Without the native part of the package, as for the metadata's records.
import { Packr } from "msgpackr/pack";
import type { Entry, HardState, SnapshotPoint } from "raft-ts-lite";
import { encodeFrame, frameAt, frameBytes, nextFrame } from "../metadata/frames.ts";

/*
 * The bytes of a quorum's log and snapshot. Both are frames (metadata/frames.ts) with msgpack arrays as payloads:
 *
 *     quorum-N.log      ["log", 1, index, term, count]      begins behind the snapshot at that entry
 *                       count batches                       what stood there when the file was made
 *                       batches                             one a persist
 *                       mark                                what is before it was synced
 *     quorum-snapshot   ["snapshot", 1, index, term, voters, count]
 *                       count frames                        the host's, opaque
 *
 *     batch             [[term, votedFor] or nil, [entry, ...]]     nil: as before, which earlier versions wrote
 *     mark              [[term, votedFor]]
 *     entry             [index, term, "data", bytes]   [index, term, "empty"]   [index, term, "configuration", voters]
 *
 * A persist is one frame, whatever it holds. Its pages reach the disk in any order, so with a frame for each entry a torn
 * persist could leave a whole frame behind a broken one, and look like damage to what was promised. Each one has the state, so that
 * it is known when one of those before is damaged.
 *
 * A mark is written when a persist is durable, and is not synced itself; the next persist is written over it. So most often it is there
 * when a process has died, and tells a last persist that is damaged from one that was not completed, and the state, too.
 */

/** Damage of what was promised: file and position are in the message. */
export class CorruptStore extends Error {
  override readonly name = "CorruptStore";
}

/** The bytes are whole and say what this version does not know: a newer version wrote them. */
export class UnknownStoreFormat extends Error {
  override readonly name = "UnknownStoreFormat";
}

/** What one persist makes durable. */
export interface Batch {
  readonly hardState: HardState | null;
  readonly entries: readonly Entry[];
}

/** The entry up to which a snapshot stands for what is before a log. */
export type LogStart = Pick<SnapshotPoint, "index" | "term">;

export interface ReadLog {
  readonly start: LogStart;
  readonly hardState: HardState;
  /** Behind `start`, without a gap. */
  readonly entries: Entry[];
  /** Where the part ends that was there before the file had its name: it cannot be torn. */
  readonly beginBytes: number;
  /** Behind the last batch; what follows is a mark, or a torn tail. */
  readonly endBytes: number;
  /** Of the mark; 0: there is none. */
  readonly markBytes: number;
}

export interface ReadSnapshot {
  readonly point: SnapshotPoint;
  readonly frames: readonly Buffer[];
}

export const snapshotName = "quorum-snapshot";
/** A snapshot on its way from another node. */
export const partName = "quorum-snapshot.part";
export const temporarySuffix = ".tmp";

const logName = /^quorum-(\d{20})\.log$/;
const formatVersion = 1;
/** msgpack's byte for an array of two: what every batch begins with. */
const batchByte = 0x92;
/** And for one of one: what a mark begins with. */
const markByte = 0x91;
const isOurByte = (byte: number): boolean => byte === batchByte || byte === markByte;
/** Batches at the beginning of a log are cut to about so much, so that each stays far from the limit of a frame. */
const beginningBatchBytes = 16 * 1024 * 1024;

const packr = new Packr({ useRecords: false, variableMapSize: true });

export function logFileName(sequence: number): string {
  return `quorum-${String(sequence).padStart(20, "0")}.log`;
}

/** Null: the file is not a log. */
export function sequenceOf(name: string): number | null {
  const match = logName.exec(name);
  return match === null ? null : Number(match[1]);
}

// --- The log ----------------------------------------------------------------------------------------------------------

export function encodeBatch({ hardState, entries }: Batch): Buffer {
  return packr.pack([hardState === null ? null : [hardState.term, hardState.votedFor], entries.map(toArray)]);
}

export function encodeMark({ term, votedFor }: HardState): readonly Buffer[] {
  return encodeFrame(packr.pack([[term, votedFor]]));
}

/** After a loss of power the file may have the size that a mark gave it, and not the mark. */
function isUnwrittenMark(tail: Buffer, state: HardState): boolean {
  const markBytes = encodeMark(state).reduce((sum, { length }) => sum + length, 0);
  return tail.length <= markBytes && tail.every((byte) => byte === 0);
}

function decodeMark(path: string, position: number, payload: Buffer): HardState {
  const [state, ...rest] = unpack(path, position, payload);
  if (rest.length > 0) throw unknown(path, position);
  return decodeState(path, position, state);
}

/** A log that begins behind `start` with what is there. */
export function encodeLog(start: LogStart, hardState: HardState, entries: readonly Entry[]): Buffer {
  const batches: Batch[] = [];
  let some: Entry[] = [];
  let bytes = 0;
  for (const entry of entries) {
    if (bytes >= beginningBatchBytes) {
      batches.push({ hardState, entries: some });
      some = [];
      bytes = 0;
    }
    some.push(entry);
    bytes += entry.kind === "data" ? entry.data.length : 0;
  }
  batches.push({ hardState, entries: some });
  const head = packr.pack(["log", formatVersion, start.index, start.term, batches.length]);
  return Buffer.concat([head, ...batches.map(encodeBatch)].flatMap((payload) => encodeFrame(payload)));
}

function toArray(entry: Entry): unknown[] {
  const { index, term, kind } = entry;
  switch (kind) {
    case "data": {
      const { buffer, byteOffset, length } = entry.data;
      return [index, term, kind, Buffer.from(buffer, byteOffset, length)];
    }
    case "empty":
      return [index, term, kind];
    case "configuration":
      return [index, term, kind, entry.configuration.voters];
  }
}

/**
 * Reads the last file of a log: its tail may be torn, its beginning and what a whole frame follows may not.
 * @throws CorruptStore, UnknownStoreFormat
 */
export function readLog(path: string, bytes: Buffer): ReadLog {
  const { start, batchCount, headBytes } = readLogHead(path, bytes);
  let hardState: HardState | null = null;
  const entries: Entry[] = [];
  let beginBytes = headBytes;
  let position = headBytes;
  let markBytes = 0;
  for (let count = 0; position < bytes.length || count < batchCount; count++) {
    const payload = frameAt(bytes, position);
    const isMark = payload?.[0] === markByte;
    if (payload === null || isMark) {
      if (count < batchCount) throw damaged(path, position);
      const beyond = nextFrame(bytes, position, isOurByte);
      if (beyond !== -1) throw damaged(path, position, ` while a whole frame follows at ${beyond}`);
      if (payload === null) break;
      decodeMark(path, position, payload);
      markBytes = frameBytes(payload);
      break;
    }
    const batch = decodeBatch(path, position, payload);
    if (!fits(batch.entries, { start, entries })) {
      const place = `${path} holds entry ${batch.entries[0]?.index} at position ${position}`;
      throw new CorruptStore(`${place}, which does not follow ${start.index + entries.length}; nothing was changed`);
    }
    replaceSuffix(entries, batch.entries, start);
    hardState = batch.hardState ?? hardState;
    position += frameBytes(payload);
    if (count < batchCount) beginBytes = position;
  }
  const lastTerm = entries.at(-1)?.term ?? start.term;
  if (hardState === null || hardState.term < lastTerm) {
    throw new CorruptStore(`${path} holds entries of term ${lastTerm} and no such term; nothing was changed`);
  }
  return { start, hardState, entries, beginBytes, endBytes: position, markBytes };
}

/**
 * The last state of a log that is damaged, where it is known for certain: by a mark, or by a whole frame that ends the file. Null: it is
 * not, since a frame that cannot be read may have had another one, or a term.
 * @throws UnknownStoreFormat
 */
export function lastHardState(bytes: Buffer): HardState | null {
  const path = "a log";
  let state: HardState | null = null;
  let position = 0;
  while (position < bytes.length) {
    const payload = frameAt(bytes, position);
    if (payload === null) {
      if (state !== null && isUnwrittenMark(bytes.subarray(position), state)) return state;
      position = nextFrame(bytes, position, isOurByte);
      if (position === -1) return null;
      state = null;
      continue;
    }
    if (payload[0] === markByte) {
      state = decodeMark(path, position, payload);
      // What was being written over it and behind it was not completed.
      if (nextFrame(bytes, position, isOurByte) === -1) return state;
    }
    if (payload[0] === batchByte) {
      const { hardState, entries } = decodeBatch(path, position, payload);
      state = hardState ?? state;
      if (state !== null && state.term < (entries.at(-1)?.term ?? 0)) return null;
    }
    position += frameBytes(payload);
  }
  return state;
}

export function readLogHead(
  path: string,
  bytes: Buffer,
): { readonly start: LogStart; readonly batchCount: number; readonly headBytes: number } {
  const payload = frameAt(bytes, 0);
  if (payload === null) throw damaged(path, 0);
  const head = unpack(path, 0, payload);
  const [kind, version, index, term, batchCount] = head;
  if (kind !== "log" || version !== formatVersion || !isCount(index) || !isCount(term) || !isCount(batchCount)) {
    throw unknown(path, 0);
  }
  return { start: { index, term }, batchCount, headBytes: frameBytes(payload) };
}

/** Whether these follow each other, and an entry that is there, or the beginning. */
export function fits(
  next: readonly Entry[],
  { start, entries }: { readonly start: LogStart; readonly entries: readonly Entry[] },
): boolean {
  const [first] = next;
  if (first === undefined) return true;
  const kept = first.index - start.index - 1;
  if (kept < 0 || kept > entries.length) return false;
  let { term } = entries[kept - 1] ?? start;
  for (const [place, entry] of next.entries()) {
    if (entry.index !== first.index + place || entry.term < term) return false;
    term = entry.term;
  }
  return true;
}

/** Entries that fit take the place of those from the first one's index on. */
export function replaceSuffix(entries: Entry[], next: readonly Entry[], start: LogStart): void {
  const [first] = next;
  if (first === undefined) return;
  entries.length = first.index - start.index - 1;
  for (const entry of next) entries.push(entry);
}

function decodeBatch(path: string, position: number, payload: Buffer): Batch {
  const [state, entries, ...rest] = unpack(path, position, payload);
  if (!Array.isArray(entries) || rest.length > 0) throw unknown(path, position);
  return {
    hardState: state === null ? null : decodeState(path, position, state),
    entries: entries.map((entry) => decodeEntry(path, position, entry)),
  };
}

function decodeState(path: string, position: number, state: unknown): HardState {
  const [term, votedFor] = Array.isArray(state) && state.length === 2 ? (state as unknown[]) : [];
  if (!isCount(term) || (votedFor !== null && typeof votedFor !== "string")) throw unknown(path, position);
  return { term, votedFor };
}

function decodeEntry(path: string, position: number, array: unknown): Entry {
  const [index, term, kind, value, ...rest] = Array.isArray(array) ? (array as unknown[]) : [];
  if (isCount(index) && isCount(term) && rest.length === 0) {
    if (kind === "data" && Buffer.isBuffer(value)) return { kind, index, term, data: value };
    if (kind === "empty" && value === undefined) return { kind, index, term };
    if (kind === "configuration" && isTexts(value)) return { kind, index, term, configuration: { voters: value } };
  }
  throw unknown(path, position);
}

// --- The snapshot -----------------------------------------------------------------------------------------------------

export function encodeSnapshot({ index, term, configuration }: SnapshotPoint, frames: readonly Buffer[]): Buffer {
  const head = packr.pack(["snapshot", formatVersion, index, term, configuration.voters, frames.length]);
  return Buffer.concat([head, ...frames].flatMap((payload) => encodeFrame(payload)));
}

/** @throws CorruptStore, UnknownStoreFormat */
export function readSnapshot(path: string, bytes: Buffer): ReadSnapshot {
  const headPayload = frameAt(bytes, 0);
  if (headPayload === null) throw damaged(path, 0);
  const [kind, version, index, term, voters, count] = unpack(path, 0, headPayload);
  if (kind !== "snapshot" || version !== formatVersion || !isCount(index) || !isCount(term)) throw unknown(path, 0);
  if (!isTexts(voters) || !isCount(count)) throw unknown(path, 0);
  const frames: Buffer[] = [];
  let position = frameBytes(headPayload);
  while (frames.length < count) {
    const payload = frameAt(bytes, position);
    if (payload === null) throw damaged(path, position);
    frames.push(payload);
    position += frameBytes(payload);
  }
  if (position < bytes.length) throw damaged(path, position, `, where it should end,`);
  return { point: { index, term, configuration: { voters } }, frames };
}

export function isSamePoint(a: SnapshotPoint, b: SnapshotPoint): boolean {
  const [ours, theirs] = [a.configuration.voters, b.configuration.voters];
  const hasSameVoters = ours.length === theirs.length && ours.every((voter, place) => voter === theirs[place]);
  return a.index === b.index && a.term === b.term && hasSameVoters;
}

// --- What any bytes may be --------------------------------------------------------------------------------------------

function unpack(path: string, position: number, payload: Buffer): readonly unknown[] {
  let value: unknown;
  try {
    value = packr.unpack(payload);
  } catch {
    throw unknown(path, position);
  }
  if (!Array.isArray(value)) throw unknown(path, position);
  return value;
}

export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

export function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((each) => typeof each === "string");
}

function damaged(path: string, position: number, detail = ""): CorruptStore {
  return new CorruptStore(`${path} is damaged at position ${position}${detail}; nothing was changed`);
}

function unknown(path: string, position: number): UnknownStoreFormat {
  return new UnknownStoreFormat(`${path} holds at position ${position} what this version of Millrace does not know`);
}
