import { spawn } from "node:child_process";
import { once } from "node:events";

const pieceMegabytes = 64;

/** Given back until the load is over: seen, a gigabyte every two seconds. */
const lostMegabytes = 2_500;

/**
 * Resolves when the machine has so much memory that was used just now, and some seconds long. A virtual machine gives free memory
 * back to its host, and then the first use of a page costs several times as much: measured, 16 GB at 1.9 ms a megabyte, and at 0.4 to 0.8 ms when
 * they were used just before. A broker's own 1.1 s of CPU a gigabyte become 2.6 s by it, and a disk that is written through
 * the page cache seems to take 320 MB/s instead of 1,300. Who comes after a longer pause is not to pay for that.
 */
export async function memoryAtHand(megabytes: number): Promise<void> {
  const script = `for (let at = 0; at < ${megabytes + lostMegabytes}; at += ${pieceMegabytes}) (globalThis.kept ??= []).push(Buffer.alloc(${pieceMegabytes} * 1e6, 1));`;
  const [code] = (await once(spawn(process.execPath, ["-e", script], { stdio: "inherit" }), "exit")) as [number | null];
  if (code !== 0)
    throw new Error(
      `no ${megabytes + lostMegabytes} MB of memory could be had: the process that takes them ended with ${code}`,
    );
}
