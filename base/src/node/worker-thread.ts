import { parentPort, workerData } from "node:worker_threads";

/** What a worker thread is asked, and what it answers. */
export interface WorkerRequest {
  readonly module: string;
  readonly name: string;
  readonly input: unknown;
}

export type WorkerAnswer =
  | { readonly ok: true; readonly output: unknown }
  | { readonly ok: false; readonly error: unknown };

const preloaded = Promise.all(((workerData ?? []) as readonly string[]).map(async (module) => import(module)));
// Told to whoever asks first.
preloaded.catch(() => {});

async function compute({ module, name, input }: WorkerRequest): Promise<WorkerAnswer> {
  try {
    await preloaded;
    const tasks = (await import(module)) as Readonly<Record<string, unknown>>;
    const task = tasks[name];
    if (typeof task !== "function") throw new TypeError(`${module} exports no function ${name}`);
    return { ok: true, output: await (task as (input: unknown) => unknown)(input) };
  } catch (error) {
    return { ok: false, error };
  }
}

const port = parentPort;
port?.on("message", (request: WorkerRequest) => {
  void compute(request).then((answer) => port.postMessage(answer));
});
