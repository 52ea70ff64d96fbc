import { errorMessage, errorName, isRetriable } from "kafka-protocol-ts/errors";

export interface KafkaErrorOptions {
  readonly retriable?: boolean;
  readonly fatal?: boolean;
  readonly broker?: string | undefined;
  readonly cause?: unknown;
}

/**
 * Every failure of this client. `code` is Kafka's own name (UNKNOWN_TOPIC_OR_PARTITION ...) or one of the client's
 * (NOT_CONNECTED, TIMED_OUT, CLOSED, INVALID_CONFIG ...); docs/client/errors.md lists them with what to do.
 */
export class KafkaError extends Error {
  /** "KafkaError". */
  override readonly name: string = "KafkaError";
  /** What is wrong, in a word that never changes: Kafka's own, or one of docs/client/errors.md. */
  readonly code: string;
  /** The same call may succeed later, unchanged. */
  readonly retriable: boolean;
  /** The producer, consumer or cluster that it came from is of no more use. */
  readonly fatal: boolean;
  /** "host:port" of the broker that answered, or did not. */
  readonly broker: string | undefined;
  constructor(code: string, message: string, options: KafkaErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retriable = options.retriable ?? false;
    this.fatal = options.fatal ?? false;
    this.broker = options.broker;
  }

  /** Where this error is explained. */
  get help(): string {
    return `docs/client/errors.md#${this.code.toLowerCase()}`;
  }
}

/** What a broker answered, as an error; `what` names the item it was about. */
export function brokerError(
  errorCode: number,
  what: string,
  message?: string | null,
  options: { readonly broker?: string; readonly fatal?: boolean } = {},
): KafkaError {
  const detail = message === null || message === undefined || message === "" ? errorMessage(errorCode) : message;
  return new KafkaError(errorName(errorCode), `${what}: ${detail}`, { retriable: isRetriable(errorCode), ...options });
}

/** The caller's signal was aborted; `reason` is what it was aborted with. */
export function abortedError(signal: AbortSignal, what: string): KafkaError {
  return new KafkaError("ABORTED", `${what} was aborted`, { cause: signal.reason as unknown });
}

/** A word of a broker that cannot be true, or cannot be read. */
export function corrupt(message: string, cause?: unknown): KafkaError {
  return new KafkaError("CORRUPT_MESSAGE", message, cause === undefined ? {} : { cause });
}

/** Something that may pass by itself. */
export function isRetriableError(error: unknown): boolean {
  return error instanceof KafkaError && error.retriable;
}

/** Whatever was thrown, as an error of this client. */
export function asKafkaError(error: unknown): KafkaError {
  if (error instanceof KafkaError) return error;
  const sentence = error instanceof Error ? error.message : String(error);
  return new KafkaError("UNKNOWN_SERVER_ERROR", sentence, { cause: error });
}
