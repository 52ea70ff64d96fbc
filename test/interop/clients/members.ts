import { openSync, writeSync } from "node:fs";
import { text } from "node:stream/consumers";
import type { GroupMode, MemberEvent } from "../contract.ts";

/** What a program of members is told on its command line (../README.md). */
export interface MemberArgs {
  readonly bootstrap: string;
  readonly topic: string;
  readonly group: string;
  readonly mode: GroupMode;
  readonly name: string;
}

/** A member that runs; it leaves when it is closed. */
export type Leave = () => Promise<void>;

/** Tells the log what happens to a member. */
export type Tell = (event: MemberEvent) => void;

/** `MEMBERS BOOTSTRAP LOG TOPIC GROUP MODE NAME...`: a member for each name, until the standard input ends. */
export async function runMembers(join: (args: MemberArgs, log: MemberLog) => Promise<Leave>): Promise<void> {
  const [bootstrap = "", path = "", topic = "", group = "", mode = "eager", ...names] = process.argv.slice(2);
  const members = await Promise.all(
    names.map(async (name) => {
      const log = new MemberLog(path, name);
      const args = { bootstrap, topic, group, mode: mode as GroupMode, name };
      return { log, leave: await join(args, log) };
    }),
  );
  await text(process.stdin);
  await Promise.all(
    members.map(async ({ log, leave }) => {
      log.tell({ event: "closing" });
      await leave();
      log.tell({ event: "closed" });
    }),
  );
}

/** One write a line, to a file that is open for appending: lines of all members stand in the order in which they came. */
export class MemberLog {
  readonly #file: number;
  readonly #member: string;
  #owned: ReadonlySet<number> = new Set();

  constructor(path: string, member: string) {
    this.#file = openSync(path, "a");
    this.#member = member;
  }

  readonly tell: Tell = (event) => {
    writeSync(this.#file, `${JSON.stringify({ member: this.#member, ...event })}\n`);
  };

  /** For clients that tell the whole assignment: what is gone and what is new follows from it. */
  assignedNow(partitions: readonly number[]): void {
    this.keptNow(partitions);
    const assigned = partitions.filter((partition) => !this.#owned.has(partition)).toSorted();
    this.tell({ event: "assigned", partitions: assigned });
    this.#owned = new Set(partitions);
  }

  /** All but these are given back. */
  keptNow(partitions: readonly number[]): void {
    const revoked = [...this.#owned].filter((partition) => !partitions.includes(partition)).toSorted();
    if (revoked.length > 0) this.tell({ event: "revoked", partitions: revoked });
    this.#owned = new Set([...this.#owned].filter((partition) => partitions.includes(partition)));
  }

  owns(partition: number): boolean {
    return this.#owned.has(partition);
  }
}
