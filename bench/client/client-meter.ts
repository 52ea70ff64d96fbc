import { monitorEventLoopDelay } from "node:perf_hooks";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { ClientResult } from "./plan.ts";

const sampleEveryMs = 50;
const delayResolutionMs = 5;

interface Memory {
  readonly heapMegabytes: number;
  readonly inUseMegabytes: number;
}

/** What a process takes in its measured time: begun and ended once. */
export class ClientMeter {
  readonly #delay = monitorEventLoopDelay({ resolution: delayResolutionMs });
  readonly #latenciesMs: number[] = [];
  readonly #baseMegabytes: number;
  #heapMegabytesMax = 0;
  #inUseMegabytesMax = 0;
  #startedMs = 0;
  #seconds = 0;
  #cpuAtStart: NodeJS.CpuUsage = process.cpuUsage();
  #cpuSeconds = 0;
  #state: "warming" | "measuring" | "ended" = "warming";
  #sampler: NodeJS.Timeout | null = null;

  /** Before the client is made: its memory is what comes after. */
  constructor() {
    collectGarbage();
    this.#baseMegabytes = memoryNow().inUseMegabytes;
    this.#delay.enable();
  }

  get isEnded(): boolean {
    return this.#state === "ended";
  }

  begin(): void {
    this.#delay.reset();
    this.#sampler = setInterval(() => this.#sample(), sampleEveryMs).unref();
    this.#state = "measuring";
    this.#startedMs = performance.now();
    this.#cpuAtStart = process.cpuUsage();
  }

  end(): void {
    const { user, system } = process.cpuUsage(this.#cpuAtStart);
    this.#cpuSeconds = (user + system) / 1e6;
    this.#seconds = (performance.now() - this.#startedMs) / 1000;
    this.#state = "ended";
    this.#sample();
    clearInterval(this.#sampler ?? undefined);
  }

  latency(ms: number): void {
    if (this.#state === "measuring") this.#latenciesMs.push(ms);
  }

  get latencies(): number {
    return this.#latenciesMs.length;
  }

  result(): Omit<ClientResult, "records" | "recordsInAll" | "checksum" | "refused" | "inUseMegabytes" | "settings"> {
    const sorted = Float64Array.from(this.#latenciesMs).sort();
    const at = (fraction: number): number => sorted[Math.floor(sorted.length * fraction)] ?? 0;
    // What it records is the time from one timer to the next: an idle loop shows the resolution.
    const beyond = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e6 - delayResolutionMs);
    return {
      seconds: this.#seconds,
      cpuSeconds: this.#cpuSeconds,
      latencyMsMedian: at(0.5),
      latencyMsP99: at(0.99),
      rssMegabytesMax: process.resourceUsage().maxRSS / 1024,
      heapMegabytesMax: this.#heapMegabytesMax,
      growthMegabytesMax: this.#inUseMegabytesMax - this.#baseMegabytes,
      loopDelayMsP99: beyond(this.#delay.percentile(99)),
      loopDelayMsMax: beyond(this.#delay.max),
    };
  }

  #sample(): void {
    const { heapMegabytes, inUseMegabytes } = memoryNow();
    this.#heapMegabytesMax = Math.max(this.#heapMegabytesMax, heapMegabytes);
    this.#inUseMegabytesMax = Math.max(this.#inUseMegabytesMax, inUseMegabytes);
  }
}

function memoryNow(): Memory {
  const { heapUsed, external } = process.memoryUsage();
  return { heapMegabytes: heapUsed / 1e6, inUseMegabytes: (heapUsed + external) / 1e6 };
}

let collect: (() => void) | null = null;

/** What is in use after a collection, buffers included. */
export function megabytesInUse(): number {
  collectGarbage();
  return memoryNow().inUseMegabytes;
}

function collectGarbage(): void {
  if (collect === null) {
    setFlagsFromString("--expose-gc");
    collect = runInNewContext("gc") as () => void;
  }
  for (let round = 0; round < 4; round++) collect();
}
