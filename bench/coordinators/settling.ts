import { failRun } from "./link.ts";

/** A member as it knows itself. */
export interface GroupMember {
  readonly epoch: number;
  /** It has its assignment and the coordinator knows that. */
  readonly isStable: boolean;
  readonly owned: readonly number[];
}

const settleMsMax = 120_000;

/** Waits until all members of a group are stable under one epoch and every partition is owned once, by equal shares. */
export class Settling {
  readonly #partitions: number;
  #members: readonly GroupMember[] = [];
  #settled: (() => void) | null = null;

  constructor(partitions: number) {
    this.#partitions = partitions;
  }

  /** To be called when something has changed. */
  look(): void {
    if (this.#settled !== null && this.#isSettled()) {
      this.#settled();
      this.#settled = null;
    }
  }

  async until(members: readonly GroupMember[], what: string): Promise<void> {
    this.#members = members;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#settled = resolve;
    const timer = setTimeout(() => failRun(`${what}: not settled: ${this.#describe()}`), settleMsMax);
    this.look();
    await promise;
    clearTimeout(timer);
  }

  #isSettled(): boolean {
    const epoch = this.#members[0]?.epoch;
    const least = Math.floor(this.#partitions / this.#members.length);
    const most = Math.ceil(this.#partitions / this.#members.length);
    let count = 0;
    for (const { isStable, epoch: own, owned } of this.#members) {
      if (!isStable || own !== epoch || owned.length < least || owned.length > most) return false;
      count += owned.length;
    }
    return count === this.#partitions && new Set(this.#members.flatMap(({ owned }) => owned)).size === count;
  }

  #describe(): string {
    const stable = this.#members.filter(({ isStable }) => isStable).length;
    const epochs = [...new Set(this.#members.map(({ epoch }) => epoch))].join(" ");
    const owned = this.#members.reduce((sum, member) => sum + member.owned.length, 0);
    return `${stable} of ${this.#members.length} members are stable, their epochs ${epochs}, ${owned} of ${this.#partitions} partitions owned`;
  }
}
