import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Target, whyTargetMissing, type TargetName } from "../test/interop/target.ts";
import { createTopic } from "./ask.ts";
import { printLine } from "./measure.ts";
import { rssMegabytesOf } from "./process-stats.ts";
import { renderTable } from "./table.ts";

/** A topic with more of them would be one request of minutes for Apache Kafka. */
const partitionsPerTopic = 1_000;
const settleMs = 3_000;

/**
 * `npm run bench -- partitions [--partitions N] [--target millrace|kafka] [--directory DIR]`
 *
 * A broker with many idle partitions: how long they take to be made, how long a start takes after a clean stop and after a
 * death of the process, and what each of them costs in memory: what is in use after a collection, less the same of a
 * broker without any, divided by their number. Beside it Apache Kafka, whose memory cannot be asked for in the same way.
 */
export async function run(args: readonly string[] = []): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      partitions: { type: "string", default: "10000" },
      target: { type: "string" },
      directory: { type: "string", default: tmpdir() },
    },
  });
  const count = Number(values.partitions);
  const rows: string[][] = [];
  for (const name of ["millrace", "kafka"] as const) {
    if (values.target !== undefined && values.target !== name) continue;
    const missing = whyTargetMissing(name);
    if (missing !== null) throw new Error(missing);
    rows.push(await measure(name, values.directory, count));
  }
  const head = [
    "broker",
    "create s",
    "start s, clean (bar 10)",
    "bytes a partition (bar 3072)",
    "start s, killed",
    "RSS MB",
  ];
  console.log(renderTable(head, rows));
}

/** Null where the broker is not ready within the time that a target is given. */
async function secondsToStart(target: Target): Promise<number | null> {
  try {
    return (await target.start()) / 1000;
  } catch (error) {
    console.error(String(error).split("\n")[0]);
    return null;
  }
}

async function measure(name: TargetName, directory: string, count: number): Promise<string[]> {
  const preload = join(import.meta.dirname, "heap-use.js");
  await using target = await Target.create({ name, directory, ...(name === "millrace" ? { preload } : {}) });
  const bytesInUse = async (): Promise<number> => {
    await sleep(settleMs);
    return name === "millrace" ? (await target.ask<{ readonly bytes: number }>("bytes")).bytes : Number.NaN;
  };
  await target.format();
  await target.start();
  const emptyBytes = await bytesInUse();
  const startMs = performance.now();
  for (let made = 0; made < count; made += partitionsPerTopic)
    await createTopic(target.port, `topic-${made}`, Math.min(partitionsPerTopic, count - made));
  const createSeconds = (performance.now() - startMs) / 1000;
  await target.stop();
  const cleanSeconds = await secondsToStart(target);
  if (cleanSeconds === null) return [name, createSeconds.toFixed(1), "not within 60", "-", "-", "-"];
  const bytesPerPartition = Math.round(((await bytesInUse()) - emptyBytes) / count);
  const rssMegabytes = Math.round(rssMegabytesOf(target.pid));
  await target.kill();
  const killedSeconds = (await secondsToStart(target)) ?? Infinity;
  await target.stop();
  printLine({
    bench: "partitions",
    target: name,
    partitions: count,
    createSeconds,
    cleanSeconds,
    killedSeconds,
    bytesPerPartition,
    rssMegabytes,
  });
  const seconds = (value: number): string => value.toFixed(1);
  const bytes = Number.isNaN(bytesPerPartition) ? "-" : String(bytesPerPartition);
  return [name, seconds(createSeconds), seconds(cleanSeconds), bytes, seconds(killedSeconds), String(rssMegabytes)];
}
