import { Worker } from "node:worker_threads";
import { Deque } from "../deque.ts";
import type { Workers, WorkerTask } from "../world.ts";
import type { WorkerAnswer, WorkerRequest } from "./worker-thread.ts";

export interface NodeWorkersOptions {
  readonly threadsMax?: number;
  /** URLs of modules that each thread loads first, such as one that registers codecs. */
  readonly preload?: readonly string[];
}

interface Job {
  readonly request: WorkerRequest;
  readonly transfer: readonly ArrayBuffer[];
  readonly resolve: (output: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** So long a thread for long tasks waits for the next before it ends, and gives its memory back. */
const LONG_IDLE_MS = 10_000;
/** Whoever has long tasks bounds how many there are at a time. */
const LONG_THREADS_MAX = 16;

/** Worker threads, started when first needed. Each has one task at a time; the others wait in order. */
export class NodeWorkers implements Workers {
  readonly #short: Lane;
  readonly #long: Lane;

  constructor({ threadsMax = 2, preload = [] }: NodeWorkersOptions = {}) {
    this.#short = new Lane({ threadsMax, preload, idleMs: null });
    this.#long = new Lane({ threadsMax: LONG_THREADS_MAX, preload, idleMs: LONG_IDLE_MS });
  }

  run<Input, Output>(
    task: WorkerTask<Input, Output>,
    input: Input,
    transfer: readonly ArrayBuffer[] = [],
  ): Promise<Output> {
    const request: WorkerRequest = { module: task.module, name: task.name, input };
    const lane = task.isLong === true ? this.#long : this.#short;
    return lane.run(request, transfer) as Promise<Output>;
  }

  async close(): Promise<void> {
    await Promise.all([this.#short.close(), this.#long.close()]);
  }
}

interface LaneOptions {
  readonly threadsMax: number;
  readonly preload: readonly string[];
  /** Null: threads stay. */
  readonly idleMs: number | null;
}

class Lane {
  readonly #options: LaneOptions;
  readonly #threads = new Set<Thread>();
  readonly #waiting = new Deque<Job>();
  #isClosed = false;

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  run(request: WorkerRequest, transfer: readonly ArrayBuffer[]): Promise<unknown> {
    if (this.#isClosed) return Promise.reject(new Error("the workers are closed"));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ request, transfer, resolve, reject });
      this.#assign();
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const job of this.#waiting) job.reject(new Error("the workers are closed"));
    this.#waiting.clear();
    await Promise.all([...this.#threads].map((thread) => thread.stop()));
    this.#threads.clear();
  }

  #assign(): void {
    while (!this.#waiting.isEmpty) {
      const thread = this.#idleThread();
      if (thread === null) return;
      const job = this.#waiting.shift();
      if (job !== undefined) thread.start(job);
    }
  }

  #idleThread(): Thread | null {
    for (const thread of this.#threads) if (thread.isIdle) return thread;
    if (this.#threads.size >= this.#options.threadsMax) return null;
    const thread: Thread = new Thread(this.#options, {
      onIdle: () => this.#assign(),
      onDead: () => {
        this.#threads.delete(thread);
        if (!this.#isClosed) this.#assign();
      },
    });
    this.#threads.add(thread);
    return thread;
  }
}

const isFromSources = import.meta.url.endsWith(".ts");

class Thread {
  readonly #worker: Worker;
  readonly #onIdle: () => void;
  readonly #idleMs: number | null;
  #job: Job | null = null;
  #idleTimer: NodeJS.Timeout | null = null;

  constructor({ preload, idleMs }: LaneOptions, host: { readonly onIdle: () => void; readonly onDead: () => void }) {
    this.#idleMs = idleMs;
    this.#onIdle = host.onIdle;
    const script = new URL(isFromSources ? "./worker-thread.ts" : "./worker-thread.js", import.meta.url);
    // Sources name each other by the condition "source", which a worker does not inherit from every kind of host.
    const execArgv = isFromSources ? { execArgv: ["--conditions=source"] } : {};
    this.#worker = new Worker(script, { workerData: preload, ...execArgv });
    this.#worker.unref();
    this.#worker.on("message", (answer: WorkerAnswer) => this.#settle(answer));
    this.#worker.on("error", (error) => this.#settle({ ok: false, error }));
    this.#worker.on("exit", () => {
      this.#settle({ ok: false, error: new Error("the worker thread has ended") });
      host.onDead();
    });
  }

  get isIdle(): boolean {
    return this.#job === null;
  }

  start(job: Job): void {
    this.#job = job;
    if (this.#idleTimer !== null) clearTimeout(this.#idleTimer);
    this.#idleTimer = null;
    this.#worker.ref();
    try {
      this.#worker.postMessage(job.request, job.transfer);
    } catch (error) {
      this.#settle({ ok: false, error });
    }
  }

  async stop(): Promise<void> {
    await this.#worker.terminate();
  }

  #settle(answer: WorkerAnswer): void {
    const job = this.#job;
    if (job === null) return;
    this.#job = null;
    this.#worker.unref();
    if (answer.ok) job.resolve(answer.output);
    else job.reject(answer.error);
    this.#onIdle();
    if (this.#idleMs !== null && this.isIdle)
      this.#idleTimer = setTimeout(() => void this.stop(), this.#idleMs).unref();
  }
}
