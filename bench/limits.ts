import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  constants,
  existsSync,
  fdatasyncSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeSync,
} from "node:fs";
import { open } from "node:fs/promises";
import { createConnection, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { median } from "./statistics.ts";

/** What the machine does with the same bytes and no broker, in the minute in which a round is measured. */
export interface Limits {
  /** Writes of 1 MiB to a new file, each synced before the next: what a durable log cannot exceed alone. */
  readonly syncedMegabytesPerSecond: number;
  /**
   * Ten batches of 60 KB to six new files, synced together before the next ten: what a durable log of six partitions cannot exceed
   * for ten requests on their way, without a journal.
   */
  readonly spreadMegabytesPerSecond: number;
  /** Writes of 4 KiB, each synced before the next. */
  readonly syncsPerSecond: number;
  /** A file in the page cache, read and written to a socket by another process, and received here. */
  readonly loopbackMegabytesPerSecond: number;
  /** Messages of 200 bytes that another process sends back: 20 connections, 5 on their way on each. */
  readonly echoesPerSecond: number;
}

export type LimitName = "disk" | "files" | "syncs" | "loopback" | "echoes";

const mebibyte = 1024 * 1024;
const fileMebibytes = 64;
const receiveBytes = 256 * 1024;
const loopbackMs = 400;
const spread = { files: 6, chunkBytes: 100 * 1024, rounds: 60 } as const;
const echo = { connections: 20, inFlight: 5, bytes: 200 } as const;

/** Measures the limits again and again; what it needs for that is made once. */
export class LimitProbe implements AsyncDisposable {
  readonly #directory: string;
  readonly #child: ChildProcess;
  readonly #port: number;

  private constructor(directory: string, child: ChildProcess, port: number) {
    this.#directory = directory;
    this.#child = child;
    this.#port = port;
  }

  static async start(parent: string): Promise<LimitProbe> {
    const directory = mkdtempSync(join(existsSync(parent) ? parent : tmpdir(), "bench-limits-"));
    const path = join(directory, "sent");
    writeSynced(path, mebibyte, fileMebibytes);
    const script = join(import.meta.dirname, "cat.ts");
    const child = spawn(process.execPath, [script, path], { stdio: ["pipe", "pipe", "inherit"] });
    const [line] = (await once(child.stdout, "data")) as [Buffer];
    return new LimitProbe(directory, child, Number(line.toString()));
  }

  async measure(): Promise<Limits> {
    const path = join(this.#directory, "written");
    const limits = {
      syncedMegabytesPerSecond: (fileMebibytes * mebibyte) / 1e6 / writeSynced(path, mebibyte, fileMebibytes),
      spreadMegabytesPerSecond: await writeSpread(path),
      syncsPerSecond: syncs / writeSynced(path, pageBytes, syncs),
      loopbackMegabytesPerSecond: await this.#receive(),
      echoesPerSecond: await this.#echo(),
    };
    rmSync(path);
    return limits;
  }

  async #receive(): Promise<number> {
    let bytes = 0;
    const begun = Promise.withResolvers<void>();
    const callback = (count: number): boolean => {
      bytes += count;
      begun.resolve();
      return true;
    };
    // Into one buffer: a new one for each read costs more than the read.
    const onread = { buffer: Buffer.alloc(receiveBytes), callback };
    const socket = createConnection({ port: this.#port, host: "127.0.0.1", onread });
    socket.write("f");
    await begun.promise;
    const [startedMs, before] = [performance.now(), bytes];
    await elapsed();
    const seconds = (performance.now() - startedMs) / 1000;
    socket.destroy();
    return (bytes - before) / 1e6 / seconds;
  }

  async #echo(): Promise<number> {
    const message = Buffer.alloc(echo.bytes, "e");
    const sockets = await Promise.all(Array.from({ length: echo.connections }, () => this.#connect()));
    let bytes = 0;
    for (const socket of sockets) {
      let unanswered = 0;
      socket.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        unanswered += chunk.length;
        socket.cork();
        for (; unanswered >= echo.bytes; unanswered -= echo.bytes) socket.write(message);
        socket.uncork();
      });
      // The first byte says what is wanted, and does not come back.
      socket.write("e");
    }
    await elapsed();
    for (const socket of sockets) for (let count = 0; count < echo.inFlight; count++) socket.write(message);
    const [startedMs, before] = [performance.now(), bytes];
    await elapsed();
    const seconds = (performance.now() - startedMs) / 1000;
    for (const socket of sockets) socket.destroy();
    return (bytes - before) / echo.bytes / seconds;
  }

  async #connect(): Promise<Socket> {
    const socket = createConnection({ port: this.#port, host: "127.0.0.1", noDelay: true });
    await once(socket, "connect");
    return socket;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#child, "exit");
    this.#child.stdin?.end();
    await ended;
    rmSync(this.#directory, { recursive: true });
  }
}

function elapsed(): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, loopbackMs));
}

const pageBytes = 4096;
const syncs = 200;

/**
 * How long the disk takes for one sync, in the middle of many: a page is written over and synced, as in a journal, so that
 * the file system has nothing of its own to write.
 */
export function syncLatencyMs(directory: string): number {
  const path = join(mkdtempSync(join(directory, "bench-syncs-")), "written");
  writeSynced(path, pageBytes * syncs, 1);
  const file = openSync(path, constants.O_WRONLY | constants.O_DSYNC);
  const chunk = Buffer.alloc(pageBytes, 0x5a);
  const times = Array.from({ length: syncs }, (_, index) => {
    const startedMs = performance.now();
    writeSync(file, chunk, 0, pageBytes, index * pageBytes);
    return performance.now() - startedMs;
  });
  closeSync(file);
  rmSync(dirname(path), { recursive: true });
  return median(times);
}

/** Seconds that so many writes to a new file take, each synced before the next. */
function writeSynced(path: string, chunkBytes: number, count: number): number {
  const chunk = Buffer.alloc(chunkBytes, 0x5a);
  const file = openSync(path, "w");
  const startedMs = performance.now();
  for (let written = 0; written < count; written++) {
    writeSync(file, chunk);
    fdatasyncSync(file);
  }
  const seconds = (performance.now() - startedMs) / 1000;
  closeSync(file);
  return seconds;
}

/** Megabytes a second to several new files at a time, all synced before any is written again. */
async function writeSpread(path: string): Promise<number> {
  const chunk = Buffer.alloc(spread.chunkBytes, 0x5a);
  const paths = Array.from({ length: spread.files }, (_, index) => `${path}-${index}`);
  const files = await Promise.all(paths.map((each) => open(each, "w")));
  const startedMs = performance.now();
  for (let round = 0; round < spread.rounds; round++) {
    await Promise.all(
      files.map(async (file) => {
        await file.write(chunk);
        await file.datasync();
      }),
    );
  }
  const seconds = (performance.now() - startedMs) / 1000;
  for (const file of files) await file.close();
  for (const each of paths) rmSync(each);
  return (spread.files * spread.chunkBytes * spread.rounds) / 1e6 / seconds;
}

/** In words, the medians of those that bound a load. */
export function limitText(limits: readonly Limits[], names: readonly LimitName[]): string {
  const middle = (of: (limits: Limits) => number): string => median(limits.map(of)).toFixed(0);
  const texts: Readonly<Record<LimitName, () => string>> = {
    disk: () => `disk ${middle((each) => each.syncedMegabytesPerSecond)} MB/s`,
    files: () => `six files ${middle((each) => each.spreadMegabytesPerSecond)} MB/s`,
    syncs: () => `${middle((each) => each.syncsPerSecond)} syncs/s`,
    loopback: () => `loopback ${middle((each) => each.loopbackMegabytesPerSecond)} MB/s`,
    echoes: () => `${middle((each) => each.echoesPerSecond)} echoes/s`,
  };
  return names.map((name) => texts[name]()).join(", ");
}

/**
 * How many megabytes of unwritten pages the kernel takes before it makes a writer wait for the disk: below it, a broker that
 * does not sync writes to memory.
 */
export function dirtyLimitMegabytes(): number {
  const bytes = Number(readFileSync("/proc/sys/vm/dirty_bytes", "utf8"));
  if (bytes > 0) return bytes / 1e6;
  const ratio = Number(readFileSync("/proc/sys/vm/dirty_ratio", "utf8")) / 100;
  const [, kilobytes] = /^MemAvailable:\s+(\d+) kB/m.exec(readFileSync("/proc/meminfo", "utf8")) ?? [];
  return (ratio * Number(kilobytes) * 1024) / 1e6;
}

export function freeGigabytes(directory: string): number {
  const { bavail, bsize } = statfsSync(existsSync(directory) ? directory : tmpdir());
  return (bavail * bsize) / 1e9;
}
