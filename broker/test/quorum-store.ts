import { silentLogger } from "@millrace/base/logger";
import type { Logger } from "@millrace/base/logger";
import type { Prng } from "@millrace/base/prng";
import type { Disk } from "@millrace/base/world";
import type { Entry, HardState, SnapshotChunk, SnapshotPoint } from "raft-ts-lite";
import { encodeSnapshot, readLog } from "../src/quorum/store-format.ts";
import { QuorumStore } from "../src/quorum/store.ts";
import type { ChunkOutcome, StoredState } from "../src/quorum/store.ts";

export const storeDirectory = "data/metadata";
export const storePath = (name: string): string => `${storeDirectory}/${name}`;

export async function openStore(
  disk: Disk,
  logger: Logger = silentLogger,
): Promise<{ readonly store: QuorumStore; readonly state: StoredState | null }> {
  const opened = await QuorumStore.open({ disk, directory: storeDirectory, logger });
  if (!opened.ok) throw new Error(`${opened.failure}: ${opened.message}`);
  return opened.value;
}

export function data(index: number, term: number, bytes: string | Buffer = `entry ${index} of term ${term}`): Entry {
  return { kind: "data", index, term, data: Buffer.from(bytes) };
}

export function point(index: number, term: number, voters: readonly string[] = ["a", "b", "c"]): SnapshotPoint {
  return { index, term, configuration: { voters } };
}

/** Chunks of a file as another node reads them. */
export function chunksOf(at: SnapshotPoint, bytes: Buffer, sizes: () => number): SnapshotChunk[] {
  const chunks: SnapshotChunk[] = [];
  for (let offset = 0; ;) {
    const some = bytes.subarray(offset, offset + sizes());
    const isLast = offset + some.length === bytes.length;
    chunks.push({ ...at, offset, data: some, isLast });
    if (isLast) return chunks;
    offset += some.length;
  }
}

export async function takeAll(store: QuorumStore, chunks: readonly SnapshotChunk[]): Promise<ChunkOutcome> {
  let outcome: ChunkOutcome = "refused";
  for (const chunk of chunks) outcome = await store.takeChunk(chunk);
  return outcome;
}

/** A state as text, so that two can be compared and read. */
export function told(state: StoredState | null): string {
  if (state === null) return "nothing";
  const { hardState, snapshot, entries, frames } = state;
  return JSON.stringify({
    hardState,
    snapshot,
    entries: entries.map((entry) => ({
      ...entry,
      ...(entry.kind === "data" ? { data: Buffer.from(entry.data).toString("latin1") } : {}),
    })),
    frames: frames.map((frame) => frame.toString("latin1")),
  });
}

// --- One store --------------------------------------------------------------------------------------------------------

/** Of the snapshot that `formatted` begins with. */
export const firstFrames: readonly Buffer[] = [Buffer.from("one"), Buffer.from("two")];

/** A store whose snapshot is of entry 10 in term 3. */
export async function formatted(disk: Disk): Promise<QuorumStore> {
  const { store, state } = await openStore(disk);
  if (state !== null) throw new Error("something is there");
  await store.format(point(10, 3), firstFrames);
  return store;
}

export async function reopened(disk: Disk): Promise<StoredState | null> {
  const { store, state } = await openStore(disk);
  await store.close();
  return state;
}

export async function fileNames(disk: Disk): Promise<string[]> {
  return (await disk.list(storeDirectory)).map(({ name }) => name).sort();
}

/** Why a store cannot be opened; where it can, its state. */
export async function failureOf(disk: Disk): Promise<unknown> {
  const opened = await QuorumStore.open({ disk, directory: storeDirectory, logger: silentLogger });
  return opened.ok ? told(opened.value.state) : { failure: opened.failure, message: opened.message };
}

export function indexesOf(entries: readonly Entry[] = []): string {
  return entries.map(({ index, term }) => `${index}/${term}`).join(" ");
}

/** A log without the mark behind the last persist, which a loss of power takes most often. */
export function withoutMark(bytes: Buffer): Buffer {
  return bytes.subarray(0, readLog("a log", bytes).endBytes);
}

export function withFlippedBit(bytes: Buffer, bit: number): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUInt8(copy.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
  return copy;
}

// --- A storm of calls -------------------------------------------------------------------------------------------------

export type Call =
  | { readonly kind: "persist"; readonly hardState: HardState | null; readonly entries: readonly Entry[] }
  | { readonly kind: "snapshot"; readonly at: SnapshotPoint; readonly frames: readonly Buffer[] }
  | {
      readonly kind: "install";
      readonly at: SnapshotPoint;
      readonly frames: readonly Buffer[];
      readonly chunks: readonly SnapshotChunk[];
      readonly isDamaged: boolean;
    };

