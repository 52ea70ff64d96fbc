/**
 * When a connection is to say again who we are, before its session ends (KIP-368). A broker judges a request when it reads it: one that
 * leaves in time and waits there behind a Fetch or a JoinGroup is read too late, and costs the connection.
 */
export class Session {
  #startedMs = 0;
  #lifetimeMs = Number.POSITIVE_INFINITY;
  #dueMs = Number.POSITIVE_INFINITY;
  #longestMs = 0;

  /** @param chance from 0 to 1: as with the Java client it is somewhere between 85 and 95 % of the session, so that not all come at once. */
  begin(startedMs: number, lifetimeMs: number, chance: number): void {
    this.#startedMs = startedMs;
    this.#lifetimeMs = lifetimeMs;
    this.#dueMs = startedMs + (0.85 + 0.1 * chance) * lifetimeMs;
  }

  end(): void {
    this.#lifetimeMs = Number.POSITIVE_INFINITY;
    this.#dueMs = Number.POSITIVE_INFINITY;
  }

  /** An answer has taken so long: what is sent now may be read so late. */
  heed(latencyMs: number): void {
    this.#longestMs = Math.max(this.#longestMs, latencyMs);
  }

  isDue(nowMs: number): boolean {
    if (nowMs >= this.#dueMs) return true;
    // One that waits, and one more before it; but what is slow must not make the session all beginning.
    const marginMs = Math.min(2 * this.#longestMs, this.#lifetimeMs / 2);
    return nowMs >= this.#startedMs + this.#lifetimeMs - marginMs;
  }
}
