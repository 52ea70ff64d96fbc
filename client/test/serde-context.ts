import { KafkaError } from "../src/errors.ts";
import { Headers } from "../src/serdes/headers.ts";
import type { SerdeContext } from "../src/serdes/serde.ts";

/** Of a record of the topic "orders", unless said otherwise. */
export function contextOf({
  topic = "orders",
  part = "value",
  headers = new Headers(),
}: { topic?: string; part?: "key" | "value"; headers?: Headers } = {}): SerdeContext {
  return { topic, part, headers };
}

/** The error of a call, now or later; an error of the test where it does not fail with one of the client's. */
export async function errorOf(call: () => unknown): Promise<KafkaError> {
  let outcome: unknown;
  try {
    outcome = await call();
  } catch (error) {
    if (error instanceof KafkaError) return error;
    throw new Error(`no KafkaError: ${String(error)}`, { cause: error });
  }
  throw new Error(`no failure, but ${JSON.stringify(outcome) ?? "undefined"}`);
}
