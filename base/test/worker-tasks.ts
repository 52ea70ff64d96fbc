import type { WorkerHost } from "../src/world.ts";

/** Tasks for the tests of the workers. */
export const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);

export function fail(reason: string): never {
  throw new Error(reason);
}

/** Changes its input, as no task should. */
export const sorted = (numbers: number[]): number[] => numbers.sort((a, b) => a - b);

export const inverted = (bytes: Uint8Array): Uint8Array => bytes.map((byte) => ~byte);

/** Ends when somebody sets the flag. */
export function untilSet(flag: SharedArrayBuffer): string {
  Atomics.wait(new Int32Array(flag), 0, 0);
  return "set";
}

export async function sizeOf(path: string, host: WorkerHost): Promise<number | null> {
  return (await host.disk.stat(path))?.sizeBytes ?? null;
}
