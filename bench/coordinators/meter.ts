import { errorName } from "kafka-protocol-ts/errors";
import { setTimeout as sleep } from "node:timers/promises";
import { failRun } from "./link.ts";
import type { CoordinatorEvent, CoordinatorResult } from "./plan.ts";

/** Counts what is done in the measured time, and the errors of the whole run. */
export class Meter {
  readonly #latenciesMs: number[] = [];
  readonly #retried = new Map<string, number>();
  #state: "warming" | "measuring" | "ended" = "warming";
  #startedMs = 0;
  #endedMs = 0;
  #cpuAtStart: NodeJS.CpuUsage = process.cpuUsage();
  #cpuSeconds = 0;
  #count = 0;

  get isEnded(): boolean {
    return this.#state === "ended";
  }

  get isMeasuring(): boolean {
    return this.#state === "measuring";
  }

  begin(): void {
    print({ event: "measuring" });
    this.#cpuAtStart = process.cpuUsage();
    this.#startedMs = performance.now();
    this.#state = "measuring";
  }

  /** Begins after the one time, and ends after the other. */
  async measure({ warmUpMs, measureMs }: { readonly warmUpMs: number; readonly measureMs: number }): Promise<void> {
    await sleep(warmUpMs);
    this.begin();
    await sleep(measureMs);
    this.end();
  }

  count(latencyMs: number): void {
    if (this.#state !== "measuring") return;
    this.#count += 1;
    this.#latenciesMs.push(latencyMs);
  }

  /** An error after which the same is tried again. */
  retry(what: string, code: number): void {
    const name = `${what} ${errorName(code)}`;
    this.#retried.set(name, (this.#retried.get(name) ?? 0) + 1);
  }

  end(): void {
    if (this.#state !== "measuring") failRun("a run ended that had not begun");
    this.#state = "ended";
    this.#endedMs = performance.now();
    const { user, system } = process.cpuUsage(this.#cpuAtStart);
    this.#cpuSeconds = (user + system) / 1e6;
    print({ event: "measured" });
  }

  report(rest: Pick<CoordinatorResult, "checked" | "values" | "transactions"> & { readonly count?: number }): void {
    const sorted = Float64Array.from(this.#latenciesMs).sort();
    const at = (fraction: number): number => sorted[Math.floor(sorted.length * fraction)] ?? 0;
    print({
      event: "result",
      seconds: (this.#endedMs - this.#startedMs) / 1000,
      count: this.#count,
      latencyMsMedian: at(0.5),
      latencyMsP99: at(0.99),
      retried: Object.fromEntries(this.#retried),
      cpuSeconds: this.#cpuSeconds,
      ...rest,
    });
  }
}

function print(event: CoordinatorEvent): void {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}
