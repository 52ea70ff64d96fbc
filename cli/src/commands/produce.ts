import { createInterface } from "node:readline";
import { Cluster } from "@millrace/client";
import { wholeNumber } from "../arguments.ts";
import { UsageError } from "../usage-error.ts";
import type { ProduceOptions } from "../program.ts";

const codecs = ["none", "gzip", "snappy", "lz4", "zstd"] as const;
/** Lines that may wait for their acknowledgement before standard input is read on. */
const unacknowledgedMax = 10_000;

export async function produceLines(topic: string, options: ProduceOptions): Promise<void> {
  const compression = codecs.find((codec) => codec === options.compression);
  if (compression === undefined)
    throw new UsageError(`--compression is "${options.compression}"; known are ${codecs.join(", ")}`);
  const partition = wholeNumber("--partition", options.partition);
  await using cluster = new Cluster({ brokers: options.bootstrap.split(","), clientId: "millrace-cli" });
  await using producer = cluster.producer({ compression, lingerMs: 5 });
  let failure: unknown = null;
  let count = 0;
  for await (const line of createInterface({ input: process.stdin, crlfDelay: Number.POSITIVE_INFINITY })) {
    const { key, value } = splitLine(line, options.keySeparator);
    void producer
      .send(topic, { key, value, ...(partition === undefined ? {} : { partition }) })
      .catch((error: unknown) => {
        failure ??= error;
      });
    count++;
    if (count % unacknowledgedMax === 0) await producer.flush();
    if (failure !== null) throw failure;
  }
  await producer.flush();
  if (failure !== null) throw failure;
  process.stderr.write(`${count} records acknowledged\n`);
}

function splitLine(
  line: string,
  separator: string | undefined,
): { readonly key: string | null; readonly value: string } {
  if (separator === undefined) return { key: null, value: line };
  const at = line.indexOf(separator);
  if (at < 0) throw new UsageError(`the line "${line}" has no "${separator}" between key and value`);
  return { key: line.slice(0, at), value: line.slice(at + separator.length) };
}
