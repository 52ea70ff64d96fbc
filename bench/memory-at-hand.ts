import { spawn } from "node:child_process";
import { once } from "node:events";

const pieceMegabytes = 64;

/**
 * Resolves when the machine has so much memory that was used just now. A virtual machine gives free memory back to its host, and
 * then the first use of a page costs several times as much: measured, 1.5 GB 1.2 s right after they were freed, 2.9 s after ten
 * seconds. Who comes after a longer pause is not to pay for that.
 */
export async function memoryAtHand(megabytes: number): Promise<void> {
  const script = `for (let at = 0; at < ${megabytes}; at += ${pieceMegabytes}) (globalThis.kept ??= []).push(Buffer.alloc(${pieceMegabytes} * 1e6, 1));`;
  const [code] = (await once(spawn(process.execPath, ["-e", script], { stdio: "inherit" }), "exit")) as [number | null];
  if (code !== 0)
    throw new Error(`no ${megabytes} MB of memory could be had: the process that takes them ended with ${code}`);
}
