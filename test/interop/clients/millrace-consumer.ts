import { appendFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Cluster } from "@millrace/client";
import type { ConsumedRecord } from "@millrace/client";
import type { ConsumerEvent, ConsumerSpec } from "../consumer-process.ts";

/**
 * A process that reads topics with our own client, and writes what happens into a file: consumer-process.ts starts, tells,
 * stops and kills it. When it has closed everything it ends by itself, or something was left open.
 */
const spec = JSON.parse(process.argv[2] ?? "{}") as ConsumerSpec;
const { brokers, log, mode, workMs = 0, pattern, topics = [], run = {} } = spec;

function note(event: ConsumerEvent): void {
  appendFileSync(log, `${JSON.stringify(event)}\n`);
}

for (const name of ["unhandledRejection", "uncaughtException", "warning"] as const) {
  process.on(name, (error: unknown) => {
    note({
      event: "stray",
      error: `${name}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    });
  });
}

const cluster = new Cluster({ brokers, clientId: spec.name, ...spec.cluster });
const consumer = cluster.consumer(spec.consumer);
const stop = new AbortController();
const source = pattern === undefined ? topics : new RegExp(pattern);
const read = { ...spec.read, signal: stop.signal };

for (const name of ["assigned", "revoked", "lost"] as const) {
  consumer.on(name, (partitions) => {
    note({ event: name, partitions: partitions.map(({ topic, partition }) => `${topic}-${partition}`) });
  });
}
consumer.on("moved", ({ topic, partition, reason, before, now }) => {
  note({ event: "moved", partition: `${topic}-${partition}`, reason, before, now });
});

process.on("message", (command: string) => void obey(command));
// What the parent may say keeps nobody alive.
process.channel?.unref();

async function obey(command: string): Promise<void> {
  if (command === "abort") stop.abort();
  if (command === "commit") await consumer.commit();
  if (command === "close") {
    const beganMs = performance.now();
    await consumer.close();
    note({ event: "closed", tookMs: performance.now() - beganMs });
    await cluster.close();
  }
  if (command === "memory") {
    // What the first one finds dead, it gives back beside the program; the next one waits for that.
    globalThis.gc?.();
    globalThis.gc?.();
    const { arrayBuffers, heapUsed } = process.memoryUsage();
    note({ event: "memory", arrayBuffers, heapUsed });
  }
}

async function handle(record: ConsumedRecord, signal: AbortSignal): Promise<void> {
  const { topic, partition, offset } = record;
  note({ event: "begun", partition: `${topic}-${partition}`, offset });
  if (workMs > 0) await sleep(workMs);
  note({
    event: "handled",
    partition: `${topic}-${partition}`,
    offset,
    key: record.rawKey?.toString() ?? null,
    isAborted: signal.aborted,
  });
}

async function main(): Promise<void> {
  if (mode === "run") {
    await consumer.run(source, async (record, { signal }) => handle(record, signal), { ...read, ...run });
  } else if (mode === "records") {
    for await (const record of consumer.records(source, read)) {
      await handle(record, record.signal);
      if (spec.commitEach === true) {
        record.done();
        await consumer.commit();
      }
    }
  } else {
    for await (const batch of consumer.batches(source, read)) {
      for (const record of batch) await handle(record, batch.signal);
      if (spec.consumer.commit === "manual") await batch.commit();
    }
  }
}

note({ event: "started" });
try {
  await main();
  note({ event: "ended", error: null });
} catch (error) {
  note({ event: "ended", error: `${(error as { readonly code?: string }).code ?? ""} ${(error as Error).message}` });
}
await consumer.close();
await cluster.close();
