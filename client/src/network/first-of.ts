import type { Clock } from "@millrace/base/world";

export interface FirstOfOptions {
  readonly clock: Clock;
  /** An attempt that is silent for so long is joined by the next one. */
  readonly patienceMs: number;
  /** After such a failure nothing else is tried. */
  readonly isFinal: (failure: unknown) => boolean;
}

/**
 * The first success of some attempts. Each begins when the one before it has failed or is silent for too long, so that many
 * brokers of which nothing is heard hold nobody up for the sum of their times.
 *
 * @throws a final failure, or what `summary` makes of all of them.
 */
export async function firstOf<T>(
  attempts: readonly (() => Promise<T>)[],
  { clock, patienceMs, isFinal }: FirstOfOptions,
  summary: (failures: readonly unknown[]) => unknown,
): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const failures: unknown[] = [];
  let begunCount = 0;
  let timer = clock.schedule(0, () => {});
  const begin = (): void => {
    timer.cancel();
    const attempt = attempts[begunCount];
    if (attempt === undefined) return;
    begunCount++;
    timer = clock.schedule(patienceMs, begin);
    void attempt().then(resolve, (failure: unknown) => {
      failures.push(failure);
      if (isFinal(failure)) reject(failure);
      else if (failures.length === attempts.length) reject(summary(failures));
      else if (failures.length === begunCount) begin();
    });
  };
  begin();
  try {
    return await promise;
  } finally {
    // Nothing begins after the end.
    begunCount = attempts.length;
    timer.cancel();
  }
}
