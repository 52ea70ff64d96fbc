import { parentPort, workerData } from "node:worker_threads";
import type { WorkerHost } from "../world.ts";
import { Native } from "./native.ts";
import { NodeDisk } from "./node-disk.ts";
import { systemClock } from "./system-clock.ts";

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

/** Without native code: loading it costs a thread more than it would save its few syncs. */
const host: WorkerHost = { disk: new NodeDisk({ native: new Native({ isWanted: false }) }), clock: systemClock };

async function compute({ module, name, input }: WorkerRequest): Promise<WorkerAnswer> {
  try {
    await preloaded;
    const tasks = (await import(module)) as Readonly<Record<string, unknown>>;
    const task = tasks[name];
    if (typeof task !== "function") throw new TypeError(`${module} exports no function ${name}`);
    return { ok: true, output: await (task as (input: unknown, host: WorkerHost) => unknown)(input, host) };
  } catch (error) {
    return { ok: false, error };
  }
}

const port = parentPort;
port?.on("message", (request: WorkerRequest) => {
  void compute(request).then((answer) => port.postMessage(answer));
});
