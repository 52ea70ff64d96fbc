import { stat } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { onTestFinished, expect, test, describe } from "vitest";
import { InlineWorkers } from "@millrace/base/inline-workers";
import { NodeWorkers } from "@millrace/base/node/node-workers";
import type { Workers, WorkerTask } from "@millrace/base/world";

const task = <Input, Output>(name: string): WorkerTask<Input, Output> => ({
  module: new URL("../../test/worker-tasks.ts", import.meta.url).href,
  name,
});

describe.each<[string, () => Workers]>([
  ["nodeWorkers", () => new NodeWorkers()],
  ["inlineWorkers", () => new InlineWorkers()],
])("%s", (_, make) => {
  const makeWorkers = (): Workers => {
    const workers = make();
    onTestFinished(() => workers.close());
    return workers;
  };

  test("run tasks by name and answer each caller", async () => {
    const workers = makeWorkers();
    const sums = Array.from({ length: 10 }, (__, index) => workers.run(task<number[], number>("sum"), [index, 1]));
    expect(await Promise.all(sums)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });

  test("pass on what a task throws, and go on", async () => {
    const workers = makeWorkers();
    await expect(workers.run(task("fail"), "reason")).rejects.toThrow("reason");
    await expect(workers.run(task("missing"), 1)).rejects.toThrow("exports no function missing");
    expect(await workers.run(task<number[], number>("sum"), [1, 2])).toBe(3);
  });

  test("leave the caller's input as it is", async () => {
    const workers = makeWorkers();
    const input = [3, 1, 2];
    expect(await workers.run(task<number[], number[]>("sorted"), input)).toEqual([1, 2, 3]);
    expect(input).toEqual([3, 1, 2]);
  });

  test("take bytes and give bytes back", async () => {
    const bytes = await makeWorkers().run(task<Uint8Array, Uint8Array>("inverted"), Uint8Array.of(1, 255));
    expect([...bytes]).toEqual([254, 0]);
  });
});

test("transferred bytes are not copied, and tasks that wait when the workers close are refused", async () => {
  const workers = new NodeWorkers({ threadsMax: 1 });
  const bytes = new Uint8Array(1000);
  const inverted = workers.run(task<Uint8Array, Uint8Array>("inverted"), bytes, [bytes.buffer]);
  expect(bytes.length).toBe(0);
  expect((await inverted).length).toBe(1000);
  const running = workers.run(task("sum"), [1]);
  const waiting = workers.run(task("sum"), [1]);
  const outcomes = Promise.allSettled([running, waiting]);
  await workers.close();
  expect((await outcomes)[1]).toMatchObject({ status: "rejected" });
  await expect(workers.run(task("sum"), [1])).rejects.toThrow("closed");
});

test("a long task holds up no other, and a task finds the world of its thread", async () => {
  const workers = new NodeWorkers({ threadsMax: 1 });
  onTestFinished(() => workers.close());
  const flag = new SharedArrayBuffer(4);
  const long = workers.run({ ...task<SharedArrayBuffer, string>("untilSet"), isLong: true }, flag);
  expect(await workers.run(task<number[], number>("sum"), [1, 2])).toBe(3);
  const path = fileURLToPath(import.meta.url);
  expect(await workers.run(task<string, number | null>("sizeOf"), path)).toBe((await stat(path)).size);
  expect(await workers.run(task<string, number | null>("sizeOf"), `${path}.missing`)).toBe(null);
  new Int32Array(flag)[0] = 1;
  Atomics.notify(new Int32Array(flag), 0);
  expect(await long).toBe("set");
});
