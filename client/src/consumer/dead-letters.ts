import { Headers } from "../serdes/headers.ts";
import type { ConsumedRecord } from "./consumed-record.ts";

/** Names of the headers that a dead letter has beside its own. */
export const deadLetterHeaders = {
  topic: "millrace.dead.topic",
  partition: "millrace.dead.partition",
  offset: "millrace.dead.offset",
  timestamp: "millrace.dead.timestamp",
  /** KafkaError's code, or the error's name. */
  code: "millrace.dead.code",
  /** What the error says. */
  reason: "millrace.dead.reason",
} as const;

/** The record as it was, with headers that say why it is dead and whence it comes, so that it can be tried again later. */
export function deadLetterOf(
  record: ConsumedRecord<unknown, unknown>,
  error: unknown,
): { readonly key: Buffer | null; readonly value: Buffer | null; readonly headers: Headers } {
  const { topic, partition, offset, timestamp } = record;
  const { code, name, message } = error as {
    readonly code?: unknown;
    readonly name?: string;
    readonly message?: string;
  };
  const about: Readonly<Record<keyof typeof deadLetterHeaders, string>> = {
    topic,
    partition: `${partition}`,
    offset: `${offset}`,
    timestamp: `${timestamp}`,
    code: typeof code === "string" ? code : (name ?? "Error"),
    reason: message ?? String(error),
  };
  const headers = new Headers(record.headers.entries);
  for (const [field, value] of Object.entries(about)) {
    headers.append(deadLetterHeaders[field as keyof typeof about], value);
  }
  return { key: record.rawKey, value: record.rawValue, headers };
}
