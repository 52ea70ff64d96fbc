import { explain } from "kafka-protocol-ts/messages/10000-explain";
import { KafkaError } from "../errors.ts";
import type { CallOptions, Calls } from "./calls.ts";
import { check } from "./calls.ts";
import { anyBroker } from "./routes.ts";

/** What Millrace can explain. */
export type ExplainedKind = "group" | "producer" | "transaction" | "partition";

/** What Millrace says of something that does not get on. */
export interface Explanation {
  /** As it was asked for. */
  readonly kind: ExplainedKind;
  /** As it was asked for. */
  readonly name: string;
  /** One sentence: how it stands. */
  readonly summary: string;
  /** What is so, each with a word for it. */
  readonly facts: readonly (readonly [label: string, value: string])[];
  /** Why it is so, a sentence each; empty where nothing is wrong. */
  readonly reasons: readonly string[];
  /** Oldest first; `at` is ISO 8601. */
  readonly events: readonly { readonly at: string; readonly text: string }[];
}

export async function explained(
  calls: Calls,
  of: { readonly kind: ExplainedKind; readonly name: string },
  options: CallOptions,
): Promise<Explanation> {
  return calls.ask({ call: "explain", route: anyBroker(calls.wire) }, options, async (connection) => {
    if (!connection.serves(explain)) {
      const sentence = "this cluster does not explain: it is not Millrace, or an older one";
      throw new KafkaError("UNSUPPORTED_VERSION", sentence, { broker: connection.name });
    }
    const answer = await connection.request(explain, of);
    check(answer, `${of.kind} ${of.name}`, connection);
    return JSON.parse(answer.explanation) as Explanation;
  });
}
