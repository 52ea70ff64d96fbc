import type { Message } from "raft-ts-lite";
import { encodeMessage } from "./raft-frames.ts";

export interface QueueLimits {
  readonly countMax: number;
  /** One message may be larger: then it is alone. */
  readonly bytesMax: number;
}

interface Queued {
  readonly frame: Buffer;
  /** Raft sends such a message again by itself. */
  readonly hasEntries: boolean;
}

/** Messages to one node, in order, and bounded: what is too much goes from the front, messages with entries first. */
export class MessageQueue {
  readonly #limits: QueueLimits;
  readonly #queued: Queued[] = [];
  #bytes = 0;

  constructor(limits: QueueLimits) {
    this.#limits = limits;
  }

  get length(): number {
    return this.#queued.length;
  }

  get sizeBytes(): number {
    return this.#bytes;
  }

  get isEmpty(): boolean {
    return this.#queued.length === 0;
  }

  /** The new message is always taken. */
  push(message: Message): void {
    const frame = encodeMessage(message);
    const isAppend = message.kind === "append" && message.entries.length > 0;
    this.#queued.push({ frame, hasEntries: isAppend || message.kind === "snapshot" });
    this.#bytes += frame.length;
    while (this.#queued.length > 1 && this.#isTooMuch) this.#dropOne();
  }

  /** From the front, up to so many bytes; one at least, where there is one. */
  take(bytesMax: number): readonly Buffer[] {
    let count = 0;
    let bytes = 0;
    for (const { frame } of this.#queued) {
      if (count > 0 && bytes + frame.length > bytesMax) break;
      bytes += frame.length;
      count++;
    }
    this.#bytes -= bytes;
    return this.#queued.splice(0, count).map(({ frame }) => frame);
  }

  clear(): void {
    this.#queued.length = 0;
    this.#bytes = 0;
  }

  get #isTooMuch(): boolean {
    return this.#queued.length > this.#limits.countMax || this.#bytes > this.#limits.bytesMax;
  }

  #dropOne(): void {
    const last = this.#queued.length - 1;
    const oldest = this.#queued.findIndex(({ hasEntries }, place) => hasEntries && place < last);
    const [dropped] = this.#queued.splice(Math.max(0, oldest), 1);
    this.#bytes -= dropped?.frame.length ?? 0;
  }
}
