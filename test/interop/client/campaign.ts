import { Prng } from "@millrace/base/prng";
import { Cluster } from "@millrace/client/cluster";
import type { ClusterOptions } from "@millrace/client/cluster";
import { KafkaError } from "@millrace/client/errors";
import { freePorts } from "../broker-process.ts";
import { Target } from "../target.ts";
import type { TargetName } from "../target.ts";
import type { Chaos } from "./chaos-proxy.ts";
import { ChaosProxy } from "./chaos-proxy.ts";

export interface CampaignOptions {
  readonly seed: number;
  readonly target: TargetName;
  readonly recordsCount: number;
  readonly partitionsCount: number;
  readonly chaos: Chaos;
  /** Kills the broker and starts it again so many times meanwhile. */
  readonly killsCount?: number;
}

/** What came of it. `problems` is empty where all promises were kept. */
export interface CampaignResult {
  readonly problems: readonly string[];
  readonly acknowledged: number;
  readonly failed: number;
  /** Why sends failed, and how many. */
  readonly failures: Readonly<Record<string, number>>;
  readonly read: number;
  readonly faults: ChaosProxy["counts"];
  readonly durationMs: number;
}

/** A broker behind a proxy that spoils what passes, and clients that go through it. */
export class Stormy implements AsyncDisposable {
  readonly target: Target;
  readonly proxy: ChaosProxy;
  readonly port: number;
  readonly #stack: AsyncDisposableStack;

  private constructor(target: Target, proxy: ChaosProxy, port: number, stack: AsyncDisposableStack) {
    this.target = target;
    this.proxy = proxy;
    this.port = port;
    this.#stack = stack;
  }

  static async start(options: Pick<CampaignOptions, "seed" | "target" | "chaos">): Promise<Stormy> {
    await using stack = new AsyncDisposableStack();
    const [port] = await freePorts(1);
    const target = stack.use(await Target.start({ name: options.target, isBrief: true, advertisedPort: port }));
    const { seed, chaos } = options;
    const proxy = stack.use(new ChaosProxy({ port, brokerPort: target.port, seed, chaos }));
    return new Stormy(target, proxy, port, stack.move());
  }

  /** A client whose times are short, so that what is stalled is noticed. */
  client(options: Partial<ClusterOptions> = {}): Cluster {
    const times = { requestTimeoutMs: 3_000, connectTimeoutMs: 3_000 };
    return new Cluster({ brokers: [`127.0.0.1:${this.port}`], ...times, ...options });
  }

