import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { expect } from "vitest";
import { repositoryRoot } from "../house/repository.ts";

const running = new Set<Command>();

/** For the end of a test file: no process outlives it, whatever failed. */
export function killCommands(): void {
  for (const command of running) command.process.kill("SIGKILL");
}

/** A process of the command line, from the sources, and what it has said so far. */
export class Command {
  readonly process: ChildProcess;
  readonly ended: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  #out = Buffer.alloc(0);
  #err = "";
  #waiting: (() => void)[] = [];

  constructor(
    args: readonly string[],
    {
      environment = {},
      openFilesMax,
    }: { readonly environment?: Readonly<Record<string, string>>; readonly openFilesMax?: number } = {},
  ) {
    const inherited = Object.entries(process.env).filter(([name]) => !/^(?:npm_|MILLRACE_|NODE_OPTIONS$)/.test(name));
    const command = [process.execPath, "--conditions=source", "cli/millrace.js", ...args];
    const limited = ["sh", "-c", `ulimit -n ${openFilesMax}; exec "$@"`, "sh", ...command];
    const [executable = "", ...rest] = openFilesMax === undefined ? command : limited;
    this.process = spawn(executable, rest, {
      cwd: repositoryRoot,
      env: { ...Object.fromEntries(inherited), ...environment },
    });
    running.add(this);
    this.process.stdout?.on("data", (chunk: Buffer) => {
      this.#out = Buffer.concat([this.#out, chunk]);
      this.#look();
    });
    this.process.stderr?.on("data", (chunk: Buffer) => {
      this.#err += chunk.toString();
      this.#look();
    });
    this.process.stdin?.on("error", () => undefined);
    this.ended = once(this.process, "close").then(([code, signal]) => {
      running.delete(this);
      this.#look();
      return { code: code as number | null, signal: signal as NodeJS.Signals | null };
    });
  }

  get bytes(): Buffer {
    return this.#out;
  }

  get out(): string {
    return this.#out.toString();
  }

  get err(): string {
    return this.#err;
  }

  /** Resolves when this stands in the output; fails when the process ends without it. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const found = pattern.exec(this.out) ?? pattern.exec(this.err);
      if (found !== null) return found;
      if (!running.has(this)) throw new Error(`ended without ${pattern}:\n${this.out}${this.err}`);
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  #look(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

/** `millrace start` on a directory, on a free port unless `--port` is among the arguments. */
export class Broker {
  readonly command: Command;
  readonly address: string;

  constructor(command: Command, address: string) {
    this.command = command;
    this.address = address;
  }

  static async start(
    data: string,
    args: readonly string[] = [],
    limits: { readonly openFilesMax?: number } = {},
  ): Promise<Broker> {
    const command = new Command(
      ["start", "--data", data, ...(args.includes("--port") ? [] : ["--port", "0"]), ...args],
      limits,
    );
    const [, address = ""] = await command.says(/^millrace ready on (\S+) in \d+ ms$/m);
    return new Broker(command, address);
  }

  /** Without a detour: nothing but the line that a start prints stands on standard output. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number | null> {
    this.command.process.kill(signal);
    const { code } = await this.command.ended;
    expect(this.command.out).toMatch(/^millrace ready on 127\.0\.0\.1:\d+ in \d+ ms\n$/);
    return code;
  }

  /** `kill -9`, and the end of the process. */
  async kill(): Promise<void> {
    this.command.process.kill("SIGKILL");
    await this.command.ended;
  }
}
