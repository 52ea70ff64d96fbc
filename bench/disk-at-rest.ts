import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const lookEveryMs = 50;
/** Shorter than the time between two of the no-op records that an idle Kafka controller writes. */
const quietLooks = 5;
const waitMsMax = 30_000;

/**
 * Writes all that is dirty, and waits until the disk of a directory has nothing to do. A file system that is mounted with
 * `discard` tells the disk of the blocks of removed files behind everybody's back: a gigabyte of that takes a second or more, in which
 * a synced write waits, and the next round would pay for the last one.
 */
export async function diskAtRest(directory: string): Promise<void> {
  spawnSync("sync");
  const { dev } = statSync(directory);
  // As glibc's major and minor, for the numbers that disks have.
  const path = `/sys/dev/block/${(dev >> 8) & 0xfff}:${(dev & 0xff) | ((dev >> 12) & 0xfff00)}/stat`;
  // There is no such thing outside Linux, and of a file system without a disk.
  if (!existsSync(path)) return;
  let before = "";
  for (let [waitedMs, quiet] = [0, 0]; quiet < quietLooks; waitedMs += lookEveryMs) {
    if (waitedMs > waitMsMax) throw new Error(`the disk of ${directory} does not come to rest`);
    await sleep(lookEveryMs);
    const now = workOf(path);
    quiet = now === before ? quiet + 1 : 0;
    before = now;
  }
}

/** What changes while the disk works: reads, writes, what is under way, discards (Documentation/block/stat.rst). */
function workOf(path: string): string {
  const fields = readFileSync(path, "utf8").trim().split(/\s+/);
  return [fields[0], fields[4], fields[8], fields[11]].join(" ");
}
