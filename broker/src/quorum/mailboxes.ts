import type { Clock, Timer } from "@millrace/base/world";
import type { Message, NodeId } from "raft-ts-lite";
import { MessageQueue } from "./message-queue.ts";
import type { QueueLimits } from "./message-queue.ts";

export interface MailboxLimits extends QueueLimits {
  readonly mailboxesMax: number;
  /** What nobody has asked for in so long goes. */
  readonly idleMs: number;
}

interface Mailbox {
  readonly queue: MessageQueue;
  /** Of the poll that came last: only that one takes anything. */
  turn: number;
  /** Of a poll that waits. */
  wake: (() => void) | null;
  /** While no poll waits. */
  expiry: Timer | null;
}

const nothing: readonly Buffer[] = [];

/** Messages to nodes whose address nobody knows: they come and ask. */
export class Mailboxes {
  readonly #clock: Clock;
  readonly #limits: MailboxLimits;
  /** The one that was asked for last is the last. */
  readonly #mailboxes = new Map<NodeId, Mailbox>();

  constructor(clock: Clock, limits: MailboxLimits) {
    this.#clock = clock;
    this.#limits = limits;
  }

  /** Of all nodes together. */
  get sizeBytes(): number {
    let bytes = 0;
    for (const { queue } of this.#mailboxes.values()) bytes += queue.sizeBytes;
    return bytes;
  }

  get count(): number {
    return this.#mailboxes.size;
  }

  put(message: Message): void {
    const mailbox = this.#of(message.to);
    mailbox.queue.push(message);
    mailbox.wake?.();
  }

  /**
   * What is there for a node, as soon as there is something; nothing when the time is over. One poll of a node waits at a time: an
   * older one ends with nothing, since its node has given it up.
   */
  async take(
    node: NodeId,
    wait: { readonly maxWaitMs: number; readonly bytesMax: number },
  ): Promise<readonly Buffer[]> {
    const mailbox = this.#of(node);
    this.#mailboxes.delete(node);
    this.#mailboxes.set(node, mailbox);
    const turn = ++mailbox.turn;
    mailbox.wake?.();
    if (mailbox.queue.isEmpty && wait.maxWaitMs > 0) await this.#something(mailbox, wait.maxWaitMs);
    if (mailbox.turn !== turn) return nothing;
    const frames = mailbox.queue.take(wait.bytesMax);
    if (this.#mailboxes.get(node) === mailbox) this.#leave(node, mailbox);
    return frames;
  }

  close(): void {
    for (const node of [...this.#mailboxes.keys()]) this.#drop(node);
  }

  /** Until something is there, the time is over, another poll has come, or the mailbox is gone. */
  async #something(mailbox: Mailbox, maxWaitMs: number): Promise<void> {
    mailbox.expiry?.cancel();
    mailbox.expiry = null;
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        timer.cancel();
        if (mailbox.wake === wake) mailbox.wake = null;
        resolve();
      };
      const timer = this.#clock.schedule(maxWaitMs, wake);
      mailbox.wake = wake;
    });
  }

  #of(node: NodeId): Mailbox {
    const known = this.#mailboxes.get(node);
    if (known !== undefined) return known;
    const [first] = this.#mailboxes.keys();
    if (first !== undefined && this.#mailboxes.size >= this.#limits.mailboxesMax) this.#drop(first);
    const mailbox: Mailbox = { queue: new MessageQueue(this.#limits), turn: 0, wake: null, expiry: null };
    this.#mailboxes.set(node, mailbox);
    this.#leave(node, mailbox);
    return mailbox;
  }

  #leave(node: NodeId, mailbox: Mailbox): void {
    mailbox.expiry?.cancel();
    mailbox.expiry = this.#clock.schedule(this.#limits.idleMs, () => this.#drop(node));
  }

  #drop(node: NodeId): void {
    const mailbox = this.#mailboxes.get(node);
    this.#mailboxes.delete(node);
    mailbox?.queue.clear();
    mailbox?.expiry?.cancel();
    mailbox?.wake?.();
  }
}