  /** A client that goes around the proxy where the broker's own address allows it: for what is no matter of the test. */
  async calmly<T>(work: () => Promise<T>): Promise<T> {
    const { chaos } = this.proxy;
    this.proxy.chaos = { ...chaos, delay: 0, cut: 0, reset: 0, stall: 0, crumble: 0 };
    try {
      return await work();
    } finally {
      this.proxy.chaos = chaos;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/**
 * One producer writes numbered records in each partition through a storm, a consumer reads them through it. Then it is quiet, and all
 * is read again: what was acknowledged is there once and in order, and nothing is there that was not sent.
 */
export async function campaign(options: CampaignOptions): Promise<CampaignResult> {
  const startedMs = performance.now();
  const { seed, recordsCount, partitionsCount, killsCount = 0 } = options;
  await using stormy = await Stormy.start(options);
  const topic = `storm-${seed}`;
  const prng = new Prng(seed);
  const problems: string[] = [];
  await stormy.calmly(async () => {
    await using cluster = stormy.client();
    await cluster.admin().topics.create({ name: topic, partitions: partitionsCount });
  });

  const acknowledged = new Map<string, number>();
  const failed = new Set<string>();
  const failures: Record<string, number> = {};
  const stop = new AbortController();
  const seen: Read[] = [];
  await using reader = stormy.client({ clientId: "reader" });
  const reading = readStubbornly(reader, topic, seen, stop.signal).catch((error: unknown) =>
    problems.push(`reading: ${text(error)}`),
  );
  await using writer = stormy.client({ clientId: "writer" });
  const producer = writer.producer({ deliveryTimeoutMs: 60_000, batchBytesMax: 50_000 });
  const kills = killing(stormy, killsCount);
  const sends: Promise<void>[] = [];
  for (let index = 0; index < recordsCount; index++) {
    const partition = index % partitionsCount;
    const value = `${index} ${"x".repeat(prng.between(0, 2_000))}`;
    const send = producer.send(topic, { value, partition }).then(
      ({ offset }) => void acknowledged.set(value, offset),
      (error: unknown) => {
        failed.add(value);
        const reason = text(error).replaceAll(/\d+/g, "N");
        failures[reason] = (failures[reason] ?? 0) + 1;
        if (!(error instanceof KafkaError)) problems.push(`sending: ${text(error)}`);
      },
    );
    sends.push(send);
    if (index % 50 === 49) await Promise.race([send, new Promise((resolve) => void setTimeout(resolve, 20))]);
  }
  await Promise.all(sends);
  await kills;
  await producer.close();
  const stored = await stormy.calmly(async () => {
    await using cluster = stormy.client();
    const all: Read[] = [];
    await readAll(cluster, topic, all);
    return all;
  });
  const endMs = performance.now() + 120_000;
  while (seen.length < stored.length && performance.now() < endMs && problems.length === 0)
    await new Promise((resolve) => void setTimeout(resolve, 20));
  stop.abort();
  await reading;
  problems.push(...wrong({ acknowledged, failed, stored, recordsCount }));
  if (JSON.stringify(inPartitions(seen)) !== JSON.stringify(inPartitions(stored))) {
    problems.push(`what was read in the storm (${seen.length}) is not what is there (${stored.length})`);
  }
  return {
    problems,
    acknowledged: acknowledged.size,
    failed: failed.size,
    failures,
    read: stored.length,
    faults: stormy.proxy.counts,
    durationMs: performance.now() - startedMs,
  };
}

interface Read {
  readonly partition: number;
  readonly offset: number;
  readonly value: string;
}

/** As a program does that begins in a storm: where nothing can be read yet, it begins again. */
async function readStubbornly(cluster: Cluster, topic: string, into: Read[], signal: AbortSignal): Promise<void> {
  for (;;) {
    try {
      await readAll(cluster, topic, into, signal);
      return;
    } catch (error) {
      if (into.length > 0 || !(error instanceof KafkaError) || !error.retriable) throw error;
    }
  }
}

/** Small answers: of a large one, something would be cut off each time. */
const fetching = { maxWaitMs: 100, maxBytes: 200_000, partitionMaxBytes: 50_000 };

/** To the end, or until the signal. */
async function readAll(cluster: Cluster, topic: string, into: Read[], signal?: AbortSignal): Promise<void> {
  const options = signal === undefined ? { untilEnd: true } : { signal };
  for await (const { partition, offset, value } of cluster.consumer(fetching).records(topic, options)) {
    into.push({ partition, offset, value: String(value) });
  }
}

async function killing({ target }: Stormy, count: number): Promise<void> {
  for (let index = 0; index < count; index++) {
    await new Promise((resolve) => void setTimeout(resolve, 500));
    await target.kill();
    await target.start();
  }
}

function wrong(found: {
  readonly acknowledged: ReadonlyMap<string, number>;
  readonly failed: ReadonlySet<string>;
  readonly stored: readonly Read[];
  readonly recordsCount: number;
}): string[] {
  const { acknowledged, failed, stored, recordsCount } = found;
  const problems: string[] = [];
  const name = (value: string): string => value.split(" ")[0] ?? "";
  const offsets = new Map<string, number>();
  for (const { value, offset } of stored) {
    if (offsets.has(value)) problems.push(`record ${name(value)} is there twice`);
    offsets.set(value, offset);
    if (!acknowledged.has(value) && !failed.has(value)) problems.push(`record ${name(value)} was never sent`);
  }
  for (const [value, offset] of acknowledged) {
    const at = offsets.get(value);
    if (at === undefined) problems.push(`record ${name(value)} was acknowledged, and is not there`);
    else if (offset >= 0 && at !== offset) problems.push(`record ${name(value)} is at ${at}, not at ${offset}`);
  }
  for (const records of Object.values(inPartitions(stored))) {
    const numbers = records.map(({ value }) => Number(name(value)));
    const at = numbers.findIndex((number, index) => index > 0 && number < (numbers[index - 1] ?? 0));
    if (at >= 0) problems.push(`record ${numbers[at]} stands behind ${numbers[at - 1]}`);
  }
  if (acknowledged.size + failed.size !== recordsCount) problems.push("a send was never settled");
  return problems;
}

function inPartitions(read: readonly Read[]): Record<number, Read[]> {
  return Object.groupBy(read, ({ partition }) => partition) as Record<number, Read[]>;
}

function text(error: unknown): string {
  return error instanceof KafkaError ? `${error.code}: ${error.message}` : String((error as Error).stack ?? error);
}
