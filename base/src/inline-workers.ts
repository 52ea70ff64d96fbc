import { must } from "./assert.ts";
import type { Clock, Disk, WorkerHost, Workers, WorkerTask } from "./world.ts";

type Tasks = Readonly<Record<string, unknown>>;

const nothing: WorkerHost = {
  get disk() {
    return must<Disk>(null, "the disk of inline workers");
  },
  get clock() {
    return must<Clock>(null, "the clock of inline workers");
  },
};

/** Runs tasks in the caller's thread, one after the other: for tests and for the simulator. */
export class InlineWorkers implements Workers {
  readonly #host: WorkerHost;
  readonly #modules = new Map<string, Tasks>();
  #last: Promise<unknown> = Promise.resolve();

  /** Tasks that only compute need no host. */
  constructor(host: WorkerHost = nothing) {
    this.#host = host;
  }

  /** Loading a module takes real time. Where two runs must be alike, it is loaded before they begin. */
  async load(module: string): Promise<Tasks> {
    const tasks = this.#modules.get(module) ?? ((await import(module)) as Tasks);
    this.#modules.set(module, tasks);
    return tasks;
  }

  run<Input, Output>(task: WorkerTask<Input, Output>, input: Input): Promise<Output> {
    const next = this.#last.then(async () => {
      const tasks = await this.load(task.module);
      const found = tasks[task.name];
      if (typeof found !== "function") throw new TypeError(`${task.module} exports no function ${task.name}`);
      // Cloned both ways, as between threads: a task that changes its input must not pass here and fail there.
      return structuredClone(
        await (found as (input: Input, host: WorkerHost) => Output)(structuredClone(input), this.#host),
      );
    });
    this.#last = next.catch(() => undefined);
    return next;
  }

  async close(): Promise<void> {
    await this.#last;
  }
}
