import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createConnection, createServer } from "node:net";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { commandExists, repositoryRoot } from "./runtimes.ts";

/** A program and its arguments. */
export type Command = readonly [string, ...string[]];

/** Long enough for a JVM on a busy machine; nothing waits so long when all is well. */
const startTimeoutMs = 60_000;
const stopTimeoutMs = 60_000;
const answerTimeoutMs = 60_000;

export interface BrokerProcessOptions {
  /** For messages. */
  readonly name: string;
  /** Where it listens. */
  readonly port: number;
  readonly command: Command;
  /** Over the environment that it inherits. */
  readonly environment: Readonly<Record<string, string>>;
  /** A module inside it can be asked. */
  readonly hasChannel?: boolean;
  /** Hears each line that the process writes. */
  readonly onLine?: (line: string) => void;
}

/** A broker as a process of its own, which is started, stopped, killed and frozen. */
export class BrokerProcess {
  readonly #options: BrokerProcessOptions;
  #process: ChildProcess | null = null;
  #output = "";

  constructor(options: BrokerProcessOptions) {
    this.#options = options;
  }

  get pid(): number {
    const pid = this.#process?.pid;
    if (pid === undefined) throw new Error(`${this.#options.name} is not running`);
    return pid;
  }

  get isRunning(): boolean {
    return this.#process !== null;
  }

  /** What the process has written, for the message of a failing test. */
  get output(): string {
    return this.#output;
  }

  tell(message: string): void {
    this.#process?.send(message);
  }

  async ask<Answer>(message: string): Promise<Answer> {
    const child = this.#process;
    if (child === null) throw new Error(`${this.#options.name} is not running`);
    const answered = once(child, "message", { signal: AbortSignal.timeout(answerTimeoutMs) });
    child.send(message);
    const [answer] = (await answered) as [Answer];
    return answer;
  }

  /** Another command in the environment of the broker, until it has ended. */
  async run(command: Command): Promise<void> {
    const [code] = (await once(this.#spawn(command), "exit")) as [number | null];
    if (code !== 0) throw new Error(`${this.#options.name}: ${command.join(" ")} ended with ${code}\n${this.#output}`);
  }

  /** Resolves when a client's first request is answered, with the milliseconds that this took. */
  async start(): Promise<number> {
    const { name, port, command } = this.#options;
    if (this.#process !== null) throw new Error(`${name} is already running`);
    const startedMs = performance.now();
    const child = this.#spawn(command);
    this.#process = child;
    while (child.exitCode === null && child.signalCode === null) {
      if (await answersRequests(port)) return performance.now() - startedMs;
      if (performance.now() - startedMs > startTimeoutMs) break;
      await sleep(5);
    }
    const fate = child.exitCode ?? child.signalCode ?? `silence for ${startTimeoutMs} ms`;
    await this.kill();
    throw new Error(`${name} did not start: ${fate}\n${this.#output}`);
  }

  /** It gets no processor until this is disposed of. */
  freeze(): Disposable {
    const { pid } = this;
    const child = this.#process;
    process.kill(pid, "SIGSTOP");
    return { [Symbol.dispose]: () => void child?.kill("SIGCONT") };
  }

  /** Asks it to stop, and does not wait. */
  terminate(): void {
    this.#process?.kill("SIGTERM");
  }

  /** A clean stop, as an operator does it. */
  async stop(): Promise<void> {
    const { name, command } = this.#options;
    const child = this.#process;
    if (child === null) return;
    child.kill("SIGTERM");
    const isGone = await exited(child, stopTimeoutMs);
    if (!isGone) {
      await this.kill();
      throw new Error(`${name} ignored SIGTERM for ${stopTimeoutMs} ms\n${this.#output}`);
    }
    this.#process = null;
    // A JVM that ends by SIGTERM reports 143 after it has closed everything.
    const isClean = child.exitCode === 0 || (command[0] === "java" && child.exitCode === 143);
    if (!isClean) throw new Error(`${name} ended with ${child.exitCode ?? child.signalCode}\n${this.#output}`);
  }

  /** SIGKILL: the process has no say in it. */
  async kill(): Promise<void> {
    const child = this.#process;
    if (child === null) return;
    child.kill("SIGKILL");
    await exited(child, stopTimeoutMs);
    this.#process = null;
  }

  #spawn(command: Command): ChildProcess {
    const { environment, hasChannel = false, onLine } = this.#options;
    const [executable, ...args] = diesWithParent(command);
    const child = spawn(executable, args, {
      cwd: repositoryRoot,
      env: { ...process.env, ...environment },
      stdio: ["ignore", "pipe", "pipe", ...(hasChannel ? (["ipc"] as const) : [])],
    });
    const keep = (chunk: Buffer): void => {
      this.#output = (this.#output + chunk.toString()).slice(-16_384);
    };
    child.stdout?.on("data", keep);
    child.stderr?.on("data", keep);
    if (onLine !== undefined && child.stderr !== null) createInterface({ input: child.stderr }).on("line", onLine);
    const orphanNot = (): void => void child.kill("SIGKILL");
    process.once("exit", orphanNot);
    child.once("exit", () => process.off("exit", orphanNot));
    return child;
  }
}

/**
 * A test runner ends its workers without letting them clean up, and a broker without a parent would run for ever: on
 * Linux the kernel ends it with them.
 */
export function diesWithParent(command: Command): Command {
  return commandExists("setpriv") ? ["setpriv", "--pdeathsig", "KILL", ...command] : command;
}

/** Below the range from which the system takes ports for outgoing connections, so that a restart finds its port free. */
export async function freePorts(count: number): Promise<number[] & { 0: number; 1: number }> {
  const ports = new Set<number>();
  while (ports.size < count) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    if (await isFree(port)) ports.add(port);
  }
  return [...ports] as number[] & { 0: number; 1: number };
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  const { promise, resolve } = Promise.withResolvers<boolean>();
  server.once("error", () => resolve(false));
  server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  return await promise;
}

/** One ApiVersions request, version 0: what every client asks first. */
async function answersRequests(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = createConnection({ port, host: "127.0.0.1" });
  const request = Buffer.alloc(14);
  request.writeInt32BE(10, 0); // the rest of the frame
  request.writeInt16BE(18, 4); // ApiVersions
  request.writeInt16BE(-1, 12); // no client id
  socket.setTimeout(2_000, () => resolve(false));
  socket.once("connect", () => socket.write(request));
  socket.once("data", () => resolve(true));
  socket.once("error", () => resolve(false));
  socket.once("close", () => resolve(false));
  const isAnswered = await promise;
  socket.destroy();
  return isAnswered;
}

async function exited(child: ChildProcess, timeoutMs: number): Promise<boolean> {
  if (child.exitCode !== null || child.signalCode !== null) return true;
  try {
    await once(child, "exit", { signal: AbortSignal.timeout(timeoutMs) });
    return true;
  } catch {
    return false;
  }
}
