import type { Clock, Timer } from "../world.ts";

/** Over so long it is judged whether others are kept waiting. */
const windowMs = 100;
/** So often it is looked how late a timer comes. The platform's timers are a millisecond late by themselves. */
const probeMs = 5;
/** A timer that comes later than this in a window: the loop, or its processor, has too much to do. */
const lateMsMax = 1.75;
/** Requests of others in a window, from which on they count: a heartbeat now and then does not. */
const requestsMin = 2;
/** So many windows without them, and nothing is held back any more. */
const quietWindowsMax = 5;
/** A reader gets on however busy the broker is. */
const bytesPerMsMin = 64_000;
/** Sent in one go while the rate is bounded. */
const pieceBytes = 256 * 1024;
/** What is not sent is saved up for so long: a timer comes a millisecond or two after it was set. */
const savedMs = 4;
const slower = 0.5;
/**
 * Each climb ends with others being kept waiting once. By a tenth a window it would end after seven windows, or some two hundred
 * requests where three hundred come a second, and one wait delays several: just what a 99th percentile shows.
 */
const faster = 1.03;

/**
 * How fast readers that are far behind may go. One of them takes whatever the loop, the processors and the disk can give, and
 * producers, and consumers at the end of a log, would wait for it. So while there are requests of others, the rate of
 * all readers behind follows from how late the event loop is: it falls when timers come late, and rises while they do not. Alone they
 * are not held back.
 *
 * That the loop is late also shows what this process does not do itself: on a machine whose processors are all busy, with the
 * readers for instance, it waits for its turn.
 */
export class CatchUpPacer {
  readonly #clock: Clock;
  /** Null: as fast as it goes. */
  #bytesPerMs: number | null = null;
  #allowanceBytes = 0;
  #refilledMs = 0;
  readonly #waiting: (() => void)[] = [];
  #isWakeDue = false;

  #probe: Timer | null = null;
  #probeDueMs = 0;
  #windowStartMs = 0;
  #latestMs = 0;
  #sentBytes = 0;
  #requests = 0;
  #quietWindows = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A request came over a connection that does not carry readers behind. */
  countRequest(): void {
    this.#requests += 1;
  }

  /** How much may be sent now, at most `wantedBytes`; 0 where it is to be waited for. What is sent is to be counted. */
  allow(wantedBytes: number): number {
    this.#watch();
    if (this.#bytesPerMs === null) return wantedBytes;
    this.#refill(this.#bytesPerMs);
    return this.#allowanceBytes > 0 ? Math.min(wantedBytes, pieceBytes) : 0;
  }

  count(sentBytes: number): void {
    this.#sentBytes += sentBytes;
    this.#allowanceBytes -= sentBytes;
  }

  /** Calls back when something may be sent, the longest waiting first. */
  wait(callback: () => void): void {
    this.#waiting.push(callback);
    this.#wakeSoon();
  }

  #wakeSoon(): void {
    if (this.#isWakeDue) return;
    this.#isWakeDue = true;
    this.#clock.schedule(1, () => {
      this.#isWakeDue = false;
      for (let count = this.#waiting.length; count > 0 && this.allow(1) > 0; count--) this.#waiting.shift()?.();
      if (this.#waiting.length > 0) this.#wakeSoon();
    });
  }

  #refill(bytesPerMs: number): void {
    const nowMs = this.#clock.monotonicMs();
    const allowanceBytes = this.#allowanceBytes + (nowMs - this.#refilledMs) * bytesPerMs;
    this.#allowanceBytes = Math.min(allowanceBytes, Math.max(pieceBytes, savedMs * bytesPerMs));
    this.#refilledMs = nowMs;
  }

  // --- The rate ------------------------------------------------------------------------------------------------------

  #watch(): void {
    if (this.#probe !== null) return;
    this.#windowStartMs = this.#clock.monotonicMs();
    this.#latestMs = this.#sentBytes = this.#requests = this.#quietWindows = 0;
    this.#setProbe(this.#windowStartMs);
  }

  #setProbe(nowMs: number): void {
    this.#probeDueMs = nowMs + probeMs;
    this.#probe = this.#clock.schedule(probeMs, () => this.#look());
  }

  #look(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#latestMs = Math.max(this.#latestMs, nowMs - this.#probeDueMs);
    this.#setProbe(nowMs);
    const elapsedMs = nowMs - this.#windowStartMs;
    if (elapsedMs < windowMs) return;
    this.#judge(this.#sentBytes / elapsedMs);
    this.#windowStartMs = nowMs;
    this.#latestMs = this.#sentBytes = this.#requests = 0;
  }

  #judge(sentPerMs: number): void {
    const isIdle = sentPerMs === 0 && this.#waiting.length === 0;
    this.#quietWindows = this.#requests >= requestsMin && !isIdle ? 0 : this.#quietWindows + 1;
    if (this.#quietWindows > quietWindowsMax) {
      this.#bytesPerMs = null;
      if (isIdle) this.#stop();
      return;
    }
    if (this.#quietWindows > 0) return;
    const bytesPerMs = this.#bytesPerMs ?? sentPerMs;
    if (this.#latestMs > lateMsMax)
      this.#bytesPerMs = Math.max(bytesPerMsMin, Math.min(bytesPerMs, sentPerMs) * slower);
    // What is not made use of does not grow.
    else if (this.#bytesPerMs !== null && sentPerMs > bytesPerMs / 2) this.#bytesPerMs = bytesPerMs * faster;
  }

  #stop(): void {
    this.#probe?.cancel();
    this.#probe = null;
  }
}
