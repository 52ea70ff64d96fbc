/** Tasks for the tests of the workers. */
export const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);

export function fail(reason: string): never {
  throw new Error(reason);
}

/** Changes its input, as no task should. */
export const sorted = (numbers: number[]): number[] => numbers.sort((a, b) => a - b);

export const inverted = (bytes: Uint8Array): Uint8Array => bytes.map((byte) => ~byte);
