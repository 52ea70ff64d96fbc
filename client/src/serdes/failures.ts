import { KafkaError } from "../errors.ts";
import type { SerdeContext } from "./serde.ts";

type Place = Pick<SerdeContext, "topic" | "part" | "header">;

/** "the value of a record of topic orders". */
export function placeOf({ topic, part, header }: Place): string {
  return `the ${part === "header" ? `header "${header ?? ""}"` : part} of a record of topic ${topic}`;
}

/** Bytes that are not what the serde reads. */
export function unreadable(context: Place, why: string, cause?: unknown): KafkaError {
  return failure("DESERIALIZATION_FAILED", `${placeOf(context)} cannot be read: ${why}`, cause);
}

/** A value that the serde cannot write. */
export function unwritable(context: Place, why: string, cause?: unknown): KafkaError {
  return failure("SERIALIZATION_FAILED", `${placeOf(context)} cannot be written: ${why}`, cause);
}

/** Null where `what` has no meaning for it. */
export function nullRefused(context: Place, what: string): KafkaError {
  return new KafkaError("NULL_VALUE", `${placeOf(context)} is null, which ${what} does not take: see nullable()`);
}

/** A value that was read or is to be written, and that its validator refuses. */
export function refused(context: Place, why: string, cause?: unknown): KafkaError {
  return failure("VALIDATION_FAILED", `${placeOf(context)} is refused by its validator: ${why}`, cause);
}

/** What a serde threw while it read, as an error that names the place; one of ours stays as it is. */
export function readFailure(error: unknown, context: Place): KafkaError {
  return error instanceof KafkaError ? error : unreadable(context, sentenceOf(error), error);
}

/** What a serde threw while it wrote, as an error that names the place; one of ours stays as it is. */
export function writeFailure(error: unknown, context: Place): KafkaError {
  return error instanceof KafkaError ? error : unwritable(context, sentenceOf(error), error);
}

/** What an error says, whatever was thrown. */
export function sentenceOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function failure(code: string, message: string, cause: unknown): KafkaError {
  return new KafkaError(code, message, cause === undefined ? {} : { cause });
}
