import type { NodeId, Status } from "raft-ts-lite";

/** When a leader last heard from another node, in the time of its own clock. */
export interface HeardOf {
  readonly lastHeardMs: number;
  /** -1: it has not had all that the leader had since this node leads. */
  readonly lastCaughtUpMs: number;
}

interface Noted extends HeardOf {
  /** The end of the leader's log when it was last heard. */
  readonly lastIndex: number;
}

const never: Noted = { lastHeardMs: -1, lastCaughtUpMs: -1, lastIndex: Infinity };

/** What a leader notes of the others, for `kafka-metadata-quorum describe` (KIP-836): nothing is decided by it. */
export class Heard {
  readonly #nodes = new Map<NodeId, Noted>();
  #term = -1;

  get(node: NodeId): HeardOf | null {
    return this.#nodes.get(node) ?? null;
  }

  /** After messages from these nodes were taken in. */
  note(from: Iterable<NodeId>, { role, term, lastIndex, others }: Status, nowMs: number): void {
    if (term !== this.#term) this.#nodes.clear();
    this.#term = term;
    if (role !== "leader") return;
    for (const node of from) {
      const matchIndex = others.find(({ id }) => id === node)?.matchIndex ?? -1;
      if (matchIndex === -1) continue;
      const before = this.#nodes.get(node) ?? never;
      let { lastCaughtUpMs } = before;
      if (matchIndex >= lastIndex) lastCaughtUpMs = nowMs;
      // As Kafka counts it: one that has what there was when it was heard before had caught up then.
      else if (matchIndex >= before.lastIndex) lastCaughtUpMs = before.lastHeardMs;
      this.#nodes.set(node, { lastHeardMs: nowMs, lastCaughtUpMs, lastIndex });
    }
  }
}
