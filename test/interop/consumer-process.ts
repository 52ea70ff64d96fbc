import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { ClusterOptions, ConsumerOptions, ReadOptions, RunOptions } from "@millrace/client";
import { interopDirectory } from "./runtimes.ts";
import { diesWithParent } from "./broker-process.ts";

/** What a process of clients/millrace-consumer.ts is to do. */
export interface ConsumerSpec {
  readonly name: string;
  readonly brokers: readonly string[];
  /** Where it writes its events. */
  readonly log: string;
  readonly cluster?: Partial<ClusterOptions>;
  readonly consumer: ConsumerOptions;
  readonly read?: Omit<ReadOptions, "signal">;
  readonly run?: Omit<RunOptions, "signal">;
  readonly topics?: readonly string[];
  readonly pattern?: string;
  readonly mode: "run" | "records" | "batches";
  /** Of each record. */
  readonly workMs?: number;
  /** With "records": each record is committed before the next one is asked for. */
  readonly commitEach?: boolean;
}

export type ConsumerEvent =
  | { readonly event: "started" }
  | { readonly event: "begun"; readonly partition: string; readonly offset: number }
  | {
      readonly event: "handled";
      readonly partition: string;
      readonly offset: number;
      readonly key: string | null;
      readonly isAborted: boolean;
    }
  | { readonly event: "assigned" | "revoked" | "lost"; readonly partitions: readonly string[] }
  | {
      readonly event: "moved";
      readonly partition: string;
      readonly reason: string;
      readonly before: number;
      readonly now: number;
    }
  | { readonly event: "memory"; readonly arrayBuffers: number; readonly heapUsed: number }
  | { readonly event: "closed"; readonly tookMs: number }
  | { readonly event: "ended"; readonly error: string | null }
  /** Something that nobody handled: there must be none. */
  | { readonly event: "stray"; readonly error: string };

type EventOf<Name extends ConsumerEvent["event"]> = Extract<ConsumerEvent, { readonly event: Name }>;

const exitTimeoutMs = 60_000;

/** A consumer of our own client in a process of its own, so that it can be killed, frozen, and be seen to end by itself. */
export class ConsumerProcess implements AsyncDisposable {
  readonly name: string;
  readonly #directory: string;
  readonly #log: string;
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  #output = "";

  constructor(spec: Omit<ConsumerSpec, "log">) {
    this.name = spec.name;
    this.#directory = mkdtempSync(join(tmpdir(), "interop-consumer-"));
    this.#log = join(this.#directory, "events.jsonl");
    const program = join(interopDirectory, "clients", "millrace-consumer.ts");
    const argument = JSON.stringify({ ...spec, log: this.#log } satisfies ConsumerSpec);
    const command = [process.execPath, "--conditions=source", "--expose-gc", program, argument] as const;
    const [executable, ...args] = diesWithParent(command);
    this.#child = spawn(executable, args, { stdio: ["ignore", "pipe", "pipe", "ipc"] });
    this.#exited = once(this.#child, "exit");
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.on("data", (chunk: Buffer) => (this.#output = (this.#output + chunk.toString()).slice(-8_192)));
  }

  get events(): readonly ConsumerEvent[] {
    if (!existsSync(this.#log)) return [];
    const text = readFileSync(this.#log, "utf8");
    // The last line may be in work.
    const lines = text.slice(0, text.lastIndexOf("\n") + 1).split("\n");
    return lines.filter((line) => line !== "").map((line) => JSON.parse(line) as ConsumerEvent);
  }

  of<Name extends ConsumerEvent["event"]>(name: Name): readonly EventOf<Name>[] {
    return this.events.filter((event): event is EventOf<Name> => event.event === name);
  }

  /** "orders-0@5", in the order in which they were handled. */
  get handled(): readonly string[] {
    return this.of("handled").map(({ partition, offset }) => `${partition}@${offset}`);
  }

  /** What it reads at present, as it says. */
  get assignment(): readonly string[] {
    const held = new Set<string>();
    for (const event of this.events) {
      if (event.event === "assigned") for (const partition of event.partitions) held.add(partition);
      if (event.event === "revoked" || event.event === "lost")
        for (const partition of event.partitions) held.delete(partition);
    }
    return [...held].sort();
  }

  async until(condition: (self: this) => boolean, what: string, withinMs = 60_000): Promise<void> {
    const limitMs = performance.now() + withinMs;
    while (!condition(this)) {
      if (performance.now() > limitMs || this.#child.exitCode !== null)
        throw new Error(`${this.name}: ${what}: ${this.story}`);
      await sleep(20);
    }
  }

  get story(): string {
    const events = this.events.slice(-40).map((event) => JSON.stringify(event));
    return `exit ${this.#child.exitCode}\n${events.join("\n")}\n${this.#output}`;
  }

  tell(command: "close" | "abort" | "commit" | "memory"): void {
    this.#child.send(command);
  }

  freeze(): void {
    this.#child.kill("SIGSTOP");
  }

  thaw(): void {
    this.#child.kill("SIGCONT");
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#exited;
  }

  /** Until it has ended by itself, with the milliseconds that this took; nothing that nobody handled has happened in it. */
  async ends(withinMs = exitTimeoutMs): Promise<number> {
    const beganMs = performance.now();
    const late = AbortSignal.timeout(withinMs);
    const isLate = new Promise<"late">((resolve) => late.addEventListener("abort", () => resolve("late")));
    if ((await Promise.race([this.#exited, isLate])) === "late")
      throw new Error(`${this.name} did not end within ${withinMs} ms: ${this.story}`);
    if (this.#child.exitCode !== 0 || this.of("stray").length > 0) throw new Error(`${this.name}: ${this.story}`);
    return performance.now() - beganMs;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await this.kill();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
