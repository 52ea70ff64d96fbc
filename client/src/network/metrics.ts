import diagnostics from "node:diagnostics_channel";
import { channels } from "./diagnostics.ts";
import type { ClientEvents } from "./diagnostics.ts";

/** Whose metrics. */
export interface ClientMetricsOptions {
  /** Absent: of all clients of the process. */
  readonly clientId?: string;
}

/** Latencies of one API at one broker. */
export interface RequestMetrics {
  /** "host:port" */
  readonly broker: string;
  /** "Fetch" */
  readonly api: string;
  /** Answered, and those of `errorsCount`. */
  readonly count: number;
  /** Without an answer. */
  readonly errorsCount: number;
  /** All requests together. */
  readonly requestBytes: number;
  /** All answers together. */
  readonly answerBytes: number;
  /** Of those that were answered. */
  readonly latencyMsSum: number;
  /** Of those that were answered. */
  readonly latencyMsMax: number;
  /** How many took no longer than `latencyBoundsMs` of the same index says, and longer than the one before; the last: longer than all. */
  readonly latencyCounts: readonly number[];
}

/** What has happened since the beginning, or since `reset`. */
export interface ClientMetricsSnapshot {
  /** One for each API at each broker. */
  readonly requests: readonly RequestMetrics[];
  /** How many connections came about. */
  readonly connectionsOpened: number;
  /** How many of them have ended, for whatever reason. */
  readonly connectionsClosed: number;
  /** How many attempts came to nothing. */
  readonly connectionsFailed: number;
  /** By `KafkaError.code`: of requests without an answer, of connections that failed, and of sessions that were not renewed. */
  readonly errors: Readonly<Record<string, number>>;
  /** The pauses that brokers asked for, together. */
  readonly throttleMsSum: number;
  /** How often brokers asked for a pause. */
  readonly throttlesCount: number;
  /** How often a session was renewed, or could not be. */
  readonly reauthenticationsCount: number;
  /** How often the cluster was asked for its brokers and topics. */
  readonly metadataCount: number;
}

/** Upper bounds of the histogram's classes, in ms. */
export const latencyBoundsMs: readonly number[] = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000,
];

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };
type Requests = Mutable<RequestMetrics> & { latencyCounts: number[] };

/**
 * Counts what the client tells on its channels, in memory. It costs something for each request, so it is made where it is wanted.
 *
 * @example
 *     using metrics = clientMetrics();
 *     const { errors, throttleMsSum } = metrics.snapshot();
 */
export class ClientMetrics implements Disposable {
  readonly #requests = new Map<string, Requests>();
  readonly #errors = new Map<string, number>();
  #counts = noCounts();
  readonly #unsubscribe: (() => void)[] = [];

  constructor({ clientId }: ClientMetricsOptions = {}) {
    const listen = <Name extends keyof ClientEvents>(name: Name, note: (event: ClientEvents[Name]) => void): void => {
      const heard = (message: unknown): void => {
        const event = message as ClientEvents[Name];
        if (clientId === undefined || event.clientId === clientId) note(event);
      };
      diagnostics.subscribe(channels[name], heard);
      this.#unsubscribe.push(() => void diagnostics.unsubscribe(channels[name], heard));
    };
    listen("request", (event) => this.#request(event));
    listen("connectionOpened", () => void this.#counts.connectionsOpened++);
    listen("connectionClosed", () => void this.#counts.connectionsClosed++);
    listen("connectionFailed", ({ error }) => {
      this.#counts.connectionsFailed++;
      this.#error(error.code);
    });
    listen("throttle", ({ throttleTimeMs }) => {
      this.#counts.throttlesCount++;
      this.#counts.throttleMsSum += throttleTimeMs;
    });
    listen("reauthentication", ({ error }) => {
      this.#counts.reauthenticationsCount++;
      if (error !== null) this.#error(error.code);
    });
    listen("metadata", () => void this.#counts.metadataCount++);
  }

  /** What was counted until now: a copy, which changes no more. */
  snapshot(): ClientMetricsSnapshot {
    const requests = [...this.#requests.values()].map((each) => ({ ...each, latencyCounts: [...each.latencyCounts] }));
    return { ...this.#counts, requests, errors: Object.fromEntries(this.#errors) };
  }

  /** Counts from nothing again. */
  reset(): void {
    this.#requests.clear();
    this.#errors.clear();
    this.#counts = noCounts();
  }

  /** Hears no more. */
  [Symbol.dispose](): void {
    for (const unsubscribe of this.#unsubscribe.splice(0)) unsubscribe();
  }

  #request({ broker, api, latencyMs, requestBytes, answerBytes, error }: ClientEvents["request"]): void {
    const key = `${broker} ${api}`;
    let found = this.#requests.get(key);
    if (found === undefined) {
      found = noRequests(broker, api);
      this.#requests.set(key, found);
    }
    found.count++;
    found.requestBytes += requestBytes;
    found.answerBytes += answerBytes;
    if (error !== null) {
      found.errorsCount++;
      this.#error(error.code);
      return;
    }
    found.latencyMsSum += latencyMs;
    found.latencyMsMax = Math.max(found.latencyMsMax, latencyMs);
    const index = latencyBoundsMs.findIndex((boundMs) => latencyMs <= boundMs);
    const at = index < 0 ? latencyBoundsMs.length : index;
    found.latencyCounts[at] = (found.latencyCounts[at] ?? 0) + 1;
  }

  #error(code: string): void {
    this.#errors.set(code, (this.#errors.get(code) ?? 0) + 1);
  }
}

/**
 * Begins to count.
 *
 * @example
 *     using metrics = clientMetrics({ clientId: "billing" });
 *     setInterval(() => console.log(metrics.snapshot().requests), 10_000);
 */
export function clientMetrics(options: ClientMetricsOptions = {}): ClientMetrics {
  return new ClientMetrics(options);
}

function noCounts() {
  return {
    connectionsOpened: 0,
    connectionsClosed: 0,
    connectionsFailed: 0,
    throttleMsSum: 0,
    throttlesCount: 0,
    reauthenticationsCount: 0,
    metadataCount: 0,
  };
}

function noRequests(broker: string, api: string): Requests {
  const sums = { count: 0, errorsCount: 0, requestBytes: 0, answerBytes: 0, latencyMsSum: 0, latencyMsMax: 0 };
  return { broker, api, ...sums, latencyCounts: Array.from({ length: latencyBoundsMs.length + 1 }, () => 0) };
}
