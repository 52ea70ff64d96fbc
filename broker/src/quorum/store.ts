import { assert, must } from "@millrace/base/assert";
import type { Logger } from "@millrace/base/logger";
import { directoryOf, makeDirectoryDurably } from "@millrace/base/replace-file";
import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import { DiskError } from "@millrace/base/world";
import type { Disk, DiskFile } from "@millrace/base/world";
import type { ChunkRequest, Entry, HardState, SnapshotChunk, SnapshotPoint } from "raft-ts-lite";
import { frameBytes, encodeFrame } from "../metadata/frames.ts";
import {
  CorruptStore,
  encodeBatch,
  encodeLog,
  encodeMark,
  encodeSnapshot,
  fits,
  isSamePoint,
  logFileName,
  partName,
  readSnapshot,
  replaceSuffix,
  snapshotName,
  temporarySuffix,
  UnknownStoreFormat,
} from "./store-format.ts";
import { readStore } from "./store-opening.ts";
import type { FoundState } from "./store-opening.ts";
import { goOnSettingAside, markerName } from "./store-recovery.ts";

export type StoreOpenFailure = "corrupt" | "disk-failed" | "unknown-format";
/** Nothing was written, and the log goes on; or nothing is known of what was written, and it does not (R16). */
export type PersistFailure = "not-written" | "log-failed";

/** What a node begins with. */
export interface StoredState {
  readonly hardState: HardState;
  readonly snapshot: SnapshotPoint;
  /** All that is behind the snapshot, without a gap. */
  readonly entries: readonly Entry[];
  /** Of the snapshot: its writer's, never looked at. */
  readonly frames: readonly Buffer[];
}

/** What became of a chunk: `ChunkFate` of Raft, with the snapshot's frames where it was the last. */
export type ChunkOutcome = "written" | "refused" | { readonly installed: readonly Buffer[] };

export interface StoreOptions {
  readonly disk: Disk;
  /** `<data>/metadata`. */
  readonly directory: string;
  readonly logger: Logger;
}

/** What the disk holds, and where. */
interface Current {
  readonly snapshot: SnapshotPoint;
  hardState: HardState;
  /** Those behind the snapshot. */
  readonly entries: Entry[];
  readonly file: DiskFile;
  /** Of the log when it was made. */
  readonly beginBytes: number;
  sizeBytes: number;
}

/** A snapshot on its way here. */
interface Part {
  readonly point: SnapshotPoint;
  readonly file: DiskFile;
  sizeBytes: number;
}

/**
 * What a node of the controller quorum must not forget, in `<data>/metadata/`: the disk of one Raft.
 *
 *     quorum-00000000000000000000.log    what was persisted since the snapshot; the number grows with each of them
 *     quorum-snapshot                    what stands for the entries before the log
 *     quorum-recovering                  while entries that were lost are not here again, see store-recovery.ts
 *
 * The log is only appended to. An entry whose index is not behind the last one takes the place of that one and of all behind
 * it, and the last state counts; so a persist is one write and one sync.
 *
 * A log says behind which snapshot it begins. Both files are written beside and synced; then the log gets its name, then the
 * snapshot its own. Whichever snapshot a crash leaves, the log that begins behind it is whole, and the other one is removed.
 *
 * Calls are done one after the other, in their order.
 */
export class QuorumStore {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #logger: Logger;
  #current: Current | null = null;
  #nextSequence: number;
  #part: Part | null = null;
  #hasFailed = false;
  #isRecovering = false;
  #isClosed = false;
  #tail: Promise<unknown> = Promise.resolve();

  private constructor({ disk, directory, logger }: StoreOptions, nextSequence: number) {
    this.#disk = disk;
    this.#directory = directory;
    this.#logger = logger;
    this.#nextSequence = nextSequence;
  }

