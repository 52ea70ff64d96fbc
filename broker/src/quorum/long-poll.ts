import type { Clock, Random } from "@millrace/base/world";
import type { NodeId } from "raft-ts-lite";
import { Backoff, pause } from "../peers/backoff.ts";

/** One round: how many messages came; null where the node did not answer as it should. */
type Ask = (signal: AbortSignal) => Promise<number | null>;

/** Nothing after less than that is not what a poll is for: somebody else asks under the same name, say. */
const hastyMs = 50;

interface LongPollOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly ask: Ask;
  onUnreachable(): void;
  /** A bug showed itself. */
  fatal(error: unknown): void;
}

/** Asks one node again and again, until it is stopped. */
export class LongPoll {
  readonly target: NodeId;
  readonly #stopping = new AbortController();

  constructor(target: NodeId, { ask, onUnreachable, fatal, ...world }: LongPollOptions) {
    this.target = target;
    this.#run(ask, onUnreachable, world).catch(fatal);
  }

  stop(): void {
    this.#stopping.abort();
  }

  async #run(
    ask: Ask,
    onUnreachable: () => void,
    { clock, random }: { readonly clock: Clock; readonly random: Random },
  ): Promise<void> {
    const { signal } = this.#stopping;
    const backoff = new Backoff(random);
    while (!signal.aborted) {
      const startedMs = clock.monotonicMs();
      const count = await ask(signal);
      if (signal.aborted) return;
      if (count === null) {
        onUnreachable();
        await pause(clock, backoff.nextMs(), signal);
        continue;
      }
      backoff.reset();
      const isHasty = count === 0 && clock.monotonicMs() - startedMs < hastyMs;
      if (isHasty) await pause(clock, hastyMs, signal);
    }
  }
}
