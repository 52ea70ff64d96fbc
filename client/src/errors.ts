import { errorMessage, errorName, isRetriable } from "kafka-protocol-ts/errors";

/** Every failure of this client. `code` is Kafka's own name, or one of the client's (NOT_CONNECTED, TIMED_OUT, CLOSED ...). */
export class KafkaError extends Error {
  override readonly name = "KafkaError";
  readonly code: string;
  /** The same call may succeed later, unchanged. */
  readonly retriable: boolean;
  constructor(code: string, message: string, options: { readonly retriable?: boolean; readonly cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retriable = options.retriable ?? false;
  }
}

/** What a broker answered, as an error; `what` names the item it was about. */
export function brokerError(errorCode: number, what: string, message?: string | null): KafkaError {
  const detail = message === null || message === undefined || message === "" ? errorMessage(errorCode) : message;
  return new KafkaError(errorName(errorCode), `${what}: ${detail}`, { retriable: isRetriable(errorCode) });
}
