import { Cluster, KafkaError } from "@millrace/client";
import type { Producer } from "@millrace/client";
import { brokerAddresses, wholeNumber } from "../arguments.ts";
import { linesOf } from "../input.ts";
import type { ProduceOptions } from "../program.ts";
import { UsageError } from "../usage-error.ts";

/** What may wait for its acknowledgement before standard input is read on. */
const unacknowledgedLinesMax = 10_000;
const unacknowledgedBytesMax = 16 * 1024 * 1024;
/** A topic that is being made is there after so long. */
const creationMsMax = 3_000;
const deliveryMsMax = 30_000;
const refusalsShownMax = 10;

/** Sends each line of standard input; gives the exit code, 1 when a record was refused. */
export async function produceLines(topic: string, options: ProduceOptions): Promise<number> {
  const partition = wholeNumber("--partition", options.partition, { min: 0 });
  await using cluster = new Cluster({ brokers: brokerAddresses(options.bootstrap), clientId: "millrace-cli" });
  await reach(cluster, topic);
  await using producer = cluster.producer({
    compression: options.compression,
    lingerMs: 5,
    deliveryTimeoutMs: deliveryMsMax,
  });
  const sending = new Sending(producer, topic, partition);
  // Ctrl-C ends the input, not the records that were read.
  const stop = (): void => void process.stdin.destroy();
  process.once("SIGINT", stop);
  let lineNumber = 0;
  try {
    for await (const line of linesOf(process.stdin)) {
      lineNumber++;
      const sent = keyAndValue(line, options.keySeparator);
      if (sent === null) {
        const sentence = `line ${lineNumber} has no "${options.keySeparator}" between key and value`;
        throw new UsageError(`${sentence}: nothing was sent of it and of what follows`);
      }
      await sending.send(lineNumber, sent);
      if (sending.refusals.length > 0) break;
    }
  } catch (error) {
    const isStopped = (error as NodeJS.ErrnoException).code === "ERR_STREAM_PREMATURE_CLOSE";
    if (!isStopped) throw error;
  } finally {
    process.removeListener("SIGINT", stop);
    await producer.flush();
    sending.report();
  }
  return sending.refusals.length === 0 ? 0 : 1;
}

/** A broker that is not there, or a topic that may not be, is told before anything is read. */
async function reach(cluster: Cluster, topic: string): Promise<void> {
  await cluster.connect();
  await cluster.wire.retrying({ what: `topic ${topic}`, timeoutMs: creationMsMax }, async () =>
    cluster.wire.topic(topic, { mayCreate: true }),
  );
}

interface Line {
  readonly key: Buffer | null;
  readonly value: Buffer;
}

function keyAndValue(line: Buffer, separator: string | undefined): Line | null {
  if (separator === undefined) return { key: null, value: line };
  const at = line.indexOf(separator);
  if (at < 0) return null;
  return { key: line.subarray(0, at), value: line.subarray(at + Buffer.byteLength(separator)) };
}

/** Sends without waiting for each answer, within limits, and remembers what was refused. */
class Sending {
  readonly refusals: { readonly lineNumber: number; readonly error: unknown }[] = [];
  readonly #producer: Producer;
  readonly #topic: string;
  readonly #partition: number | undefined;
  #acknowledged = 0;
  #openLines = 0;
  #openBytes = 0;

  constructor(producer: Producer, topic: string, partition: number | undefined) {
    this.#producer = producer;
    this.#topic = topic;
    this.#partition = partition;
  }

  async send(lineNumber: number, { key, value }: Line): Promise<void> {
    const bytes = value.length + (key?.length ?? 0);
    this.#openLines++;
    this.#openBytes += bytes;
    const record = { key, value, ...(this.#partition === undefined ? {} : { partition: this.#partition }) };
    void this.#producer
      .send(this.#topic, record)
      .then(
        () => this.#acknowledged++,
        (error: unknown) => this.refusals.push({ lineNumber, error }),
      )
      .finally(() => {
        this.#openLines--;
        this.#openBytes -= bytes;
      });
    if (this.#openLines >= unacknowledgedLinesMax || this.#openBytes >= unacknowledgedBytesMax) {
      await this.#producer.flush();
    }
  }

  report(): void {
    const print = (line: string): void => void process.stderr.write(`${line}\n`);
    for (const { lineNumber, error } of this.refusals.slice(0, refusalsShownMax)) {
      const reason = error instanceof KafkaError ? `${error.code}: ${error.message}` : String(error);
      print(`millrace: line ${lineNumber} was refused: ${reason}`);
    }
    const refused = this.refusals.length;
    if (refused > refusalsShownMax) print(`millrace: so were ${refused - refusalsShownMax} lines more`);
    print(`${this.#acknowledged} records acknowledged${refused === 0 ? "" : `, ${refused} refused`}`);
  }
}