/** What Raft may ask for in this state. */
export function nextCall(state: StoredState, prng: Prng): Call {
  const { snapshot, entries } = state;
  const lastIndex = snapshot.index + entries.length;
  const kind = prng.pick(["persist", "persist", "persist", "persist", "snapshot", "install"] as const);
  if (kind === "snapshot" && entries.length > 0) {
    const at = prng.pick(entries);
    return { kind, at: pointOf(state, at.index), frames: randomFrames(prng) };
  }
  if (kind === "install") {
    const index = prng.between(snapshot.index + 1, lastIndex + 3);
    const ours = entries[index - snapshot.index - 1]?.term;
    const term =
      ours !== undefined && prng.chance(0.5) ? ours : prng.between(snapshot.term, Math.max(state.hardState.term, 0));
    const at = point(index, term, prng.pick([["a"], ["a", "b", "c"]]));
    const frames = randomFrames(prng);
    const bytes = encodeSnapshot(at, frames);
    const isDamaged = prng.chance(0.2);
    if (isDamaged) {
      const place = prng.between(0, bytes.length - 1);
      bytes.writeUInt8(bytes.readUInt8(place) ^ (1 << prng.between(0, 7)), place);
    }
    return { kind, at, frames, isDamaged, chunks: chunksOf(at, bytes, () => prng.between(1, bytes.length)) };
  }
  return nextPersist(state, prng);
}

function nextPersist({ hardState, snapshot, entries }: StoredState, prng: Prng): Call {
  const isNewTerm = hardState.term === 0 || prng.chance(0.3);
  const term = hardState.term + (isNewTerm ? prng.between(1, 2) : 0);
  const next: Entry[] = [];
  const replaced = isNewTerm && prng.chance(0.6) ? prng.between(0, Math.min(entries.length, 4)) : 0;
  const first = snapshot.index + entries.length + 1 - replaced;
  const count = isNewTerm ? prng.between(0, 3) : prng.between(1, 4);
  for (let index = first; index < first + count; index++) {
    const kind = prng.pick(["data", "data", "data", "empty", "configuration"] as const);
    const size = prng.pick([0, 5, 30, 200, 5000, 9000]);
    if (kind === "data") next.push(data(index, term, prng.bytes(size)));
    else if (kind === "empty") next.push({ kind, index, term });
    else next.push({ kind, index, term, configuration: { voters: prng.pick([["a"], ["a", "b"]]) } });
  }
  return {
    kind: "persist",
    hardState: isNewTerm ? { term, votedFor: prng.pick([null, "a", "b"]) } : null,
    entries: next,
  };
}

function randomFrames(prng: Prng): readonly Buffer[] {
  return Array.from({ length: prng.between(0, 3) }, () => prng.bytes(prng.pick([1, 40, 3000, 9000])));
}

function pointOf({ snapshot, entries }: StoredState, index: number): SnapshotPoint {
  let { configuration } = snapshot;
  let { term } = snapshot;
  for (const entry of entries) {
    if (entry.index > index) break;
    term = entry.term;
    if (entry.kind === "configuration") ({ configuration } = entry);
  }
  return { index, term, configuration };
}

/** What the disk has to hold when the call has resolved. */
export function stateAfter(state: StoredState, call: Call): StoredState {
  const { snapshot, entries } = state;
  switch (call.kind) {
    case "persist": {
      const first = call.entries[0]?.index ?? Infinity;
      const kept = entries.filter(({ index }) => index < first);
      return { ...state, hardState: call.hardState ?? state.hardState, entries: [...kept, ...call.entries] };
    }
    case "snapshot": {
      const { at, frames } = call;
      return { ...state, snapshot: at, frames, entries: entries.filter(({ index }) => index > at.index) };
    }
    case "install": {
      const { at, frames, isDamaged } = call;
      if (isDamaged) return state;
      const isPrefix = entries[at.index - snapshot.index - 1]?.term === at.term;
      const rest = isPrefix ? entries.filter(({ index }) => index > at.index) : [];
      return { ...state, snapshot: at, frames, entries: rest };
    }
  }
}

export async function carryOut(store: QuorumStore, call: Call): Promise<void> {
  switch (call.kind) {
    case "persist": {
      const persisted = await store.persist(call.hardState, call.entries);
      if (!persisted.ok) throw new Error(persisted.message);
      return;
    }
    case "snapshot":
      return store.replaceBySnapshot(call.at, call.frames);
    case "install": {
      const outcome = await takeAll(store, call.chunks);
      if ((outcome === "refused") !== call.isDamaged) throw new Error(`a snapshot was ${JSON.stringify(outcome)}`);
    }
  }
}
