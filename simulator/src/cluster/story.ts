import type { Call, HistoryEvent } from "../histories/history.ts";
import type { VirtualClock } from "../virtual-clock.ts";

const linesMax = 5_000;

type Completion =
  | { readonly type: "ok"; readonly offset?: number; readonly records?: readonly SeenRecord[] }
  | { readonly type: "fail" | "info"; readonly error: string };

export type SeenRecord = readonly [topic: string, partition: number, offset: number, value: string];

/** What happens in a run: lines for people, a history for the checker, and what must not have happened. */
export class Story {
  readonly lines: string[] = [];
  readonly history: HistoryEvent[] = [];
  readonly problems: string[] = [];
  /** A disk has given other bytes than it was given: then clients may fail, and only must not be told what is not true. */
  isSpoilt = false;
  /** Called when a client has been told that what it sent, or a transaction, is safe; and when it began to ask for that, monotonic. */
  onAcknowledged: (askedAtMs: number) => void = ignore;
  readonly #clock: VirtualClock;
  #nextCall = 1;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  tell(line: string): void {
    this.lines.push(`${(this.#clock.monotonicMs() / 1_000).toFixed(4)} ${line}`);
    if (this.lines.length > 2 * linesMax) this.lines.splice(0, linesMax);
  }

  fault(text: string): void {
    this.problems.push(`${(this.#clock.monotonicMs() / 1_000).toFixed(3)} ${text}`);
    this.tell(`PROBLEM ${text}`);
  }

  /** What must not happen as long as disks keep what they were given. */
  complain(text: string): void {
    if (this.isSpoilt) this.tell(`it does not count: ${text}`);
    else this.fault(text);
  }

  opened(client: string, isolation: "read_committed" | "read_uncommitted"): void {
    this.#note({ client, atUs: this.#atUs, type: "open", isolation });
  }

  /** Gives what is to be called when the call has returned. */
  invoke(client: string, invoked: Call): (completion: Completion) => void {
    const call = this.#nextCall++;
    this.#note({ client, atUs: this.#atUs, type: "invoke", call, ...invoked });
    const askedAtMs = this.#clock.monotonicMs();
    const isPromised = invoked.name === "send" || invoked.name === "commit";
    return (completion) => {
      this.#note({ client, atUs: this.#atUs, call, ...completion });
      if (isPromised && completion.type === "ok") this.onAcknowledged(askedAtMs);
    };
  }

  polled(client: string, records: readonly SeenRecord[]): void {
    this.invoke(client, { name: "poll" })({ type: "ok", records });
  }

  #note(event: HistoryEvent): void {
    this.history.push(event);
  }

  get #atUs(): number {
    return Math.floor(this.#clock.monotonicMs() * 1_000);
  }
}

function ignore(): void {}

export function textOf(error: unknown): string {
  const { code, message, stack } = error as {
    readonly code?: string;
    readonly message?: string;
    readonly stack?: string;
  };
  return code === undefined ? (stack ?? String(error)) : `${code}: ${message ?? ""}`;
}
