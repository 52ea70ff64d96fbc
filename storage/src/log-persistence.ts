import type { DiskFile } from "@millrace/base/world";
import { fileNames, segmentFileName } from "./file-names.ts";
import { encodeEpochs } from "./leader-epochs.ts";
import type { LeaderEpochs } from "./leader-epochs.ts";
import type { LogEnvironment } from "./log-environment.ts";
import type { Segment } from "./segment.ts";
import type { Segments } from "./segments.ts";
import { encodeAborted } from "./transaction-index.ts";
import type { Offset } from "./types.ts";

/** What is known of a log and lies in memory, brought to the disk beside its batches: so that a recovery need not find it out. */
export class LogPersistence {
  readonly #environment: Pick<LogEnvironment, "disk" | "jointSync">;
  readonly #directory: string;
  readonly #segments: Segments;
  readonly #epochs: LeaderEpochs;
  /** Of the newest snapshot of the producers' state; null without one. */
  snapshotOffset: Offset | null;
  /** What the index of aborted transactions of a segment is known to hold; null while there was none. */
  #persistedAborted: { readonly segment: Segment; readonly count: number } | null = null;

  constructor(
    environment: Pick<LogEnvironment, "disk" | "jointSync">,
    log: {
      readonly directory: string;
      readonly segments: Segments;
      readonly epochs: LeaderEpochs;
      readonly snapshotOffset: Offset | null;
    },
  ) {
    this.#environment = environment;
    this.#directory = log.directory;
    this.#segments = log.segments;
    this.#epochs = log.epochs;
    this.snapshotOffset = log.snapshotOffset;
  }

  /** The log was cut: files may say less than was thought. */
  restart(snapshotOffset: Offset | null): void {
    this.snapshotOffset = snapshotOffset;
    this.#persistedAborted = null;
  }

  /** The segment's indexes, the snapshot at `offset`, and the epochs; all durable, with one sync and one of the directory. */
  async persist(segment: Segment, offset: Offset, snapshot: Buffer): Promise<void> {
    const { disk, jointSync } = this.#environment;
    const epochsPath = `${this.#directory}/${fileNames.leaderEpochs}`;
    const areEpochsChanged = this.#epochs.isChanged;
    this.#epochs.isChanged = false;
    const before = this.snapshotOffset;
    const written: DiskFile[] = [];
    try {
      for (const each of this.#segments.all()) if (each.isAbortedUnsaved) await this.#persistAborted(each);
      await this.#persistAborted(segment);
      if (areEpochsChanged)
        written.push(await this.#write(`${epochsPath}.tmp`, Buffer.from(encodeEpochs(this.#epochs.all()))));
      if (before !== offset) written.push(await this.#write(this.#snapshotPath(offset), snapshot));
      // Its batches may so far be durable in the journal only.
      await jointSync.sync([segment.log, ...segment.indexFiles(), ...written]);
    } catch (error) {
      this.#epochs.isChanged ||= areEpochsChanged;
      throw error;
    } finally {
      await Promise.allSettled(written.map((file) => file.close()));
    }
    if (areEpochsChanged) await disk.rename(`${epochsPath}.tmp`, epochsPath);
    if (before === null || before < offset) {
      this.snapshotOffset = offset;
      // One in the middle of a segment is of no use beside a newer one. Its removal is as durable as the rest: should it come
      // back after a cut, it would speak of records that are gone.
      const isStray = before !== null && this.#segments.all().every(({ baseOffset }) => baseOffset !== before);
      if (isStray) await disk.removeFile(this.#snapshotPath(before));
    }
    await disk.syncDirectory(this.#directory);
  }

  /** Before the snapshot's name can be there: it says that nobody need look at older batches for aborted transactions. */
  async #persistAborted(segment: Segment): Promise<void> {
    const count = segment.aborted?.length ?? 0;
    const persisted = this.#persistedAborted;
    const isSaved = count === 0 || (persisted?.segment === segment && persisted.count === count);
    if (segment.aborted === null || (isSaved && !segment.isAbortedUnsaved)) return;
    const { disk, jointSync } = this.#environment;
    const file = await this.#write(segment.path(".txnindex"), Buffer.concat(segment.aborted.map(encodeAborted)));
    try {
      await jointSync.sync([file]);
    } finally {
      await file.close();
    }
    await disk.syncDirectory(this.#directory);
    this.#persistedAborted = { segment, count };
    segment.isAbortedUnsaved = false;
  }

  #snapshotPath(offset: Offset): string {
    return `${this.#directory}/${segmentFileName(offset, ".snapshot")}`;
  }

  /** Open still, to be synced with others. */
  async #write(path: string, bytes: Buffer): Promise<DiskFile> {
    const file = await this.#environment.disk.open(path, "create");
    try {
      await file.write([bytes], 0);
      await file.truncate(bytes.length);
    } catch (error) {
      await file.close();
      throw error;
    }
    return file;
  }
}
