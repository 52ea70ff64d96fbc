import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "@millrace/base/logger";
import { nodeWorld } from "@millrace/base/node/node-world";
import type { TimeMs } from "@millrace/base/units";
import { defaultLogConfig } from "@millrace/storage/log-config";
import { LogDirectory } from "@millrace/storage/log-directory";
import type { PartitionLog } from "@millrace/storage/log";
import type { LeaderEpoch, Offset } from "@millrace/storage/types";
import { trustBatch } from "@millrace/storage/validation";
import { encodeEndTransactionMarker } from "kafka-protocol-ts/records/control";
import { encodeBatch } from "kafka-protocol-ts/records/record";
import { afterAll, beforeAll, expect, test } from "vitest";
import { skipWhenMissing } from "./journey.ts";
import { javaClassPath, whyMissing } from "./runtimes.ts";

/* What the broker cannot be made to write yet (transactions, cuts) is read by Kafka's own tool from the log itself. */

const config = { ...defaultLogConfig, "segment.bytes": 64 * 1024, "index.interval.bytes": 1024 };
const path = mkdtempSync(join(tmpdir(), "millrace-storage-files-"));
const partition = join(path, "mixed-0");
let now = Date.UTC(2026, 0, 1);

function append(log: PartitionLog, bytes: Buffer, origin: "client" | "coordinator" = "client", epoch = 0): void {
  const result = log.append(trustBatch(bytes), { leaderEpoch: epoch as LeaderEpoch, origin, nowMs: now as TimeMs });
  if (!result.ok) throw new Error(result.failure.message);
}

function records(count: number): { timestamp: number; key: Buffer; value: Buffer }[] {
  // Time goes back now and then.
  return Array.from({ length: count }, (_, index) => ({
    timestamp: (now += index % 4 === 0 ? -3 : 5),
    key: Buffer.from(`k${index}`),
    value: Buffer.alloc(100 + index * 37, 0x61),
  }));
}

function fill(log: PartitionLog, rounds: number, epoch: number): void {
  for (let round = 0; round < rounds; round++) {
    append(log, encodeBatch({ records: records(1 + (round % 9)) }), "client", epoch);
    append(
      log,
      encodeBatch({ records: records(2), producerId: 7, producerEpoch: epoch, baseSequence: round * 2 }),
      "client",
      epoch,
    );
    append(
      log,
      encodeBatch({
        records: records(1),
        producerId: 9,
        producerEpoch: epoch,
        baseSequence: round,
        isTransactional: true,
      }),
      "client",
      epoch,
    );
    const marker = {
      isCommit: round % 3 > 0,
      coordinatorEpoch: 1,
      producerId: 9,
      producerEpoch: epoch,
      timestamp: now,
    };
    append(log, encodeEndTransactionMarker(marker), "coordinator", epoch);
  }
}

function durable(log: PartitionLog): Promise<void> {
  return new Promise((resolve) => {
    log.onProgress = () => {
      if (log.durableOffset === log.logEndOffset) resolve();
    };
    log.onProgress();
  });
}

beforeAll(async () => {
  if (whyMissing("java") !== null) return;
  const world = nodeWorld();
  const opened = await LogDirectory.open({ path, ...world, logger: silentLogger, clusterId: null, nodeId: 1 });
  if (!opened.ok) throw new Error(opened.message);
  await opened.value.load(() => config);
  const topicId = "AAAAAAAAAAAAAAAAAAAAAQ";
  const log = await opened.value.createLog({ topic: "mixed", partition: 0, topicId, config });
  fill(log, 60, 0);
  await durable(log);
  await log.truncateTo((log.logEndOffset - 40) as Offset);
  fill(log, 60, 1);
  await durable(log);
  await opened.value.close();
  await world.workers.close();
});

afterAll(() => rmSync(path, { recursive: true, force: true }));

function dump(...args: readonly string[]): string {
  const run = spawnSync(
    "java",
    ["-Xmx256m", "-cp", javaClassPath(), "org.apache.kafka.tools.DumpLogSegments", ...args],
    {
      encoding: "utf8",
    },
  );
  expect(run.status, run.stderr).toBe(0);
  return run.stdout;
}

function files(suffix: string): string[] {
  return readdirSync(partition)
    .filter((name) => name.endsWith(suffix))
    .sort()
    .map((name) => join(partition, name));
}

const complaint = /isvalid: false|mismatch|out of order|corrupt|non-consecutive.*index|exception|error/i;

test("segments, with transactions, markers and a cut", (context) => {
  skipWhenMissing(context, whyMissing("java"));
  expect(files(".log").length).toBeGreaterThan(2);
  const dumped = dump("--deep-iteration", "--files", files(".log").join(","));
  expect(dumped.split("\n").filter((line) => complaint.test(line))).toEqual([]);
  expect(dumped).toContain("endTxnMarker: ABORT");
  expect(dumped).toContain("endTxnMarker: COMMIT");
});

test("indexes, against their segments and by their own check", (context) => {
  skipWhenMissing(context, whyMissing("java"));
  const indexes = [...files(".index"), ...files(".timeindex")].join(",");
  const verified = dump("--verify-index-only", "--files", indexes);
  expect(verified.split("\n").filter((line) => complaint.test(line))).toEqual([]);
  const checked = dump("--index-sanity-check", "--files", indexes);
  expect(checked.match(/passed sanity check/g)).toHaveLength(indexes.split(",").length);
});

test("the aborted transactions, and what is known of producers", (context) => {
  skipWhenMissing(context, whyMissing("java"));
  const aborted = dump("--files", files(".txnindex").join(","));
  expect(aborted).toMatch(/producerId: 9 firstOffset: \d+ lastOffset: \d+ lastStableOffset: \d+/);
  const newest = files(".snapshot").at(-1) ?? "";
  const producers = dump("--files", newest)
    .split("\n")
    .filter((line) => line.startsWith("producerId"));
  expect(producers.filter((line) => line.startsWith("producerId: 7"))).toHaveLength(5);
  expect(producers.at(-1)).toMatch(/producerId: 9 producerEpoch: 1 coordinatorEpoch: 1/);
});
