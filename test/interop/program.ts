import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Client } from "./clients.ts";
import type {
  Answer,
  ConsumeArgs,
  CreateTopicArgs,
  DumpArgs,
  EndArgs,
  HelloAnswer,
  ProduceAnswer,
  ProduceArgs,
  TransactArgs,
} from "./contract.ts";
import { interopDirectory } from "./runtimes.ts";

interface Waiting {
  readonly resolve: (answer: object) => void;
  readonly reject: (error: Error) => void;
  readonly onProgress: (count: number) => void;
}

/** A running client program: commands go to its standard input, answers come from its standard output (README.md). */
export class ClientProgram implements AsyncDisposable {
  readonly #name: string;
  readonly #process: ChildProcess;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #log = "";

  private constructor(name: string, child: ChildProcess) {
    this.#name = name;
    this.#process = child;
    child.stderr?.on("data", (chunk: Buffer) => {
      this.#log = (this.#log + chunk.toString()).slice(-8_192);
    });
    if (child.stdout !== null) createInterface({ input: child.stdout }).on("line", (line) => this.#answered(line));
    child.once("error", (error) => this.#ended(error.message));
    child.once("exit", (code, signal) => this.#ended(`it ended with ${code ?? signal}`));
  }

  /** The JVM and the others are started once and do all their steps; they outlive a restart of the broker. */
  static start(client: Client, bootstrap: string): ClientProgram {
    const [executable, ...args] = client.command();
    const child = spawn(executable, [...args, bootstrap], {
      cwd: interopDirectory,
      env: { ...process.env, ...client.environment },
      stdio: ["pipe", "pipe", "pipe"],
    });
    // A program that died is noticed by its exit.
    child.stdin.on("error", () => undefined);
    return new ClientProgram(client.name, child);
  }

  async hello(): Promise<HelloAnswer> {
    return (await this.call("hello", {})) as HelloAnswer;
  }

  async createTopic(args: CreateTopicArgs): Promise<void> {
    await this.call("create-topic", args);
  }

  async produce(args: ProduceArgs, onProgress?: (count: number) => void): Promise<ProduceAnswer> {
    return (await this.call("produce", args, { onProgress })) as ProduceAnswer;
  }

  async consume(args: ConsumeArgs): Promise<void> {
    await this.call("consume", args, { timeoutMs: args.timeoutMs + 30_000 });
  }

  async transact(args: TransactArgs): Promise<void> {
    await this.call("transact", args);
  }

  async end(args: EndArgs): Promise<void> {
    await this.call("end", args);
  }

  /** All of a topic for an isolation level, up to where it then ends; of the Java program only. */
  async dump(args: DumpArgs): Promise<void> {
    await this.call("dump", args);
  }

  async call(
    command: string,
    args: object,
    options: { readonly timeoutMs?: number; readonly onProgress?: ((count: number) => void) | undefined } = {},
  ): Promise<object> {
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<object>();
    this.#waiting.set(id, { resolve, reject, onProgress: options.onProgress ?? (() => undefined) });
    if (this.#process.exitCode !== null) this.#ended(`it had ended with ${this.#process.exitCode}`);
    this.#process.stdin?.write(`${JSON.stringify({ ...args, id, command })}\n`);
    const timeoutMs = options.timeoutMs ?? 150_000;
    const timer = setTimeout(() => reject(this.#failure(`no answer to ${command} in ${timeoutMs} ms`)), timeoutMs);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(id);
    }
  }

  /** Closing its input ends it; one that does not end is ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.#process.stdin?.end();
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), 10_000);
    await once(this.#process, "exit");
    clearTimeout(timer);
  }

  /** SIGKILL: the process has no say in it. */
  async kill(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.#process.kill("SIGKILL");
    await once(this.#process, "exit");
  }

  #answered(line: string): void {
    const answer = parse(line);
    const waiting = answer === null ? undefined : this.#waiting.get(answer.id);
    if (answer === null || waiting === undefined) {
      this.#log += `${line}\n`;
      return;
    }
    if ("progress" in answer) waiting.onProgress(answer.progress);
    else if ("error" in answer) waiting.reject(this.#failure(answer.error));
    else waiting.resolve(answer.ok);
  }

  #ended(reason: string): void {
    for (const waiting of this.#waiting.values()) waiting.reject(this.#failure(reason));
  }

  #failure(reason: string): Error {
    return new Error(`${this.#name}: ${reason}${this.#log === "" ? "" : `\n${this.#log}`}`);
  }
}

function parse(line: string): Answer | null {
  try {
    return JSON.parse(line) as Answer;
  } catch {
    return null;
  }
}
