import { isUtf8 } from "node:buffer";
import { Cluster } from "@millrace/client";
import type { ConsumedRecord, StartAt } from "@millrace/client";
import { brokerAddresses, wholeNumber } from "../arguments.ts";
import { Output } from "../output.ts";
import type { ConsumeOptions } from "../program.ts";
import { UsageError } from "../usage-error.ts";

export async function consumeLines(topic: string, options: ConsumeOptions): Promise<void> {
  const count = wholeNumber("--count", options.count, { min: 0 }) ?? Number.POSITIVE_INFINITY;
  const partitions = options.partition?.map((text) => wholeNumber("--partition", text, { min: 0 }) ?? 0);
  const from = placeOf(options.from);
  const lineOf = options.format === "json" ? jsonLine : textLines(options.keySeparator);
  if (count === 0) return;
  // Ctrl-C is how one leaves; a reader that has gone away is the same.
  const stop = new AbortController();
  const leave = (): void => stop.abort();
  process.once("SIGINT", leave).once("SIGTERM", leave);
  process.stdout.once("close", leave);
  await using cluster = new Cluster({ brokers: brokerAddresses(options.bootstrap), clientId: "millrace-cli" });
  const output = new Output(cluster.wire.world.clock);
  const records = cluster.consumer().records(topic, {
    from,
    signal: stop.signal,
    untilEnd: options.untilEnd ?? false,
    ...(partitions === undefined ? {} : { partitions }),
  });
  let printed = 0;
  for await (const record of records) {
    await output.write(lineOf(record));
    if (++printed >= count || !output.isOpen) break;
  }
  await output.flush();
}

/** A place in the log as a person writes it. A time without a zone is this machine's. */
export function placeOf(text: string): StartAt {
  if (text === "earliest" || text === "latest") return text;
  if (/^\d+$/.test(text) && Number.isSafeInteger(Number(text))) return { offset: Number(text) };
  const timestamp = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(timestamp)) return { timestamp };
  throw new UsageError(
    `--from: "${text}" is neither earliest, latest, an offset nor a time such as 2026-01-31T12:00:00Z`,
  );
}

const lineFeed = Buffer.from("\n");
const nothing = Buffer.alloc(0);

function textLines(separator: string | undefined): (record: ConsumedRecord) => Buffer {
  if (separator === undefined) return ({ value }) => Buffer.concat([value ?? nothing, lineFeed]);
  const between = Buffer.from(separator);
  return ({ key, value }) => Buffer.concat([key ?? nothing, between, value ?? nothing, lineFeed]);
}

type JsonBytes = string | null | { readonly base64: string };

/** Bytes as text where they are text, so that a person can read them and a program can have them back. */
function jsonBytes(bytes: Buffer | null): JsonBytes {
  if (bytes === null) return null;
  return isUtf8(bytes) ? bytes.toString() : { base64: bytes.toString("base64") };
}

function jsonLine(record: ConsumedRecord): Buffer {
  const { topic, partition, offset, timestamp, timestampBig, key, value, headers } = record;
  const line = {
    topic,
    partition,
    offset,
    timestamp: timestampBig === undefined ? timestamp : String(timestampBig),
    key: jsonBytes(key),
    value: jsonBytes(value),
    headers: headers.entries.map((header) => ({ key: header.key, value: jsonBytes(header.value) })),
  };
  return Buffer.from(`${JSON.stringify(line)}\n`);
}
