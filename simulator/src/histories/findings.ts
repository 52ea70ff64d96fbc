/**
 * The classes of anomalies, by the names that Jepsen gave most of them in its workload for Kafka.
 *
 * | class | a correct cluster never shows |
 * |---|---|
 * | lost write | an acknowledged value that nobody read, though readers went past its offset |
 * | unseen | an acknowledged value that nobody read, though all was read to its end |
 * | duplicate | one value at two places |
 * | inconsistent offsets | two values at one offset |
 * | phantom read | a value that nobody sent to this partition |
 * | internal / external poll skip | a consumer that jumps over records: inside of a poll or transaction / between polls |
 * | internal / external nonmonotonic poll | a consumer that goes back without having been told to |
 * | nonmonotonic send | later sends of a producer at earlier offsets |
 * | send skip | foreign records between two of a transaction's sends to a partition |
 * | G1a | a committed reader saw a record of an aborted transaction, or anybody saw one whose send failed |
 * | precommitted read | a committed reader saw a record before its transaction's commit was asked for |
 * | torn transaction | of one transaction a part is there and a part is not |
 * | G0, G0-process | transactions whose writes, and the order of their clients, precede one another in a circle |
 * | G1c, G1c-process | information that flows in a circle: read from one another, also along the order of clients |
 *
 * Kafka does not isolate writes: send skip, G0 and G0-process are what a correct cluster shows as soon as two producers
 * share a partition, and are looked for only when `areWritesIsolated` says so.
 */
export const anomalyKinds = [
  "lost write",
  "unseen",
  "duplicate",
  "inconsistent offsets",
  "phantom read",
  "internal poll skip",
  "external poll skip",
  "internal nonmonotonic poll",
  "external nonmonotonic poll",
  "nonmonotonic send",
  "send skip",
  "G1a",
  "precommitted read",
  "torn transaction",
  "G0",
  "G0-process",
  "G1c",
  "G1c-process",
] as const;

/** What members of groups may never see; `groups.ts` says when each holds. */
export const groupViolationKinds = [
  "two owners",
  "stale commit",
  "position before commit",
  "position beyond commits",
  "processed twice",
  "never processed",
] as const;

export type AnomalyKind = (typeof anomalyKinds)[number];
export type GroupViolationKind = (typeof groupViolationKinds)[number];
export type FindingKind = AnomalyKind | GroupViolationKind;

export interface Finding {
  readonly kind: FindingKind;
  /** One line that names values, offsets and clients. */
  readonly text: string;
}

/** Counts everything that was found, and words the first of each kind. */
export class Findings {
  readonly counts: Map<FindingKind, number> = new Map();
  readonly list: Finding[] = [];
  readonly #textsMax: number;

  constructor(textsMax: number) {
    this.#textsMax = textsMax;
  }

  add(kind: FindingKind, text: () => string): void {
    const count = (this.counts.get(kind) ?? 0) + 1;
    this.counts.set(kind, count);
    if (count <= this.#textsMax) this.list.push({ kind, text: `${kind}: ${text()}` });
  }
}

/** At most this many things are named in one line. */
const namesMax = 8;

export function named(things: readonly string[]): string {
  const shown = things.slice(0, namesMax).join(", ");
  return things.length <= namesMax ? shown : `${shown} and ${things.length - namesMax} more`;
}
