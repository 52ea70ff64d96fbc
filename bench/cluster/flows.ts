import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { Cluster } from "@millrace/client";
import { diesWithParent } from "../../test/interop/broker-process.ts";
import { javaProgram } from "../../test/interop/clients.ts";

/** A record that the cluster has acknowledged to all who asked for all: when this process heard of it, and where it lies. */
export interface Ack {
  readonly atMs: number;
  readonly value: string;
  readonly partition: number;
  readonly offset: number;
}

/** A producer that sends at a steady rate, with acks=all, and tries again for as long as it takes. */
export interface Flow extends AsyncDisposable {
  readonly name: "ours" | "java";
  readonly acks: readonly Ack[];
  /** Records that the producer has given up. */
  readonly failures: readonly string[];
  /** Sends no more, and hears of all that it has sent. */
  end(): Promise<void>;
}

export interface FlowOptions {
  readonly brokers: readonly string[];
  readonly topic: string;
  readonly partitions: number;
  readonly recordsPerSecond: number;
}

/** A stall must not fill the memory. */
const underWayMax = 2_000;

export function startOwnFlow({ brokers, topic, partitions, recordsPerSecond }: FlowOptions): Flow {
  const cluster = new Cluster({ brokers, clientId: "bench-ours" });
  const producer = cluster.producer();
  const acks: Ack[] = [];
  const failures: string[] = [];
  const underWay = new Set<Promise<void>>();
  const state = { isOver: false };
  const sendOne = (number: number): void => {
    const value = `ours-${number}`;
    const sent = producer.send(topic, { value, partition: number % partitions }).then(
      ({ partition, offset }) => void acks.push({ atMs: performance.now(), value, partition, offset }),
      (error: unknown) => void failures.push(String(error)),
    );
    underWay.add(sent);
    void sent.finally(() => underWay.delete(sent));
  };
  const sending = (async () => {
    const startMs = performance.now();
    for (let number = 0; !state.isOver; await sleep(5)) {
      const due = ((performance.now() - startMs) / 1000) * recordsPerSecond;
      for (; number < due && underWay.size < underWayMax; number++) sendOne(number);
    }
    await Promise.all(underWay);
  })();
  const end = async (): Promise<void> => {
    state.isOver = true;
    await sending;
  };
  return {
    name: "ours",
    acks,
    failures,
    end,
    async [Symbol.asyncDispose]() {
      state.isOver = true;
      await cluster.close();
      await sending;
    },
  };
}

interface VerifiableLine {
  readonly name: string;
  readonly value: string;
  readonly partition: number;
  readonly offset: number;
}

/** Kafka's own VerifiableProducer, with the retries that every producer of today has. */
export function startJavaFlow({ brokers, topic, recordsPerSecond }: FlowOptions): Flow {
  const directory = mkdtempSync(join(tmpdir(), "bench-flow-"));
  const settings = join(directory, "producer.properties");
  writeFileSync(settings, "enable.idempotence=true\nretries=2147483647\n");
  const args = [
    ...["--bootstrap-server", brokers.join(), "--topic", topic, "--throughput", `${recordsPerSecond}`],
    ...["--acks", "-1", "--repeating-keys", "600", "--command-config", settings],
  ];
  const [executable, ...rest] = diesWithParent(javaProgram("org.apache.kafka.tools.VerifiableProducer", args));
  const child = spawn(executable, rest, { stdio: ["ignore", "pipe", "inherit"] });
  const acks: Ack[] = [];
  const failures: string[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => {
    const atMs = performance.now();
    const { name, value, partition, offset } = JSON.parse(line) as VerifiableLine;
    if (name === "producer_send_success") acks.push({ atMs, value: `java-${value}`, partition, offset });
    else if (name === "producer_send_error") failures.push(line);
  });
  return {
    name: "java",
    acks,
    failures,
    end: async () => await terminated(child),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await ended(child);
      rmSync(directory, { recursive: true });
    },
  };
}

/** It sends what it has before it goes. */
async function terminated(child: ChildProcess): Promise<void> {
  child.kill("SIGTERM");
  await ended(child);
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, "close");
}

/** Until each flow has heard of so many more. */
export async function untilAcked(flows: readonly Flow[], count: number, timeoutMs = 60_000): Promise<void> {
  const wanted = flows.map(({ acks }) => acks.length + count);
  for (const limitMs = performance.now() + timeoutMs; performance.now() < limitMs; await sleep(10))
    if (flows.every(({ acks }, index) => acks.length >= (wanted[index] ?? 0))) return;
  const state = flows.map(({ name, acks, failures }) => `${name} ${acks.length} ${failures.slice(-2).join()}`);
  throw new Error(`no ${count} acknowledgements within ${timeoutMs} ms: ${state.join("; ")}`);
}

export interface Gap {
  readonly ms: number;
  readonly endsAtMs: number;
}

/** The longest time without an acknowledgement that ended between two moments; the time before the first moment does not count. */
export function longestGap(acks: readonly Ack[], fromMs: number, untilMs = Infinity): Gap {
  let longest: Gap = { ms: 0, endsAtMs: fromMs };
  let lastMs = fromMs;
  for (const { atMs } of acks) {
    if (atMs < fromMs || atMs > untilMs) continue;
    if (atMs - lastMs > longest.ms) longest = { ms: atMs - lastMs, endsAtMs: atMs };
    lastMs = atMs;
  }
  return longest;
}

/** Of all partitions. */
export function longestGapOfPartition(acks: readonly Ack[], fromMs: number, untilMs = Infinity): number {
  const byPartition = [...Map.groupBy(acks, ({ partition }) => partition).values()];
  return Math.max(0, ...byPartition.map((each) => longestGap(each, fromMs, untilMs).ms));
}

export interface Comparison {
  readonly acked: number;
  readonly lost: number;
  readonly duplicated: number;
}

/** What was acknowledged against what is in the log, read from the beginning to the end. */
export async function compare(brokers: readonly string[], topic: string, flows: readonly Flow[]): Promise<Comparison> {
  await using cluster = new Cluster({ brokers, clientId: "bench-reader" });
  const consumer = cluster.consumer({ isolation: "read_committed" });
  const seen = new Map<string, number>();
  for await (const { value } of consumer.records(topic, { from: "earliest", untilEnd: true })) {
    const text = value?.toString() ?? "";
    const named = text.startsWith("ours-") ? text : `java-${text}`;
    seen.set(named, (seen.get(named) ?? 0) + 1);
  }
  const acked = flows.flatMap(({ acks }) => acks.map(({ value }) => value));
  const lost = acked.filter((value) => !seen.has(value)).length;
  const duplicated = [...seen.values()].filter((count) => count > 1).length;
  return { acked: acked.length, lost, duplicated };
}
