import { once } from "node:events";
import { Cluster } from "@millrace/client";
import type { ConsumedRecord, StartAt } from "@millrace/client";
import { wholeNumber } from "../arguments.ts";
import { UsageError } from "../usage-error.ts";
import type { ConsumeOptions } from "../program.ts";

export async function consumeLines(topic: string, options: ConsumeOptions): Promise<void> {
  const count = wholeNumber("--count", options.count) ?? Number.POSITIVE_INFINITY;
  const partitions = options.partition?.map((text) => wholeNumber("--partition", text) ?? 0);
  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort());
  await using cluster = new Cluster({ brokers: options.bootstrap.split(","), clientId: "millrace-cli" });
  const records = cluster.consumer().records(topic, {
    from: parsePlace(options.from),
    signal: stop.signal,
    untilEnd: options.untilEnd ?? false,
    ...(partitions === undefined ? {} : { partitions }),
  });
  let printed = 0;
  if (count === 0) return;
  for await (const record of records) {
    const line = options.format === "json" ? jsonLine(record) : textLine(record, options.keySeparator);
    if (!process.stdout.write(line)) await once(process.stdout, "drain");
    if (++printed >= count) return;
  }
}

function parsePlace(text: string): StartAt {
  if (text === "earliest" || text === "latest") return text;
  if (/^\d+$/.test(text)) return { offset: Number(text) };
  const timestamp = Date.parse(text);
  if (Number.isNaN(timestamp))
    throw new UsageError(`--from is "${text}", which is neither earliest, latest, an offset nor a time`);
  return { timestamp };
}

function textLine({ key, value }: ConsumedRecord, separator: string | undefined): Buffer {
  const parts = separator === undefined ? [] : [key ?? Buffer.alloc(0), Buffer.from(separator)];
  return Buffer.concat([...parts, value ?? Buffer.alloc(0), Buffer.from("\n")]);
}

function jsonLine({ topic, partition, offset, timestamp, key, value, headers }: ConsumedRecord): string {
  const text = (bytes: Buffer | null): string | null => bytes?.toString() ?? null;
  const headerTexts = headers.map((header) => ({ key: header.key, value: text(header.value) }));
  return `${JSON.stringify({ topic, partition, offset, timestamp, key: text(key), value: text(value), headers: headerTexts })}\n`;
}
