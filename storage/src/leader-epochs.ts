import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import { NO_LEADER_EPOCH } from "./types.ts";
import type { LeaderEpoch, Offset } from "./types.ts";

export interface EpochStart {
  readonly epoch: LeaderEpoch;
  readonly startOffset: Offset;
}

/** Where each leader epoch begins in the log (KIP-101): how replicas find out up to which offset they agree. */
export class LeaderEpochs {
  /** Epochs and start offsets both rise. */
  #starts: EpochStart[] = [];
  /** Whether the file is behind. */
  isChanged = false;

  get latest(): LeaderEpoch {
    return this.#starts.at(-1)?.epoch ?? NO_LEADER_EPOCH;
  }

  all(): readonly EpochStart[] {
    return this.#starts;
  }

  /** An epoch that is not newer than the latest is a later batch of one that is known. */
  assign(epoch: LeaderEpoch, startOffset: Offset): void {
    if (epoch <= this.latest || epoch < 0) return;
    // Epochs that begin where the new one does have no record: nobody can have followed them.
    while ((this.#starts.at(-1)?.startOffset ?? -1) >= startOffset) this.#starts.pop();
    this.#starts.push({ epoch, startOffset });
    this.isChanged = true;
  }

  /**
   * A batch comes to the end of the log. Whoever has led without writing anything may get one of an epoch before its own from the next
   * leader: then its own never had a record, and nobody has followed it.
   */
  append(epoch: LeaderEpoch, startOffset: Offset): void {
    for (let last = this.#starts.at(-1); last !== undefined && last.epoch > epoch; last = this.#starts.at(-1)) {
      if (last.startOffset < startOffset) break;
      this.#starts.pop();
      this.isChanged = true;
    }
    this.assign(epoch, startOffset);
  }

  /**
   * Where the epoch ended: the start of the first epoch after it, with the greatest epoch known here that is not newer.
   *
   *     epochs 2@0 5@100 6@180, log end 200:   4 → epoch 2, 100 · 5 → epoch 5, 180 · 6 → epoch 6, 200 · 7 → epoch −1, −1
   */
  endOffset(epoch: LeaderEpoch, logEndOffset: Offset): { readonly epoch: LeaderEpoch; readonly endOffset: Offset } {
    const unknown = { epoch: NO_LEADER_EPOCH, endOffset: -1 as Offset };
    if (epoch < 0 || epoch > this.latest) return unknown;
    if (epoch === this.latest) return { epoch, endOffset: logEndOffset };
    const next = this.#starts.findIndex((start) => start.epoch > epoch);
    const following = this.#starts[next];
    if (following === undefined) return unknown;
    const found = this.#starts[next - 1];
    // Older than all that is kept: no record of it is here, so that both agree up to where the first one begins.
    return { epoch: found === undefined ? epoch : found.epoch, endOffset: following.startOffset };
  }

  epochAt(offset: Offset): LeaderEpoch {
    return this.#starts.findLast((start) => start.startOffset <= offset)?.epoch ?? NO_LEADER_EPOCH;
  }

  /** The log was cut: epochs that began at `offset` or after it never were. */
  truncateFromEnd(offset: Offset): void {
    const kept = this.#starts.filter(({ startOffset }) => startOffset < offset);
    if (kept.length === this.#starts.length) return;
    this.#starts = kept;
    this.isChanged = true;
  }

  /** The log begins at `offset` now; the epoch of its first record is kept, and begins there. */
  truncateFromStart(offset: Offset): void {
    const first = this.#starts.findLastIndex(({ startOffset }) => startOffset <= offset);
    const found = this.#starts[first];
    if (found === undefined || (first === 0 && found.startOffset === offset)) return;
    this.#starts = [{ epoch: found.epoch, startOffset: offset }, ...this.#starts.slice(first + 1)];
    this.isChanged = true;
  }

  restore(starts: readonly EpochStart[]): void {
    this.#starts = [...starts];
  }
}

const VERSION = "0";

/** `leader-epoch-checkpoint`: version, count, then a line "epoch startOffset" each. */
export function encodeEpochs(starts: readonly EpochStart[]): string {
  return [VERSION, starts.length, ...starts.map(({ epoch, startOffset }) => `${epoch} ${startOffset}`), ""].join("\n");
}

export function decodeEpochs(text: string): Result<readonly EpochStart[], "bad-checkpoint"> {
  const [version, count, ...lines] = text.trimEnd().split("\n");
  if (version !== VERSION) return failed("bad-checkpoint", `leader epoch checkpoint of version ${version ?? ""}`);
  if (Number(count) !== lines.length)
    return failed("bad-checkpoint", `it says ${count ?? ""} lines and has ${lines.length}`);
  const starts: EpochStart[] = [];
  for (const line of lines) {
    const found = /^(\d+) (\d+)$/.exec(line);
    const epoch = Number(found?.[1]);
    const startOffset = Number(found?.[2]);
    const before = starts.at(-1);
    const isRising = before === undefined || (epoch > before.epoch && startOffset >= before.startOffset);
    if (found === null || !Number.isSafeInteger(startOffset) || !isRising)
      return failed("bad-checkpoint", `line "${line}"`);
    starts.push({ epoch: epoch as LeaderEpoch, startOffset: startOffset as Offset });
  }
  return ok(starts);
}
