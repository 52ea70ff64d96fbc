import { abortedError } from "../errors.ts";
import type { KafkaError } from "../errors.ts";

/** How a call ends that nobody may want to wait for any more. */
export interface Waiting {
  /** Absent: it is waited for. */
  readonly signal: AbortSignal | undefined;
  /** For the message: "sending a record to orders". */
  readonly what: string;
}

/**
 * What `work` gives; where the signal is aborted first, its error, and the work is left to itself.
 *
 * @throws KafkaError ABORTED, made by `failure` where the work had begun.
 */
export async function untilAborted<T>(
  work: () => Promise<T>,
  { signal, what }: Waiting,
  failure: (aborted: KafkaError) => KafkaError = (aborted) => aborted,
): Promise<T> {
  if (signal === undefined) return work();
  if (signal.aborted) throw abortedError(signal, what);
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(failure(abortedError(signal, what)));
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([work(), promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