  /** Reads what is there, and cuts a torn tail. A state that is null: nothing is there yet, and `format` comes first. */
  static async open(
    options: StoreOptions,
  ): Promise<Result<{ readonly store: QuorumStore; readonly state: StoredState | null }, StoreOpenFailure>> {
    try {
      const { disk, directory } = options;
      await makeDirectoryDurably(disk, directory);
      const isRecovering = await goOnSettingAside(disk, directory);
      const { current, leftovers, nextSequence } = await readStore(disk, directory);
      const store = new QuorumStore(options, nextSequence);
      store.#isRecovering = isRecovering;
      // A process that died before this one may have given names and not synced them: what is needed comes first.
      await disk.syncDirectory(directoryOf(directory));
      await disk.syncDirectory(directory);
      for (const path of leftovers) await disk.removeFile(path);
      if (leftovers.length > 0) await disk.syncDirectory(directory);
      if (current === null) return ok({ store, state: null });
      await store.#goOn(current);
      return ok({ store, state: { ...store.state, frames: current.snapshot.frames } });
    } catch (error) {
      if (error instanceof CorruptStore) return failed("corrupt", error.message);
      if (error instanceof UnknownStoreFormat) return failed("unknown-format", error.message);
      if (error instanceof DiskError) return failed("disk-failed", error.message);
      throw error;
    }
  }

  /**
   * What the disk holds: as of the last call that succeeded. After "not-written" a new Raft begins from it. The entries may go back
   * behind what the host has applied.
   */
  get state(): Omit<StoredState, "frames"> {
    const { hardState, snapshot, entries } = this.#formatted;
    return { hardState, snapshot, entries: [...entries] };
  }

  /** Bytes of the log behind those with which it was made. */
  get bytesSinceSnapshot(): number {
    const { sizeBytes, beginBytes } = this.#formatted;
    return sizeBytes - beginBytes;
  }

  /** Entries were lost that this node may have acknowledged, and not all of them are here again. */
  get isRecovering(): boolean {
    return this.#isRecovering;
  }

