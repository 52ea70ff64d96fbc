import type { Clock, Timer } from "@millrace/base/world";

/** What bounds the connections. They are asked for each time: they may change while the broker runs. */
export interface AdmissionLimits {
  /** max.connections */
  readonly connectionsMax: number;
  /** max.connections.per.ip */
  readonly connectionsPerHostMax: number;
  /** max.connection.creation.rate */
  readonly connectionsPerSecondMax: number;
}

export interface AdmissionOptions<Arrival> {
  readonly clock: Clock;
  /** Who may wait; whoever comes then is refused. */
  readonly waitingMax: number;
  take(arrival: Arrival): void;
  refuse(arrival: Arrival, reason: string): void;
}

/** Kafka's quota: a rate is kept over so many seconds, so that many clients may come at once. */
const rateSeconds = 10;

/**
 * Decides which connections are taken, and when. As in Kafka, one address too many is refused at once, while whoever
 * comes before there is room, or faster than the rate, waits for its turn: in Kafka in the backlog of the socket, here
 * accepted and unread, since the platform accepts whatever comes.
 */
export class Admission<Arrival extends { readonly host: string }> {
  readonly #options: AdmissionOptions<Arrival>;
  readonly #rate: ConnectionRate;
  readonly #waiting: Arrival[] = [];
  readonly #perHost = new Map<string, number>();
  #takenCount = 0;
  /** Null: nobody is taken yet. */
  #limits: (() => AdmissionLimits) | null = null;
  #nextTurn: Timer | null = null;

  constructor(options: AdmissionOptions<Arrival>) {
    this.#options = options;
    this.#rate = new ConnectionRate(options.clock);
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  /** How many more are taken than may be: a limit that was lowered. */
  get surplus(): number {
    return this.#limits === null ? 0 : Math.max(0, this.#takenCount - this.#limits().connectionsMax);
  }

  /** From now on connections are taken, those that wait first. */
  open(limits: () => AdmissionLimits): void {
    this.#limits = limits;
    this.#takeWaiting();
  }

  arrive(arrival: Arrival): void {
    this.#waiting.push(arrival);
    const whyWaiting = this.#takeWaiting();
    if (this.#waiting.length <= this.#options.waitingMax) return;
    this.#waiting.pop();
    this.#options.refuse(arrival, `${whyWaiting}, and socket.listen.backlog.size others wait`);
  }

  /** A connection that was taken is closed. */
  left(host: string): void {
    this.#takenCount--;
    const ofHost = this.#ofHost(host) - 1;
    if (ofHost > 0) this.#perHost.set(host, ofHost);
    else this.#perHost.delete(host);
    this.#takeWaiting();
  }

  limitsChanged(): void {
    this.#takeWaiting();
  }

  /** Takes nobody any more; gives back who waits. */
  close(): readonly Arrival[] {
    this.#limits = null;
    this.#nextTurn?.cancel();
    return this.#waiting.splice(0);
  }

  #ofHost(host: string): number {
    return this.#perHost.get(host) ?? 0;
  }

  /** Says why the first of those that are left has to wait. */
  #takeWaiting(): string {
    if (this.#limits === null) return "the broker is not ready";
    this.#nextTurn?.cancel();
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const { connectionsMax, connectionsPerHostMax, connectionsPerSecondMax } = this.#limits();
      const ofHost = this.#ofHost(next.host);
      if (ofHost >= connectionsPerHostMax) {
        this.#waiting.shift();
        this.#options.refuse(next, "max.connections.per.ip is reached");
        continue;
      }
      if (this.#takenCount >= connectionsMax) return "max.connections is reached";
      const waitMs = this.#rate.take(connectionsPerSecondMax);
      if (waitMs > 0) {
        this.#nextTurn = this.#options.clock.schedule(waitMs, () => this.#takeWaiting());
        return "max.connection.creation.rate is reached";
      }
      this.#waiting.shift();
      this.#takenCount++;
      this.#perHost.set(next.host, ofHost + 1);
      this.#options.take(next);
    }
    return "";
  }
}

/** A bucket that holds `rateSeconds` of the rate; a rate that changes counts from then on. */
class ConnectionRate {
  readonly #clock: Clock;
  #spent = 0;
  #atMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#atMs = clock.monotonicMs();
  }

  /** 0: one more may come, and is counted. Else the milliseconds to wait. */
  take(perSecond: number): number {
    // A rate of 0 can be given at start only, and lets Kafka take one connection in a while all the same.
    const rate = Math.max(1, perSecond);
    const nowMs = this.#clock.monotonicMs();
    this.#spent = Math.max(0, this.#spent - ((nowMs - this.#atMs) / 1000) * rate);
    this.#atMs = nowMs;
    const excess = this.#spent + 1 - rate * rateSeconds;
    if (excess > 0) return Math.ceil((excess / rate) * 1000);
    this.#spent++;
    return 0;
  }
}
