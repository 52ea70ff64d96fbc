import type { VirtualClock } from "@millrace/simulator/virtual-clock";
import type { HistoryEvent, Lane } from "@millrace/simulator/histories/history";
import type { TappedCommit, TappedOffset } from "./commit-tap.ts";

/** Who reads, as far as the ledger must know. */
export interface Reader {
  readonly name: string;
  /** "orders-3" */
  readonly owned: ReadonlySet<string>;
  /** Stands still: what it believes is of the past. */
  readonly isStalled: boolean;
}

export interface SeenRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly value: string;
}

const group = "group";

/** What is known of one partition. */
interface Page {
  /** Handled to the end by somebody, beyond `doneTo`. */
  readonly early: Set<number>;
  /** All before it is. */
  doneTo: number;
  committed: number;
}

/**
 * What all members do, in the order in which it happens: as a history for the checker, and looked at at once where a whole
 * view says more than what each member has seen.
 */
export class Ledger {
  readonly history: HistoryEvent[] = [];
  readonly problems: string[] = [];
  /** How often partitions came and went. */
  changesCount = 0;
  readonly #clock: VirtualClock;
  readonly #readers: () => Iterable<Reader>;
  readonly #pages = new Map<string, Page>();
  readonly #open = new Map<TappedCommit, number>();
  readonly #counts = { sent: 0, acknowledged: 0, handled: 0, again: 0, commits: 0, refused: 0, lost: 0 };
  #nextCall = 1;

  constructor(clock: VirtualClock, readers: () => Iterable<Reader>) {
    this.#clock = clock;
    this.#readers = readers;
  }

  get counts(): Readonly<Record<string, number>> {
    return { ...this.#counts, changes: this.changesCount };
  }

  fault(text: string): void {
    this.problems.push(`${(this.#clock.monotonicMs() / 1_000).toFixed(3)} ${text}`);
  }

  // --- Records ----------------------------------------------------------------------------------------------------------

  /** Gives what is to be called with the offset, or with why there is none. */
  sent(client: string, { topic, partition, value }: Omit<SeenRecord, "offset">): (outcome: number | string) => void {
    const call = this.#invoke(client, { name: "send", topic, partition, value });
    this.#counts.sent++;
    return (outcome) => {
      if (typeof outcome === "string") return this.#note(client, { type: "info", call, error: outcome });
      this.#counts.acknowledged++;
      this.#note(client, { type: "ok", call, offset: outcome });
    };
  }

  polled(client: string, { topic, partition, offset, value }: SeenRecord): void {
    const call = this.#invoke(client, { name: "poll" });
    this.#note(client, { type: "ok", call, records: [[topic, partition, offset, value]] });
  }

  /** A member begins to work on it. */
  begun(reader: Reader, { topic, partition, offset }: SeenRecord): void {
    this.#lookForOthers(reader, `${topic}-${partition}`, `works on ${topic}-${partition}@${offset}`);
  }

  done({ topic, partition, offset }: SeenRecord): void {
    const page = this.#page(`${topic}-${partition}`);
    this.#counts.handled++;
    if (offset < page.doneTo || page.early.has(offset)) this.#counts.again++;
    page.early.add(offset);
    while (page.early.delete(page.doneTo)) page.doneTo++;
  }

  // --- Ownership --------------------------------------------------------------------------------------------------------

  changed(reader: Reader, type: "assigned" | "revoked" | "lost", partitions: readonly Lane[]): void {
    this.changesCount++;
    if (type === "lost") this.#counts.lost++;
    this.#note(reader.name, { type, group, partitions });
    if (type !== "assigned") return;
    for (const [topic, partition] of partitions) this.#lookForOthers(reader, `${topic}-${partition}`, "was given it");
  }

  /** Where a member goes on: asked when it was given the partition, answered by its first record. */
  positionAsked(client: string): (first: SeenRecord) => void {
    const call = this.#invoke(client, { name: "position", group });
    return ({ topic, partition, offset }) => {
      this.#note(client, { type: "ok", call, positions: [[topic, partition, offset]] });
    };
  }

  crashed({ name }: Reader): void {
    this.#note(name, { type: "crash" });
  }

  #lookForOthers(reader: Reader, key: string, what: string): void {
    for (const other of this.#readers()) {
      if (other === reader || other.isStalled || reader.isStalled || !other.owned.has(key)) continue;
      this.fault(`two owners of ${key}: ${reader.name} ${what}, and ${other.name} has it`);
    }
  }

  // --- Commits, as the broker sees them ---------------------------------------------------------------------------------

  commitAsked(commit: TappedCommit): void {
    for (const { topic, partition, offset } of commit.offsets) {
      const { doneTo } = this.#page(`${topic}-${partition}`);
      if (offset <= doneTo) continue;
      this.fault(`${commit.clientId} commits ${topic}-${partition}@${offset}, and ${doneTo} is not handled`);
    }
    const positions = commit.offsets.map(({ topic, partition, offset }) => [topic, partition, offset] as const);
    this.#open.set(commit, this.#invoke(commit.clientId, { name: "commit-offsets", group, positions }));
  }

  commitAnswered(commit: TappedCommit, stored: readonly TappedOffset[]): void {
    const call = this.#open.get(commit);
    if (call === undefined) return;
    this.#open.delete(commit);
    for (const { topic, partition, offset } of stored) {
      const page = this.#page(`${topic}-${partition}`);
      if (offset < page.committed)
        this.fault(`${commit.clientId} takes ${topic}-${partition} from ${page.committed} back to ${offset}`);
      page.committed = offset;
    }
    const isWhole = stored.length === commit.offsets.length;
    this.#counts[isWhole ? "commits" : "refused"]++;
    if (isWhole) this.#note(commit.clientId, { type: "ok", call });
    else this.#note(commit.clientId, { type: stored.length === 0 ? "fail" : "info", call, error: "refused" });
  }

  /** Whether all is handled and committed up to these ends. */
  isThrough(ends: ReadonlyMap<string, number>): boolean {
    for (const [key, end] of ends) {
      const { doneTo, committed } = this.#page(key);
      if (doneTo < end || committed !== end) return false;
    }
    return true;
  }

  whatIsLeft(): string {
    const pages = Array.from(
      this.#pages,
      ([key, page]) => `${key} done to ${page.doneTo}, committed ${page.committed}`,
    );
    const readers = Array.from(
      this.#readers(),
      ({ name, owned, isStalled }) => `${name}${isStalled ? " (stalled)" : ""} has ${[...owned].join(" ")}`,
    );
    return [...pages, ...readers].join("; ");
  }

  // --- Within -----------------------------------------------------------------------------------------------------------

  #page(key: string): Page {
    let page = this.#pages.get(key);
    if (page === undefined) this.#pages.set(key, (page = { early: new Set(), doneTo: 0, committed: 0 }));
    return page;
  }

  #invoke(client: string, call: Readonly<Record<string, unknown>>): number {
    const number = this.#nextCall++;
    this.#note(client, { type: "invoke", call: number, ...call });
    return number;
  }

  #note(client: string, event: Readonly<Record<string, unknown>>): void {
    const atUs = Math.round(this.#clock.monotonicMs() * 1_000);
    this.history.push({ client, atUs, ...event } as unknown as HistoryEvent);
  }
}
