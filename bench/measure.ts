const rounds = 9;
const roundMs = 40;

/**
 * Microseconds of this thread's CPU that one run takes, so that waiting for a busy machine does not count: the median of
 * several rounds, and the best of them, since other work only adds.
 */
export function measure(run: () => unknown): { readonly medianUs: number; readonly bestUs: number } {
  let times = 1;
  for (let elapsedMs = 0; elapsedMs < roundMs; times *= 2) elapsedMs = timed(run, times);
  const found = Array.from({ length: rounds }, () => (timed(run, times) / times) * 1000).sort((a, b) => a - b);
  return { medianUs: rounded(found[rounds >> 1] ?? 0), bestUs: rounded(found[0] ?? 0) };
}

function timed(run: () => unknown, times: number): number {
  const start = process.threadCpuUsage();
  for (let index = 0; index < times; index++) run();
  const { user, system } = process.threadCpuUsage(start);
  return (user + system) / 1000;
}

const rounded = (value: number): number => Number(value.toPrecision(3));

/** One result, as one line of JSON. */
export function printLine(line: Readonly<Record<string, string | number | boolean>>): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
