import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "@millrace/base/logger";
import { nodeWorld } from "@millrace/base/node/node-world";
import { setThreadPoolSize } from "@millrace/base/node/thread-pool";
import { defaultLogConfig } from "@millrace/storage/log-config";
import type { LogConfig } from "@millrace/storage/log-config";
import { LogDirectory } from "@millrace/storage/log-directory";
import type { PartitionLog } from "@millrace/storage/log";
import type { LeaderEpoch } from "@millrace/storage/types";
import { analyzeBatches } from "@millrace/storage/validation";
import { installNodeAccelerators } from "kafka-protocol-ts/node";
import { encodeBatch } from "kafka-protocol-ts/records/record";

/** A load: so many batches are appended and not yet durable at any time, over so many partitions in turn. */
interface Load {
  readonly name: string;
  readonly partitions: number;
  readonly recordsPerBatch: number;
  readonly recordBytes: number;
  readonly inFlight: number;
  readonly durability: LogConfig["millrace.durability"];
}

const loads: readonly Load[] = [
  {
    name: "6 partitions, 60 x 1 KB",
    partitions: 6,
    recordsPerBatch: 60,
    recordBytes: 1000,
    inFlight: 60,
    durability: "fsync",
  },
  {
    name: "6 partitions, 60 x 1 KB, os",
    partitions: 6,
    recordsPerBatch: 60,
    recordBytes: 1000,
    inFlight: 60,
    durability: "os",
  },
  {
    name: "6 partitions, 1 x 100 B",
    partitions: 6,
    recordsPerBatch: 1,
    recordBytes: 100,
    inFlight: 100,
    durability: "fsync",
  },
  {
    name: "300 partitions, 60 x 1 KB",
    partitions: 300,
    recordsPerBatch: 60,
    recordBytes: 1000,
    inFlight: 300,
    durability: "fsync",
  },
  {
    name: "1000 partitions, 60 x 1 KB",
    partitions: 1000,
    recordsPerBatch: 60,
    recordBytes: 1000,
    inFlight: 600,
    durability: "fsync",
  },
];

const SECONDS = 4;

/** Append throughput of the log alone, without a network: checked, stamped, written, synced. A JSON line a load. */
export async function run(only?: string): Promise<void> {
  setThreadPoolSize();
  const world = nodeWorld();
  installNodeAccelerators();
  world.native.load();
  for (const load of loads) {
    if (only !== undefined && !load.name.startsWith(only)) continue;
    const path = await mkdtemp(join(tmpdir(), "millrace-bench-log-"));
    try {
      const opened = await LogDirectory.open({ path, ...world, logger: silentLogger, clusterId: null, nodeId: 1 });
      if (!opened.ok) throw new Error(opened.message);
      const directory = opened.value;
      const config = { ...defaultLogConfig, "millrace.durability": load.durability };
      await directory.load(() => config);
      const logs = await Promise.all(
        Array.from({ length: load.partitions }, (_, partition) =>
          directory.createLog({ topic: "bench", partition, topicId: "AAAAAAAAAAAAAAAAAAAAAQ", config }),
        ),
      );
      console.log(JSON.stringify({ bench: "log", ...load, ...(await drive(logs, load)) }));
      await directory.close();
    } finally {
      await rm(path, { recursive: true, force: true });
    }
  }
  await world.workers.close();
}

async function drive(logs: readonly PartitionLog[], load: Load): Promise<Record<string, number>> {
  const records = Array.from({ length: load.recordsPerBatch }, () => ({
    timestamp: Date.now(),
    value: Buffer.alloc(load.recordBytes, 0x78),
  }));
  const template = encodeBatch({ records });
  const latenciesMs: number[] = [];
  const waiting = logs.map(
    () => [] as { readonly nextOffset: number; readonly startMs: number; readonly bytes: Buffer }[],
  );
  const startMs = performance.now();
  const endMs = startMs + SECONDS * 1000;
  const before = process.cpuUsage();
  let doneBytes = 0;
  let turn = 0;
  let inFlight = 0;
  const { promise: finished, resolve: finish } = Promise.withResolvers<void>();

  const appendNext = (bytes: Buffer): void => {
    if (performance.now() >= endMs) {
      if (inFlight === 0) finish();
      return;
    }
    const index = turn++ % logs.length;
    const log = logs[index] as PartitionLog;
    // A batch comes from a producer with offset 0.
    bytes.writeBigInt64BE(0n, 0);
    const nowMs = Date.now() as Parameters<PartitionLog["append"]>[1]["nowMs"];
    const analyzed = analyzeBatches(bytes, {
      nowMs,
      sizeBytesMax: 1 << 20,
      isKeyRequired: false,
      timestampType: "CreateTime",
      timestampBeforeMaxMs: Number.MAX_SAFE_INTEGER,
      timestampAfterMaxMs: 3_600_000,
      produceVersion: 11,
    });
    if (analyzed instanceof Promise || !analyzed.ok) throw new Error("the batch is good");
    const appended = log.append(analyzed.value, { leaderEpoch: 0 as LeaderEpoch, origin: "client", nowMs });
    if (!appended.ok) throw new Error(appended.failure.message);
    inFlight += 1;
    waiting[index]?.push({ nextOffset: appended.value.nextOffset, startMs: performance.now(), bytes });
  };
  for (const [index, log] of logs.entries()) {
    const queue = waiting[index] ?? [];
    log.onProgress = () => {
      let count = 0;
      while (count < queue.length && (queue[count]?.nextOffset ?? 0) <= log.durableOffset) count += 1;
      if (count === 0) return;
      const nowMs = performance.now();
      for (const { startMs, bytes } of queue.splice(0, count)) {
        doneBytes += bytes.length;
        inFlight -= 1;
        if (latenciesMs.length < 200_000) latenciesMs.push(nowMs - startMs);
        appendNext(bytes);
      }
    };
  }
  for (let index = 0; index < load.inFlight; index++) appendNext(Buffer.from(template));
  await finished;
  const seconds = (performance.now() - startMs) / 1000;
  const { user, system } = process.cpuUsage(before);
  latenciesMs.sort((a, b) => a - b);
  const at = (share: number): number => round(latenciesMs[Math.floor(latenciesMs.length * share)] ?? 0);
  return {
    megabytesPerSecond: round(doneBytes / 1e6 / seconds),
    batchesPerSecond: Math.round(doneBytes / template.length / seconds),
    cpuSecondsPerGigabyte: round((user + system) / 1e6 / (doneBytes / 1e9)),
    loopCpuShare: round((user + system) / 1e6 / seconds),
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    rssMegabytes: Math.round(process.memoryUsage.rss() / 1e6),
  };
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
