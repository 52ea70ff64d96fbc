import { once } from "node:events";
import { createReadStream, createWriteStream, type WriteStream } from "node:fs";
import { createInterface } from "node:readline";
import type {
  Answer,
  ConsumeArgs,
  CreateTopicArgs,
  EndArgs,
  HelloAnswer,
  ProduceAnswer,
  ProduceArgs,
  TransactArgs,
} from "../contract.ts";
import { decodeRecord, encodeConsumed, type ConsumedRecord, type SampleRecord } from "../records.ts";

/** A client program in TypeScript: what it does for each command. `serve` does the talking (../README.md). */
export interface ClientCommands {
  hello(): HelloAnswer;
  createTopic(args: CreateTopicArgs): Promise<void>;
  produce(args: ProduceArgs, reportProgress: (acknowledged: number) => void): Promise<ProduceAnswer>;
  consume(args: ConsumeArgs): Promise<void>;
  transact(args: TransactArgs): Promise<void>;
  end(args: EndArgs): Promise<void>;
  close(): Promise<void>;
}

export async function serve(start: (bootstrap: string) => ClientCommands): Promise<void> {
  const client = start(process.argv[2] ?? "");
  const write = (line: Answer): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line) as { readonly id: number; readonly command: string };
    try {
      write({ id: request.id, ok: await run(client, request, (progress) => write({ id: request.id, progress })) });
    } catch (error) {
      console.error(error);
      write({ id: request.id, error: String(error) });
    }
  }
  await client.close();
}

async function run(
  client: ClientCommands,
  request: { readonly command: string },
  reportProgress: (acknowledged: number) => void,
): Promise<object> {
  switch (request.command) {
    case "hello":
      return client.hello();
    case "create-topic":
      await client.createTopic(request as unknown as CreateTopicArgs);
      return {};
    case "produce":
      return await client.produce(request as unknown as ProduceArgs, reportProgress);
    case "consume":
      await client.consume(request as unknown as ConsumeArgs);
      return {};
    case "transact":
      await client.transact(request as unknown as TransactArgs);
      return {};
    case "end":
      await client.end(request as unknown as EndArgs);
      return {};
    default:
      throw new Error(`unknown command ${request.command}`);
  }
}

/** The records of a file, in lists of at most `countMax`: what one call of `send` takes. */
export async function* recordLists(file: string, countMax: number): AsyncGenerator<SampleRecord[]> {
  let list: SampleRecord[] = [];
  for await (const line of createInterface({ input: createReadStream(file) })) {
    list.push(decodeRecord(line));
    if (list.length < countMax) continue;
    yield list;
    list = [];
  }
  if (list.length > 0) yield list;
}

/** Writes what was consumed, and remembers where the next member has to go on. */
export class RecordFile {
  count = 0;
  readonly #stream: WriteStream;
  readonly #next = new Map<string, { readonly topic: string; readonly partition: number; readonly offset: number }>();

  constructor(path: string) {
    this.#stream = createWriteStream(path);
  }

  write(record: ConsumedRecord): void {
    this.#stream.write(`${encodeConsumed(record)}\n`);
    const { topic, partition, offset } = record;
    this.#next.set(`${topic}-${partition}`, { topic, partition, offset: offset + 1 });
    this.count += 1;
  }

  get nextOffsets(): { readonly topic: string; readonly partition: number; readonly offset: number }[] {
    return [...this.#next.values()];
  }

  async close(): Promise<void> {
    this.#stream.end();
    await once(this.#stream, "close");
  }
}

/** Turns the answer of `send` (a base offset for each partition) into one ack for each record, in the order sent. */
export function acksOf(
  partitions: readonly number[],
  baseOffsets: ReadonlyMap<number, number>,
): [partition: number, offset: number][] {
  const next = new Map(baseOffsets);
  return partitions.map((partition) => {
    const offset = next.get(partition);
    if (offset === undefined) throw new Error(`the answer names no base offset for partition ${partition}`);
    next.set(partition, offset + 1);
    return [partition, offset];
  });
}

/** Rejects when the wanted records do not come: the message says how many did. */
export function deadline(timeoutMs: number, describe: () => string): Disposable & { readonly passed: Promise<never> } {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(describe())), timeoutMs);
  // Nobody may be waiting any more when it passes.
  promise.catch(() => undefined);
  return { passed: promise, [Symbol.dispose]: () => clearTimeout(timer) };
}
