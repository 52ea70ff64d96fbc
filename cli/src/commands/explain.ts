import { Cluster } from "@millrace/client";
import type { ExplainedKind, Explanation } from "@millrace/client";
import { brokerAddresses } from "../arguments.ts";
import type { ExplainOptions } from "../program.ts";

/** Prints why something does not get on. */
export async function explain(kind: ExplainedKind, name: string, options: ExplainOptions): Promise<void> {
  await using cluster = new Cluster({ brokers: brokerAddresses(options.bootstrap), clientId: "millrace-cli" });
  const explanation = await cluster.admin().explain(kind, name);
  process.stdout.write(options.json === true ? `${JSON.stringify(explanation)}\n` : textOf(explanation));
}

/** What it is, why, what is known of it, and what led here. */
export function textOf({ kind, name, summary, reasons, facts, events }: Explanation): string {
  const width = Math.max(0, ...facts.map(([label]) => label.length));
  const parts = [
    [`${kind} ${name}: ${summary}`],
    reasons.map((reason) => `- ${reason}`),
    facts.map(([label, value]) => `  ${label.padEnd(width)}  ${value}`),
    events.map(({ at, text }) => `  ${at}  ${text}`),
  ];
  return parts
    .filter((lines) => lines.length > 0)
    .map((lines) => `${lines.join("\n")}\n`)
    .join("\n");
}
