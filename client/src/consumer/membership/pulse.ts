import type { Clock, Timer } from "@millrace/base/world";

const retryMsMin = 100;
const retryMsMax = 1_000;

export interface PulseHost {
  /** Sends one heartbeat, and says whether it was answered. Never rejects. */
  beat(): Promise<boolean>;
  /** Not while there is nothing to be told, or while the coordinator is busy with a request of this member. */
  mayBeat(): boolean;
  /** The coordinator waits for others to answer a request of this member: so long nobody is silent. */
  isAwaited(): boolean;
  /** Nothing was heard for a whole session: the coordinator has expelled this member, or will before it knows more. */
  onSilence(reason: string): void;
}

/**
 * Heartbeats by the clock, whatever else the member does, and the session as this side sees it: by the monotonic clock,
 * from when the last heartbeat that was answered left.
 */
export class Pulse {
  intervalMs: number;
  /** How often the process stood still for longer than a session, as `look` has seen: what was answered meanwhile is old. */
  stallsCount = 0;
  readonly #clock: Clock;
  readonly #host: PulseHost;
  readonly #sessionTimeoutMs: number;
  #timer: Timer | null = null;
  #dueMs = Number.POSITIVE_INFINITY;
  #isStopped = true;
  #isBeating = false;
  #isDueAtOnce = false;
  #lookedMs = 0;
  #failuresCount = 0;
  /** A heartbeat that failed is not followed by the next one at once. */
  #notBeforeMs = 0;
  /** Null while it is no member: then there is no session. */
  #heardMs: number | null = null;

  constructor(
    clock: Clock,
    host: PulseHost,
    { intervalMs, sessionTimeoutMs }: { readonly intervalMs: number; readonly sessionTimeoutMs: number },
  ) {
    this.#clock = clock;
    this.#host = host;
    this.intervalMs = intervalMs;
    this.#sessionTimeoutMs = sessionTimeoutMs;
  }

  start(): void {
    this.#isStopped = false;
    this.#lookedMs = this.#clock.monotonicMs();
    this.#scheduleIn(0);
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  /** The coordinator counts the session from then on, or later. Where it is over by now, all the same, that is told. */
  heard(atMs: number = this.#clock.monotonicMs()): void {
    this.#heardMs = Math.max(this.#heardMs ?? atMs, atMs);
    this.look();
  }

  /**
   * Whether the session is over, and the process stood still. After a standstill what came over the network may be seen before
   * any timer: whoever acts on it looks first.
   */
  look(): void {
    if (this.#isStopped) return;
    const nowMs = this.#clock.monotonicMs();
    const hasStalled = nowMs - this.#lookedMs >= this.#sessionTimeoutMs;
    this.#lookedMs = nowMs;
    if (hasStalled) this.stallsCount++;
    const isSilent = this.#heardMs !== null && nowMs - this.#heardMs >= this.#sessionTimeoutMs;
    if (!isSilent || this.#host.isAwaited()) return;
    this.#heardMs = null;
    const why = hasStalled ? "this process stood still" : "the coordinator did not answer";
    this.#host.onSilence(`${why} for longer than the session of ${this.#sessionTimeoutMs} ms`);
  }

  /** There is no session any more. */
  endSession(): void {
    this.#heardMs = null;
  }

  /** There is something to be told. */
  beatNow(): void {
    if (this.#isBeating) this.#isDueAtOnce = true;
    else this.#scheduleIn(Math.max(0, this.#notBeforeMs - this.#clock.monotonicMs()));
  }

  #scheduleIn(delayMs: number): void {
    if (this.#isStopped) return;
    const nowMs = this.#clock.monotonicMs();
    const sessionEndMs = this.#heardMs === null ? Number.POSITIVE_INFINITY : this.#heardMs + this.#sessionTimeoutMs;
    // While the coordinator keeps a request of ours, the end of the session is looked at again and again.
    const sessionRestMs = sessionEndMs > nowMs ? sessionEndMs - nowMs : retryMsMax;
    this.#dueMs = nowMs + delayMs;
    this.#timer?.cancel();
    this.#timer = this.#clock.schedule(Math.min(delayMs, sessionRestMs), () => this.#tick());
  }

  #tick(): void {
    if (this.#isStopped) return;
    const nowMs = this.#clock.monotonicMs();
    this.look();
    const isDue = nowMs >= this.#dueMs;
    if (isDue && !this.#isBeating && this.#host.mayBeat()) void this.#beat();
    else this.#scheduleIn(isDue ? this.intervalMs : this.#dueMs - nowMs);
  }

  async #beat(): Promise<void> {
    this.#isBeating = true;
    this.#isDueAtOnce = false;
    this.#scheduleIn(this.intervalMs);
    const isAnswered = await this.#host.beat();
    this.#isBeating = false;
    this.#failuresCount = isAnswered ? 0 : this.#failuresCount + 1;
    if (isAnswered) this.#scheduleIn(this.#isDueAtOnce ? 0 : this.intervalMs);
    else {
      const backoffMs = Math.min(this.intervalMs, retryMsMax, retryMsMin * 2 ** this.#failuresCount);
      this.#notBeforeMs = this.#clock.monotonicMs() + backoffMs;
      this.#scheduleIn(backoffMs);
    }
  }
}
