import type { Workers, WorkerTask } from "./world.ts";

type Tasks = Readonly<Record<string, unknown>>;

/** Runs tasks in the caller's thread, one after the other: for tests and for the simulator. */
export class InlineWorkers implements Workers {
  readonly #modules = new Map<string, Tasks>();
  #last: Promise<unknown> = Promise.resolve();

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
      return structuredClone(await (found as (input: Input) => Output)(structuredClone(input)));
    });
    this.#last = next.catch(() => undefined);
    return next;
  }

  async close(): Promise<void> {
    await this.#last;
  }
}