  /**
   * All that was lost is here again.
   * @throws DiskError; the next start does not know of it
   */
  async endRecovery(): Promise<void> {
    return this.#inTurn("end of a recovery", async () => {
      if (!this.#isRecovering) return;
      await this.#disk.removeFile(this.#path(markerName));
      await this.#disk.syncDirectory(this.#directory);
      this.#isRecovering = false;
    });
  }

  /** The log takes nothing more until it is opened anew. */
  get hasFailed(): boolean {
    return this.#hasFailed;
  }

  /**
   * A new cluster, or a directory that is converted: a snapshot, no entries, and nobody was voted for.
   * @throws DiskError; at the next start nothing is there, or all of it
   */
  async format(point: SnapshotPoint, frames: readonly Buffer[]): Promise<void> {
    const bytes = encodeSnapshot(point, frames);
    return this.#inMarkedTurn("format", async () => {
      assert(this.#current === null, "a store is formatted once");
      this.#checkUsable();
      await this.#writeSnapshot(bytes, { point, hardState: { term: point.term, votedFor: null }, entries: [] });
    });
  }

  /**
   * Step 1 of `Ready`: durable when it resolves. All of it is there after a crash, or nothing. Where the disk is full the file is
   * cut back, and the log goes on from `state`; after "log-failed" nobody knows what the disk holds.
   */
  async persist(hardState: HardState | null, entries: readonly Entry[]): Promise<Result<void, PersistFailure>> {
    return this.#inMarkedTurn("persist", async (): Promise<Result<void, PersistFailure>> => {
      if (this.#hasFailed) return failed("log-failed", "the metadata log has failed before");
      if (hardState === null && entries.length === 0) return ok(undefined);
      const current = this.#formatted;
      checkPersist(current, hardState ?? current.hardState, entries);
      const payload = encodeBatch({ hardState: hardState ?? current.hardState, entries });
      const written = await this.#append(current, payload);
      if (!written.ok) return written;
      current.sizeBytes += frameBytes(payload);
      current.hardState = hardState ?? current.hardState;
      replaceSuffix(current.entries, entries, current.snapshot);
      return ok(undefined);
    });
  }

  /**
   * The point of a snapshot after this entry: for `replaceBySnapshot`, after which `Raft.compact` may drop the entries. The other way
   * round a node that needs the snapshot could be sent an older one, behind which the entries are gone.
   */
  pointAt(index: number): SnapshotPoint {
    const { snapshot, entries } = this.#formatted;
    if (index === snapshot.index) return snapshot;
    const last = must(entries[index - snapshot.index - 1], `entry ${index}`);
    const before = entries.slice(0, index - snapshot.index);
    const configured = before.findLast((entry) => entry.kind === "configuration");
    return { index, term: last.term, configuration: configured?.configuration ?? snapshot.configuration };
  }

  /**
   * Puts a snapshot in the place of all up to its point; entries behind it stay. The frames are taken before this returns.
   * @throws DiskError; the log goes on as before, unless `hasFailed`
   */
  async replaceBySnapshot(point: SnapshotPoint, frames: Iterable<Buffer>): Promise<void> {
    const bytes = encodeSnapshot(point, [...frames]);
    return this.#inMarkedTurn("snapshot", async () => {
      this.#checkUsable();
      const { snapshot, hardState, entries } = this.#formatted;
      if (point.index === snapshot.index) return;
      const last = entries[point.index - snapshot.index - 1];
      assert(last?.term === point.term, `a snapshot of entry ${point.index}, which is not there in term ${point.term}`);
      await this.#writeSnapshot(bytes, { point, hardState, entries: entries.slice(point.index - snapshot.index) });
    });
  }

  /**
   * Bytes of the snapshot's file, for `Raft.provideChunk`. Where another snapshot is wanted than the one that is there, or bytes that
   * it does not have: of that one, from its beginning.
   * @throws DiskError
   */
  async readChunk({
    index,
    offset,
    bytesMax,
  }: Pick<ChunkRequest, "index" | "offset" | "bytesMax">): Promise<SnapshotChunk> {
    return this.#inTurn("chunk", async () => {
      this.#checkUsable();
      const { snapshot } = this.#formatted;
      const file = await this.#disk.open(this.#path(snapshotName), "read");
      try {
        const sizeBytes = await file.sizeBytes();
        const begin = index === snapshot.index && offset < sizeBytes ? offset : 0;
        const into = Buffer.allocUnsafe(Math.min(bytesMax, sizeBytes - begin));
        const data = into.subarray(0, await file.read(into, begin));
        return { ...snapshot, offset: begin, data, isLast: begin + data.length === sizeBytes };
      } finally {
        await file.close();
      }
    });
  }

  /**
   * Step 2 of `Ready`: a part of a snapshot from the leader. With the last one the file is checked whole, and takes the place of all that is
   * here; entries behind it stay where they belong to it. "refused": it is damaged, and thrown away, to be sent again from its first byte.
   * @throws DiskError; the part is thrown away, too, and the log goes on as before, unless `hasFailed`
   */
  async takeChunk(chunk: SnapshotChunk): Promise<ChunkOutcome> {
    return this.#inMarkedTurn("chunk", async () => {
      this.#checkUsable();
      const { snapshot } = this.#formatted;
      assert(chunk.index > snapshot.index, `a snapshot of ${chunk.index} comes, and one of ${snapshot.index} is there`);
      try {
        const outcome = await this.#takeChunk(chunk);
        if (outcome === "refused") await this.#dropPart();
        return outcome;
      } catch (error) {
        await this.#dropPart();
        if (!(error instanceof CorruptStore) && !(error instanceof UnknownStoreFormat)) throw error;
        this.#logger.warn("a snapshot that came is refused", { reason: error.message });
        return "refused";
      }
    });
  }

  /** Waits for what is under way; nothing is taken after it. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    const turn = this.#inTurn("close", async () => {
      await this.#dropPart();
      await this.#current?.file.close();
    });
    this.#isClosed = true;
    await turn;
  }

  // --- Inside -----------------------------------------------------------------------------------------------------------

  get #formatted(): Current {
    return must(this.#current, "what `format` makes");
  }

  #path(name: string): string {
    return `${this.#directory}/${name}`;
  }

  #inTurn<T>(what: string, work: () => Promise<T>): Promise<T> {
    assert(!this.#isClosed, () => `${what} of a store that is closed`);
    const turn = this.#tail.then(work);
    // A failure reaches its caller; the next one does not wait for it to be handled.
    this.#tail = turn.catch(() => {});
    return turn;
  }

  /** Like `inTurn`; whoever waits for it does not wait for the mark. */
  #inMarkedTurn<T>(what: string, work: () => Promise<T>): Promise<T> {
    const turn = this.#inTurn(what, work);
    this.#tail = this.#tail.then(() => this.#mark());
    return turn;
  }

  /** What is there is durable. It says so without being so itself: without it the last persist counts as one that may be torn. */
  async #mark(): Promise<void> {
    if (this.#current === null || this.#hasFailed) return;
    const { file, sizeBytes, hardState } = this.#current;
    try {
      await file.write(encodeMark(hardState), sizeBytes);
    } catch {
      // The disk is full: half a mark is none.
    }
  }

  #checkUsable(): void {
    if (this.#hasFailed) throw new DiskError("EIO", this.#directory, "write", new Error("the log has failed before"));
  }

  async #goOn({ snapshot, log, logPath, logBytes }: FoundState): Promise<void> {
    const { hardState, entries, beginBytes, endBytes, markBytes } = log;
    const file = await this.#disk.open(logPath, "write");
    try {
      if (endBytes + markBytes < logBytes) {
        this.#logger.warn("the quorum's log ends in what was not completed; it is cut", {
          path: logPath,
          position: endBytes,
          bytes: logBytes - endBytes,
        });
        await file.truncate(endBytes);
      }
      // What a process wrote that died before its sync counts from here on, so it has to be as durable as what follows it.
      await file.sync();
    } catch (error) {
      await file.close();
      throw error;
    }
    this.#current = { snapshot: snapshot.point, hardState, entries, file, beginBytes, sizeBytes: endBytes };
    await this.#mark();
  }

  async #append({ file, sizeBytes }: Current, payload: Buffer): Promise<Result<void, PersistFailure>> {
    try {
      await file.write(encodeFrame(payload), sizeBytes);
    } catch (error) {
      return this.#takeBack(file, sizeBytes, error);
    }
    try {
      await file.sync();
    } catch (error) {
      return this.#fail(error);
    }
    return ok(undefined);
  }

  /** A write that failed (a full disk) may have left half a frame: it is cut again, and the log goes on. */
  async #takeBack(file: DiskFile, sizeBytes: number, cause: unknown): Promise<Result<void, PersistFailure>> {
    try {
      await file.truncate(sizeBytes);
      await file.sync();
    } catch (error) {
      return this.#fail(error);
    }
    this.#logger.warn("the quorum's log could not be written, and was cut back", { reason: reasonOf(cause) });
    return failed("not-written", reasonOf(cause));
  }

  /** After a failed sync nobody knows what the disk holds: the log takes nothing more. */
  #fail(cause: unknown): Result<void, "log-failed"> {
    this.#hasFailed = true;
    this.#logger.error("the metadata log has failed", { directory: this.#directory, reason: reasonOf(cause) });
    return failed("log-failed", reasonOf(cause));
  }

  // --- Snapshots --------------------------------------------------------------------------------------------------------

  async #writeSnapshot(bytes: Buffer, next: NextState): Promise<void> {
    const path = this.#path(snapshotName) + temporarySuffix;
    try {
      await this.#writeBeside(path, bytes);
      await this.#replace(path, next);
    } catch (error) {
      // What is half written is in nobody's way, but takes room that the disk may not have.
      await this.#removeQuietly(path);
      throw error;
    }
  }

  async #writeBeside(path: string, bytes: Buffer): Promise<void> {
    const file = await this.#disk.open(path, "create");
    try {
      await file.truncate(0); // A crash may have left one.
      await file.write([bytes], 0);
      await file.sync();
    } finally {
      await file.close();
    }
  }

  /**
   * Puts a snapshot that is synced, and a log that begins behind it, in the place of what is there. Until the first name is given
   * nothing has changed. From then on a failure leaves open which of both a start would find.
   */
  async #replace(from: string, { point, hardState, entries }: NextState): Promise<void> {
    const path = this.#path(logFileName(this.#nextSequence));
    const bytes = encodeLog(point, hardState, entries);
    try {
      await this.#writeBeside(path + temporarySuffix, bytes);
    } catch (error) {
      await this.#removeQuietly(path + temporarySuffix);
      throw error;
    }
    const before = this.#current;
    try {
      await this.#disk.rename(path + temporarySuffix, path);
      await this.#disk.syncDirectory(this.#directory);
      await this.#disk.rename(from, this.#path(snapshotName));
      await this.#disk.syncDirectory(this.#directory);
      const file = await this.#disk.open(path, "write");
      const { index, term, configuration } = point;
      const [beginBytes, sizeBytes] = [bytes.length, bytes.length];
      this.#current = { snapshot: { index, term, configuration }, hardState, entries, file, beginBytes, sizeBytes };
    } catch (error) {
      this.#fail(error);
      throw error;
    }
    this.#nextSequence++;
    if (before === null) return;
    await this.#discard(before.file);
  }

  async #takeChunk(chunk: SnapshotChunk): Promise<ChunkOutcome> {
    const { offset, data, isLast } = chunk;
    if (offset === 0) await this.#beginPart(chunk);
    const part = this.#part;
    const { snapshot, hardState, entries } = this.#formatted;
    if (part === null || part.sizeBytes !== offset || !isSamePoint(part.point, chunk)) return "refused";
    // Whoever sends a snapshot has seen its term, and this node has persisted that of the sender.
    if (chunk.term > hardState.term) return "refused";
    await part.file.write([data], offset);
    part.sizeBytes += data.length;
    if (!isLast) return "written";
    await part.file.sync();
    const path = this.#path(partName);
    const { point, frames } = readSnapshot(path, await this.#disk.readFile(path));
    if (!isSamePoint(point, chunk)) {
      throw new CorruptStore(`${path} ends at entry ${point.index}, and was to end at ${chunk.index}`);
    }
    await part.file.close();
    const place = point.index - snapshot.index;
    const isPrefix = entries[place - 1]?.term === point.term;
    await this.#replace(path, { point, hardState, entries: isPrefix ? entries.slice(place) : [] });
    this.#part = null;
    return { installed: frames };
  }

  async #beginPart({ index, term, configuration }: SnapshotChunk): Promise<void> {
    await this.#dropPart();
    const file = await this.#disk.open(this.#path(partName), "create");
    this.#part = { point: { index, term, configuration }, file, sizeBytes: 0 };
    await file.truncate(0); // It may have been there.
  }

  async #dropPart(): Promise<void> {
    const part = this.#part;
    this.#part = null;
    if (part !== null) await this.#discard(part.file);
  }

  async #discard(file: DiskFile): Promise<void> {
    try {
      await file.close();
    } catch (error) {
      this.#logger.warn("a file that is not needed could not be closed", { path: file.path, reason: reasonOf(error) });
    }
    await this.#removeQuietly(file.path);
  }

  /** What stays is removed at the next start. */
  async #removeQuietly(path: string): Promise<void> {
    try {
      await this.#disk.removeFile(path);
    } catch (error) {
      this.#logger.warn("a file that is not needed could not be removed", { path, reason: reasonOf(error) });
    }
  }
}

interface NextState {
  readonly point: SnapshotPoint;
  readonly hardState: HardState;
  /** Behind the point. */
  readonly entries: Entry[];
}

/** What only a bug can ask for. */
function checkPersist({ snapshot, hardState, entries }: Current, next: HardState, given: readonly Entry[]): void {
  assert(next.term >= hardState.term, `term ${next.term} after ${hardState.term}`);
  assert(
    next.term > hardState.term || hardState.votedFor === null || next.votedFor === hardState.votedFor,
    `in term ${next.term} a vote for ${next.votedFor} after one for ${hardState.votedFor}`,
  );
  assert(fits(given, { start: snapshot, entries }), () => {
    const last = snapshot.index + entries.length;
    return `entries from ${given[0]?.index} on do not follow those from ${snapshot.index} to ${last}`;
  });
  const lastTerm = given.at(-1)?.term ?? 0;
  assert(lastTerm <= next.term, `an entry of term ${lastTerm} in term ${next.term}`);
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
