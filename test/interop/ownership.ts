import { appendFileSync, closeSync, openSync, readSync } from "node:fs";
import type { MemberEvent } from "./contract.ts";

/** A line of the log that the members of a group share: in the order in which the members wrote them. */
export type LoggedEvent = MemberEvent & { readonly member: string };

/**
 * What the log of a group says from the outside: who owns which partition, and what was done wrong. A member owns a
 * partition from the call that assigns it to the call that revokes it; it logs the second before it tells the broker,
 * and the first after the broker has told it, so that in a correct group the one always stands before the other.
 */
export class Ownership {
  readonly #owners = new Map<number, string>();
  readonly #leaving = new Set<string>();
  /** Where each owner stands in its partitions; missing until its first records. */
  readonly #positions = new Map<number, number>();
  readonly #committed = new Map<number, number>();
  /** Commits whose answer nobody saw: the broker may have them or not. */
  readonly #attempted = new Map<number, Set<number>>();
  /** Where a member may go on: the last commit when it became the owner, and those since. */
  readonly #starts = new Map<number, Set<number>>();
  readonly #processed = new Map<number, number>();
  readonly faults: string[] = [];

  /** How many partitions each owner has. */
  get counts(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    for (const owner of this.#owners.values()) counts.set(owner, (counts.get(owner) ?? 0) + 1);
    return counts;
  }

  partitionsOf(member: string): number[] {
    return [...this.#owners].filter(([, owner]) => owner === member).map(([partition]) => partition);
  }

  committed(partition: number): number {
    return this.#committed.get(partition) ?? 0;
  }

  /** All before this offset were processed by somebody. */
  processed(partition: number): number {
    return this.#processed.get(partition) ?? 0;
  }

  add(event: LoggedEvent): void {
    const { member } = event;
    switch (event.event) {
      case "assigned":
        for (const partition of event.partitions ?? []) this.#assign(partition, member);
        return;
      case "revoked":
      case "lost":
        for (const partition of event.partitions ?? []) this.#release(partition, member);
        return;
      case "records":
        this.#process(event.partition, member, event);
        return;
      case "committing":
        for (const [partition, offset] of entriesOf(event.offsets)) {
          this.#attempted.set(partition, (this.#attempted.get(partition) ?? new Set()).add(offset));
          this.#starts.get(partition)?.add(offset);
        }
        return;
      case "committed":
        for (const [partition, offset] of entriesOf(event.offsets)) {
          this.#committed.set(partition, offset);
          this.#attempted.delete(partition);
        }
        return;
      case "uncommitted":
        return;
      case "failed":
        this.faults.push(`${member} failed: ${event.error}`);
        return;
      case "closing":
        this.#leaving.add(member);
        return;
      case "closed":
      case "dead":
        this.#leaving.delete(member);
        for (const partition of this.partitionsOf(member)) this.#release(partition, member);
    }
  }

  #assign(partition: number, member: string): void {
    const owner = this.#owners.get(partition);
    // Who has left says so after its coordinator, which may have told others already.
    if (owner !== undefined && owner !== member && !this.#leaving.has(owner)) {
      this.faults.push(`${partition} was assigned to ${member} while ${owner} had it`);
    }
    this.#owners.set(partition, member);
    this.#positions.delete(partition);
    this.#starts.set(partition, new Set([this.committed(partition), ...(this.#attempted.get(partition) ?? [])]));
  }

  #release(partition: number, member: string): void {
    if (this.#owners.get(partition) === member) this.#owners.delete(partition);
  }

  #process(partition: number, member: string, { from, to }: { readonly from: number; readonly to: number }): void {
    const owner = this.#owners.get(partition);
    if (owner !== member) this.faults.push(`${member} processed ${partition} from ${from} on, which ${owner} had`);
    const position = this.#positions.get(partition);
    const starts = this.#starts.get(partition) ?? new Set();
    if (from !== position && !starts.has(from)) {
      const due = position ?? [...starts].join(" or ");
      this.faults.push(`${member} went on in ${partition} at ${from}, where ${due} was due`);
    }
    this.#positions.set(partition, to);
    const processed = this.processed(partition);
    if (from > processed) this.faults.push(`${member} left out ${processed} to ${from} of ${partition}`);
    this.#processed.set(partition, Math.max(processed, to));
  }
}

function entriesOf(offsets: Readonly<Record<string, number>>): [partition: number, offset: number][] {
  return Object.entries(offsets).map(([partition, offset]) => [Number(partition), offset]);
}

/** The file to which the members of a group append, as they write it. */
export class GroupLog implements Disposable {
  readonly path: string;
  readonly #file: number;
  #rest = "";
  readonly #ownership = new Ownership();

  constructor(path: string) {
    this.path = path;
    appendFileSync(path, "");
    this.#file = openSync(path, "r");
  }

  /** With all that is written by now. */
  get ownership(): Ownership {
    const chunk = Buffer.alloc(65_536);
    for (;;) {
      const size = readSync(this.#file, chunk);
      if (size === 0) return this.#ownership;
      const lines = (this.#rest + chunk.toString("latin1", 0, size)).split("\n");
      this.#rest = lines.pop() ?? "";
      for (const line of lines) this.#ownership.add(JSON.parse(line) as LoggedEvent);
    }
  }

  /** What a process that was killed cannot say itself. */
  tellDead(member: string): void {
    const event: LoggedEvent = { member, event: "dead" };
    appendFileSync(this.path, `${JSON.stringify(event)}\n`);
  }

  [Symbol.dispose](): void {
    closeSync(this.#file);
  }
}
