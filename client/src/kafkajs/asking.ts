import { brokerError, isRetriableError } from "../errors.ts";
import type { Wire } from "../network/wire.ts";
import { asKafkaJSError, finalError } from "./error-mapping.ts";
import { KafkaJSProtocolError } from "./errors.ts";
import { pause, pausesMsSum, RetryPauses } from "./retry.ts";
import type { RetrySettings } from "./retry.ts";

/** Beside the pauses between tries, a call has so long for the tries themselves. */
const triesMsMax = 5_000;
const unknownTopic = "UNKNOWN_TOPIC_OR_PARTITION";

/** Tries again what may pass by itself, with the pauses and as often as `retry` says. */
export async function tried<T>(wire: Wire, retry: RetrySettings, attempt: () => Promise<T>): Promise<T> {
  const { clock, random } = wire.world;
  const pauses = new RetryPauses(retry, random);
  for (let triesLeft = retry.retries; ; triesLeft--) {
    try {
      return await attempt();
    } catch (error) {
      if (!isRetriableError(error) || triesLeft <= 0 || wire.closed.aborted) throw error;
    }
    await pause(clock, pauses.next(), wire.closed);
  }
}

/** As `tried`, for an admin's call: what it fails with in the end is an error of KafkaJS. */
export async function asking<T>(wire: Wire, retry: RetrySettings, ask: () => Promise<T>): Promise<T> {
  try {
    return await tried(wire, retry, async () => {
      try {
        return await ask();
      } catch (error) {
        // It may pass, but most often a name is wrong, and its caller wants to know that at once.
        throw (error as { readonly code?: string }).code === unknownTopic ? asKafkaJSError(error) : error;
      }
    });
  } catch (error) {
    const mapped = asKafkaJSError(error);
    throw mapped instanceof KafkaJSProtocolError ? mapped : finalError(error, retry);
  }
}

/** How long a call of the client's own admin may take, which tries again by itself. */
export function askingMsMax(retry: RetrySettings): number {
  return triesMsMax + pausesMsSum(retry);
}

/** @throws KafkaError of a broker, where its answer has a code. */
export function check(
  { errorCode, errorMessage }: { readonly errorCode: number; readonly errorMessage?: string | null },
  what: string,
  { name: broker }: { readonly name: string },
): void {
  if (errorCode !== 0) throw brokerError(errorCode, what, errorMessage, { broker });
}
