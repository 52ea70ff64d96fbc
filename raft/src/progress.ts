import type { NodeId, SnapshotPoint } from "./messages.ts";

/**
 * What a leader knows of one other node.
 *
 *     probe ── taken ──────────────────▶ replicate     one message at a time until it is known where both logs agree;
 *       ▲  ◀── not taken, or silent ───     │          then several at once, each behind the one before
 *       │                                   │
 *     snapshot ◀── the entries are gone ────┘
 */
export class Progress {
  readonly id: NodeId;
  mode: "probe" | "replicate" | "snapshot" = "probe";
  /** On its disk, as it has said. */
  matchIndex = 0;
  nextIndex: number;
  /** It has been told that all up to there is committed. */
  committedIndex = 0;
  /** probe: a message is under way. */
  isWaiting = false;
  /** replicate: an empty message is to show whether those before it have come. */
  isInDoubt = false;
  /** The last entries of messages that are under way, in their order. */
  inFlight: number[] = [];
  /** It has said something since that was looked at last. */
  isActive = true;
  /** Answers in a row that take back what it has acknowledged. */
  contradictions = 0;
  /** It has lost what it had acknowledged; by which token it said so. */
  recoveryToken: number | null = null;
  /** The last heartbeat that it has answered. */
  round = 0;
  #transfer: SnapshotTransfer | null = null;

  constructor(id: NodeId, nextIndex: number) {
    this.id = id;
    this.nextIndex = nextIndex;
  }

  get transfer(): SnapshotTransfer | null {
    return this.#transfer;
  }

  taken(matchIndex: number): boolean {
    this.isWaiting = false;
    this.contradictions = 0;
    if (this.mode === "snapshot" && matchIndex < (this.#transfer?.point.index ?? 0)) return false;
    if (this.mode !== "replicate") {
      this.mode = "replicate";
      this.#transfer = null;
      this.inFlight = [];
      this.nextIndex = matchIndex + 1;
    }
    while (this.inFlight[0] !== undefined && this.inFlight[0] <= matchIndex) this.inFlight.shift();
    this.nextIndex = Math.max(this.nextIndex, matchIndex + 1);
    if (matchIndex <= this.matchIndex) return false;
    this.matchIndex = matchIndex;
    return true;
  }

  probeFrom(nextIndex: number): void {
    this.mode = "probe";
    this.nextIndex = Math.max(nextIndex, this.matchIndex + 1);
    this.isWaiting = false;
    this.isInDoubt = false;
    this.inFlight = [];
    this.#transfer = null;
  }

  beginSnapshot(point: SnapshotPoint): void {
    this.mode = "snapshot";
    this.inFlight = [];
    this.isWaiting = false;
    this.#transfer = { point, offset: 0, isUnderWay: false, silentTicks: 0 };
  }

  /** It has all bytes before this one. */
  wantsFrom(index: number, offset: number): void {
    if (this.#transfer === null || this.#transfer.point.index !== index) return;
    this.#transfer = { point: this.#transfer.point, offset, isUnderWay: false, silentTicks: 0 };
  }
}

export interface SnapshotTransfer {
  readonly point: SnapshotPoint;
  readonly offset: number;
  /** The bytes from there on were asked of the host, or sent. */
  isUnderWay: boolean;
  silentTicks: number;
}
