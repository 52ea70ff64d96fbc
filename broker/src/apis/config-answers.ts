import type { ConfigEntry } from "../config/broker-configs.ts";
import { codeOfControllerFailure } from "../metadata/controller/decision.ts";
import type { ItemResult } from "../metadata/controller/decision.ts";
import { ErrorCode } from "kafka-protocol-ts/errors";

/** Code and message of one item, as every answer about topics and settings has them. */
export function outcomeOf(result: ItemResult<unknown>): {
  readonly errorCode: ErrorCode;
  readonly errorMessage: string | null;
} {
  if (result.ok) return { errorCode: ErrorCode.NONE, errorMessage: null };
  const errorMessage = result.message === undefined ? null : boundedMessage(result.message);
  return { errorCode: codeOfControllerFailure[result.failure], errorMessage };
}

const messageLengthMax = 2000;

/** A message repeats what the client sent, which may be as long as a string can be; with its own words it would be longer. */
export function boundedMessage(message: string): string {
  return message.length <= messageLengthMax ? message : `${message.slice(0, messageLengthMax)}...`;
}

export function entriesByName(
  entries: readonly ConfigEntry[],
  names: readonly string[] | null,
): readonly ConfigEntry[] {
  // An empty list of names asks for all of them, as null does.
  return names === null || names.length === 0 ? entries : entries.filter(({ name }) => names.includes(name));
}
