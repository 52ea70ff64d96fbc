import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { parseHistory } from "@millrace/simulator/histories/history";
import type { HistoryEvent } from "@millrace/simulator/histories/history";
import { interopDirectory, javaClassPath, paths, pythonCommand, repositoryRoot } from "../runtimes.ts";
import { diesWithParent } from "../broker-process.ts";
import { log4jOption } from "../kafka-commands.ts";
import { sessionTimeoutMs, topics, type Slot } from "./plan.ts";

export interface WorkerOptions {
  readonly slot: Slot;
  /** Tells the processes of one place apart. */
  readonly life: number;
  readonly address: string;
  readonly directory: string;
  readonly seed: number;
  /** So many lines it may note before it ends by itself: what bounds the disk. */
  readonly linesMax: number;
}

/** A process that holds clients and notes what they do. It dies with this one. */
export class Worker {
  readonly slot: Slot;
  readonly name: string;
  readonly #logPath: string;
  readonly #process: ChildProcess;
  readonly #ended: Promise<unknown>;
  #endedAtUs = Infinity;
  #isKilled = false;
  #output = "";

  constructor({ slot, life, address, directory, seed, linesMax }: WorkerOptions) {
    this.slot = slot;
    this.name = `${slot.name}${life}`;
    this.#logPath = join(directory, `${this.name}.jsonl`);
    const config = {
      ...{ log: this.#logPath, seed, linesMax, topics, sessionTimeoutMs },
      clients: Object.entries(slot.clients).map(([name, client]) => ({ name: `${this.name}.${name}`, ...client })),
    };
    const [executable, ...args] = diesWithParent([...programs[slot.program], address, JSON.stringify(config)]);
    this.#process = spawn(executable, args, {
      cwd: repositoryRoot,
      env: { ...process.env, PYTHONPATH: paths.pythonPackages },
      stdio: ["pipe", "ignore", "pipe"],
    });
    this.#process.stderr?.on("data", (chunk: Buffer) => {
      this.#output = (this.#output + chunk.toString()).slice(-16_384);
    });
    this.#process.stdin?.on("error", () => undefined);
    const orphanNot = (): void => void this.#process.kill("SIGKILL");
    process.once("exit", orphanNot);
    this.#ended = once(this.#process, "exit").then(() => {
      this.#endedAtUs = monotonicUs();
      process.off("exit", orphanNot);
    });
  }

  get hasEnded(): boolean {
    return this.#endedAtUs !== Infinity;
  }

  /** It ended by itself, and not well: then its clients are not what they should be. */
  get hasFailed(): boolean {
    return this.hasEnded && !this.#isKilled && this.#process.exitCode !== 0;
  }

  /** What it said last beside its notes: which calls failed, and why it ended. */
  get output(): string {
    return this.#output;
  }

  /** How much it has noted so far. */
  get notedBytes(): number {
    return statSync(this.#logPath, { throwIfNoEntry: false })?.size ?? 0;
  }

  freeze(): void {
    this.#process.kill("SIGSTOP");
  }

  thaw(): void {
    this.#process.kill("SIGCONT");
  }

  async kill(): Promise<void> {
    this.#isKilled = true;
    this.#process.kill("SIGKILL");
    await this.#ended;
  }

  /** The end of its input ends it, once its clients have closed; one that hangs is killed. Whether it ended by itself. */
  async stop(timeoutMs: number): Promise<boolean> {
    this.thaw();
    this.#process.stdin?.end();
    return await this.ended(timeoutMs);
  }

  async ended(timeoutMs: number): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => resolve(false), timeoutMs);
    void this.#ended.then(() => resolve(true));
    const hasEnded = await promise;
    clearTimeout(timer);
    if (!hasEnded) await this.kill();
    return hasEnded && this.#process.exitCode === 0;
  }

  /** After its end: what it noted, and the end itself for those of its clients that could not note it. */
  history(): HistoryEvent[] {
    if (!existsSync(this.#logPath)) return [];
    const parsed = parseHistory(readFileSync(this.#logPath, "utf8"), this.#logPath);
    if (!parsed.ok) throw new Error(parsed.message);
    const events = parsed.value;
    const alive = new Set(events.map(({ client }) => client));
    for (const { client, type } of events) if (type === "crash") alive.delete(client);
    const atUs = Math.max(this.#endedAtUs, events.at(-1)?.atUs ?? 0);
    return [...events, ...[...alive].map((client): HistoryEvent => ({ client, atUs, type: "crash" }))];
  }
}

/** The clock by which the Java virtual machine, too, gives its nanoTime on Linux. */
export function monotonicUs(): number {
  return Number(process.hrtime.bigint() / 1000n);
}

const programs: Readonly<Record<Slot["program"], readonly [string, ...string[]]>> = {
  java: [
    "java",
    ...["-Xmx160m", "-Xss512k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"],
    ...[log4jOption, "-cp", javaClassPath(), "HistoryClients"],
  ],
  librdkafka: [pythonCommand() ?? "python3", "-B", join(interopDirectory, "python", "librdkafka_history.py")],
};
