import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "./clients.ts";
import { diesWithParent } from "./broker-process.ts";

/** Far above what a step takes on a busy machine: only what never comes takes so long. */
const waitTimeoutMs = 60_000;
const pollMs = 20;

/** A program of others that runs beside a test: what it prints can be waited for, and it can be killed. */
export class Running implements AsyncDisposable {
  /** What it has written to its standard output so far. */
  readonly lines: string[] = [];
  readonly #name: string;
  readonly #process: ChildProcess;
  readonly #isClosed: Promise<unknown>;
  #log = "";

  private constructor(name: string, child: ChildProcess) {
    this.#name = name;
    this.#process = child;
    this.#isClosed = once(child, "close");
    child.stdin?.on("error", () => undefined);
    child.stderr?.on("data", (chunk: Buffer) => {
      this.#log = (this.#log + chunk.toString()).slice(-8_192);
    });
    if (child.stdout !== null) createInterface({ input: child.stdout }).on("line", (line) => this.lines.push(line));
  }

  static start(name: string, command: Command, environment: Readonly<Record<string, string>> = {}): Running {
    const [executable, ...args] = diesWithParent(command);
    const env = { ...process.env, ...environment };
    return new Running(name, spawn(executable, args, { env, stdio: ["pipe", "pipe", "pipe"] }));
  }

  get hasEnded(): boolean {
    return this.#process.exitCode !== null || this.#process.signalCode !== null;
  }

  /** The end of its standard error, for the message of a failing test. */
  get log(): string {
    return `${this.#name}: ${this.lines.slice(-5).join("\n")}\n${this.#log}`;
  }

  /** Resolves when the condition holds; fails when the program ends before, or in a minute. */
  async until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
    await waitUntil(
      what,
      async () => {
        // First the end, so that a condition which holds by its last line still counts.
        const hasEnded = this.hasEnded;
        if (await condition()) return true;
        if (hasEnded) throw new Error(`it ended (${this.#fate}) before ${what}\n${this.log}`);
        return false;
      },
      () => this.log,
    );
  }

  /** SIGKILL: it has no say in it. */
  async kill(): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#isClosed;
  }

  /** SIGSTOP: it stands still, and its connections stay. */
  pause(): void {
    this.#process.kill("SIGSTOP");
  }

  resume(): void {
    this.#process.kill("SIGCONT");
  }

  /** A clean end by SIGTERM, as an operator does it; 143 is what a JVM reports then. */
  async stop(): Promise<void> {
    this.#process.kill("SIGTERM");
    await this.#close([0, 143]);
  }

  /** A clean end by the end of its standard input. */
  async finish(): Promise<void> {
    this.#process.stdin?.end();
    await this.#close([0]);
  }

  /** It has all that it needs and ends by itself. */
  async ended(): Promise<void> {
    await this.#close([0]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.hasEnded) await this.kill();
  }

  async #close(codes: readonly number[]): Promise<void> {
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), waitTimeoutMs);
    await this.#isClosed;
    clearTimeout(timer);
    const { exitCode } = this.#process;
    if (exitCode === null || !codes.includes(exitCode)) throw new Error(`it ended with ${this.#fate}\n${this.log}`);
  }

  get #fate(): string {
    return `${this.#process.exitCode ?? this.#process.signalCode}`;
  }
}

/** Resolves when the condition holds; `describe` tells what is there when it does not in a minute. */
export async function waitUntil(
  what: string,
  condition: () => boolean | Promise<boolean>,
  describe: () => string = () => "",
): Promise<void> {
  const startedMs = performance.now();
  for (;;) {
    if (await condition()) return;
    if (performance.now() - startedMs > waitTimeoutMs) {
      throw new Error(`not in ${waitTimeoutMs} ms: ${what}\n${describe()}`);
    }
    await sleep(pollMs);
  }
}
