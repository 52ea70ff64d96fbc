import { errorName, errors } from "kafka-protocol-ts/errors";
import { KafkaError } from "../errors.ts";
import {
  KafkaJSConnectionError,
  KafkaJSError,
  KafkaJSNonRetriableError,
  KafkaJSNumberOfRetriesExceeded,
  KafkaJSProtocolError,
  KafkaJSRequestTimeoutError,
  KafkaJSSASLAuthenticationError,
  KafkaJSServerDoesNotSupportApiKey,
} from "./errors.ts";
import type { ProtocolErrorSource } from "./errors.ts";
import { lastPauseMs } from "./retry.ts";
import type { RetrySettings } from "./retry.ts";

/** Where KafkaJS keeps a name that Kafka has given up. */
const earlierNames: Readonly<Record<string, string>> = {
  UNKNOWN_SERVER_ERROR: "UNKNOWN",
  NOT_LEADER_OR_FOLLOWER: "NOT_LEADER_FOR_PARTITION",
  COORDINATOR_LOAD_IN_PROGRESS: "GROUP_LOAD_IN_PROGRESS",
  COORDINATOR_NOT_AVAILABLE: "GROUP_COORDINATOR_NOT_AVAILABLE",
  NOT_COORDINATOR: "NOT_COORDINATOR_FOR_GROUP",
};

const codesByName: ReadonlyMap<string, number> = new Map(
  Object.entries(errors).map(([name, [code]]): [string, number] => [name, code]),
);

/** Codes of a broker that this client uses for findings of its own. */
const ownToo: ReadonlySet<string> = new Set(["UNSUPPORTED_VERSION", "REQUEST_TIMED_OUT", "NETWORK_EXCEPTION"]);

/** What a broker answered, as KafkaJS calls it. */
export function protocolSource(errorCode: number, message: string, cause?: unknown): ProtocolErrorSource {
  const name = errorName(errorCode);
  const retriable = errors[name as keyof typeof errors]?.[1] ?? false;
  return {
    message,
    type: earlierNames[name] ?? name,
    code: errorCode,
    retriable,
    ...(cause === undefined ? {} : { cause }),
  };
}

/** The broker's code that an error of this client carries; undefined: it is none of a broker. */
export function protocolSourceOf(error: unknown): ProtocolErrorSource | undefined {
  if (!(error instanceof KafkaError)) return undefined;
  const code = codesByName.get(error.code);
  if (code === undefined || ownToo.has(error.code) || isOwnConfig(error)) return undefined;
  return protocolSource(code, error.message, error);
}

/** An error of this client as one of KafkaJS; what is none of this client's stays as it is. */
export function asKafkaJSError(error: unknown): unknown {
  if (!(error instanceof KafkaError)) return error;
  const { code, message, broker, retriable, cause } = error;
  const source = { message, cause: error } as unknown as Error;
  switch (code) {
    case "NOT_CONNECTED":
    case "TLS_FAILED":
    case "NETWORK_EXCEPTION":
      return new KafkaJSConnectionError(source, { broker, code: systemCode(cause) });
    case "REQUEST_TIMED_OUT":
      return new KafkaJSRequestTimeoutError(source, { broker: broker ?? "" });
    case "SASL_AUTHENTICATION_FAILED":
    case "UNSUPPORTED_SASL_MECHANISM":
    case "ILLEGAL_SASL_STATE":
    case "TOKEN_FAILED":
      return new KafkaJSSASLAuthenticationError(source);
    case "UNSUPPORTED_VERSION":
      return new KafkaJSServerDoesNotSupportApiKey(source);
    case "TIMED_OUT":
      return cause instanceof KafkaError ? asKafkaJSError(cause) : new KafkaJSError(source, { cause: error });
  }
  if (isOwnConfig(error)) return new KafkaJSNonRetriableError(source);
  const known = codesByName.get(code);
  if (known !== undefined) return new KafkaJSProtocolError(protocolSource(known, message, error));
  return retriable ? new KafkaJSError(source) : new KafkaJSNonRetriableError(source);
}

/**
 * What a call of KafkaJS fails with in the end: what may pass by itself was tried again until the time was over, and so
 * comes as KafkaJSNumberOfRetriesExceeded with the last failure as its cause.
 */
export function finalError(error: unknown, retry: RetrySettings): unknown {
  const mapped = asKafkaJSError(error);
  if (!(mapped instanceof KafkaJSError) || !mapped.retriable) return mapped;
  return new KafkaJSNumberOfRetriesExceeded(mapped, { retryCount: retry.retries, retryTime: lastPauseMs(retry) });
}

/** An option of the program, and not a setting that a broker refuses. */
function isOwnConfig({ code, broker }: KafkaError): boolean {
  return code === "INVALID_CONFIG" && broker === undefined;
}

function systemCode(cause: unknown): string | undefined {
  const { code, cause: deeper } = (cause ?? {}) as { readonly code?: unknown; readonly cause?: unknown };
  if (deeper !== undefined && deeper !== null)
    return systemCode(deeper) ?? (typeof code === "string" ? code : undefined);
  return typeof code === "string" ? code : undefined;
}
