import type { Logger } from "@millrace/base/logger";
import { partitionKey } from "../../topic-partition.ts";
import type { TopicPartition } from "../../topic-partition.ts";
import type { Bell } from "./bell.ts";
import type { Owner } from "./membership.ts";

/** An owner that is still taking partitions over may go on for so long before it is told to give some up. */
const assignGraceMs = 5_000;

/** What the membership has given to its owner, and the order of the calls to it. `lost` overtakes whatever is under way. */
export class Holdings {
  readonly #owner: Owner;
  readonly #bell: Bell;
  readonly #logger: Logger;
  readonly #revokeTimeoutMs: number;
  #held = new Map<string, TopicPartition>();
  #assigning: Promise<void> = Promise.resolve();
  #revoking: Promise<void> = Promise.resolve();
  #losing: Promise<void> = Promise.resolve();
  /** Goes up with every loss: what began before it is void. */
  #lossesCount = 0;

  constructor(
    owner: Owner,
    {
      bell,
      logger,
      revokeTimeoutMs,
    }: { readonly bell: Bell; readonly logger: Logger; readonly revokeTimeoutMs: number },
  ) {
    this.#owner = owner;
    this.#bell = bell;
    this.#logger = logger;
    this.#revokeTimeoutMs = revokeTimeoutMs;
  }

  get all(): readonly TopicPartition[] {
    return [...this.#held.values()];
  }

  has(partition: TopicPartition): boolean {
    return this.#held.has(partitionKey(partition));
  }

  /** Settled when the owner has nothing more to do with what was lost. */
  get lossesSettled(): Promise<void> {
    return this.#losing;
  }

  /** They are held from now on; the owner takes its time to begin, but not before it is through with what it lost. */
  assign(partitions: readonly TopicPartition[]): void {
    if (partitions.length === 0) return;
    for (const partition of partitions) this.#held.set(partitionKey(partition), partition);
    const lossesCount = this.#lossesCount;
    const assigning = this.#losing.then(async () => {
      if (lossesCount === this.#lossesCount) await this.#owner.assign(partitions);
    });
    this.#assigning = Promise.all([this.#assigning, assigning]).then(() => {});
  }

  /**
   * Settled when none of them is held any more. An owner that needs longer than the time that it has loses them: the group
   * does not wait, and would give them to another one.
   */
  async revoke(partitions: readonly TopicPartition[]): Promise<void> {
    this.#revoking = this.#revoking.then(async () => this.#revoke(partitions));
    await this.#revoking;
  }

  async #revoke(partitions: readonly TopicPartition[]): Promise<void> {
    if (partitions.length === 0) return;
    const lossesCount = this.#lossesCount;
    const isVoid = (): boolean => lossesCount !== this.#lossesCount;
    await this.#bell.done(this.#assigning, assignGraceMs, isVoid);
    const left = partitions.filter((partition) => this.has(partition));
    if (isVoid() || left.length === 0) return;
    const isDone = await this.#bell.done(this.#owner.revoke(left), this.#revokeTimeoutMs, isVoid);
    if (isVoid()) return;
    this.#forget(left);
    if (isDone) return;
    this.#logger.warn("work on partitions that are given up is aborted: the group waits no longer", {
      partitions: left.map(partitionKey),
      revokeTimeoutMs: this.#revokeTimeoutMs,
    });
    await this.#owner.lost(left);
  }

  /** All of it, at once. */
  lose(): void {
    this.#lossesCount++;
    const lost = this.all;
    this.#held = new Map();
    this.#assigning = Promise.resolve();
    if (lost.length > 0) {
      const before = this.#losing;
      const losing = this.#owner.lost(lost);
      this.#losing = before.then(async () => losing);
    }
    this.#bell.ring();
  }

  #forget(partitions: readonly TopicPartition[]): void {
    for (const partition of partitions) this.#held.delete(partitionKey(partition));
  }
}
