import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createConnection, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { commandExists, interopDirectory, javaClassPath, repositoryRoot } from "./runtimes.ts";

/**
 * A broker to test: ours, or Apache Kafka, against which every test here is proven first. Both run as processes of
 * their own on free loopback ports, with their data in a temporary directory that survives `stop` and `kill` and goes
 * with `dispose`.
 */
export type TargetName = "millrace" | "millrace-dist" | "kafka";

/** Which broker `npm run interop -- --target NAME` asked for. */
export function chosenTarget(): TargetName {
  const name = process.env["MILLRACE_INTEROP_TARGET"] ?? "millrace";
  if (name === "millrace" || name === "millrace-dist" || name === "kafka") return name;
  throw new Error(`unknown target ${name}: choose from millrace, millrace-dist, kafka`);
}

export interface TargetOptions {
  readonly name?: TargetName;
  /** Broker keys with Kafka's names: `--set` for ours, lines of server.properties for Kafka. */
  readonly settings?: Readonly<Record<string, string>>;
  /**
   * Further listeners of Apache Kafka beside the plain one, each with its settings under "listener.name.NAME.", by the names that its
   * security protocols have: SSL, SASL_PLAINTEXT, SASL_SSL. `portOf` tells where they are.
   */
  readonly listeners?: Readonly<Partial<Record<ListenerName, Readonly<Record<string, string>>>>>;
  /** More arguments for `kafka-storage format`, as "--add-scram". */
  readonly formatArguments?: readonly string[];
  /**
   * Apache Kafka compiles its code but once, and does not wait for the session of a broker that was killed: half the processor time
   * for its start, and a quick return. For tests that measure nothing.
   */
  readonly isBrief?: boolean;
  /** Clients are told to come to this port: a proxy's. */
  readonly advertisedPort?: number;
  /** Environment of the process, over the one that it inherits. */
  readonly environment?: Readonly<Record<string, string>>;
  /** A module that our process loads before anything else; `ask` speaks with it. */
  readonly preload?: string;
  /** Where the temporary directory is made; the system's place for them when it is missing. */
  readonly directory?: string;
}

export type ListenerName = "SSL" | "SASL_PLAINTEXT" | "SASL_SSL";

/** Long enough for a JVM on a busy machine; nothing waits so long when all is well. */
const startTimeoutMs = 60_000;
const stopTimeoutMs = 60_000;
const answerTimeoutMs = 60_000;

const briefEnvironment = { JDK_JAVA_OPTIONS: "-XX:TieredStopAtLevel=1" };
const briefSettings = {
  "broker.session.timeout.ms": "3000",
  "broker.heartbeat.interval.ms": "500",
  "offsets.topic.num.partitions": "5",
  "transaction.state.log.num.partitions": "5",
};

export class Target implements AsyncDisposable {
  readonly name: TargetName;
  readonly port: number;
  readonly dataDirectory: string;
  readonly #ports: ReadonlyMap<string, number>;
  readonly #directory: string;
  readonly #command: readonly [string, ...string[]];
  readonly #environment: Readonly<Record<string, string>>;
  readonly #hasChannel: boolean;
  readonly #formatCommand: readonly [string, ...string[]] | null;
  #process: ChildProcess | null = null;
  #output = "";

  private constructor(
    parts: Pick<Target, "name" | "port" | "dataDirectory"> & {
      readonly ports: ReadonlyMap<string, number>;
      readonly directory: string;
      readonly command: readonly [string, ...string[]];
      readonly formatCommand: readonly [string, ...string[]] | null;
      readonly environment: Readonly<Record<string, string>>;
      readonly hasChannel: boolean;
    },
  ) {
    this.name = parts.name;
    this.port = parts.port;
    this.dataDirectory = parts.dataDirectory;
    this.#ports = parts.ports;
    this.#directory = parts.directory;
    this.#command = parts.command;
    this.#formatCommand = parts.formatCommand;
    this.#environment = parts.environment;
    this.#hasChannel = parts.hasChannel;
  }

  /** A fresh directory and free ports; nothing runs yet. */
  static async create(options: TargetOptions = {}): Promise<Target> {
    const name = options.name ?? chosenTarget();
    const parent = options.directory ?? tmpdir();
    mkdirSync(parent, { recursive: true });
    const directory = mkdtempSync(join(parent, `interop-${name}-`));
    const [port, controllerPort] = await freePorts(2);
    const dataDirectory = join(directory, "data");
    const isBrief = name === "kafka" && options.isBrief === true;
    const environment = { ...(isBrief ? briefEnvironment : {}), ...options.environment };
    const settings: Record<string, string> = { ...(isBrief ? briefSettings : {}), ...options.settings };
    if (options.advertisedPort !== undefined) {
      settings["advertised.listeners"] = `PLAINTEXT://127.0.0.1:${options.advertisedPort}`;
    }
    const listeners = Object.entries(options.listeners ?? {});
    if (listeners.length > 0 && name !== "kafka") throw new Error(`${name} has no listeners with TLS or SASL`);
    const more = listeners.length === 0 ? [] : await freePorts(listeners.length);
    const ports = new Map(listeners.map(([listener], index) => [listener, more[index] ?? 0]));
    for (const [listener, own] of listeners) {
      const prefix = `listener.name.${listener.toLowerCase()}.`;
      for (const [key, value] of Object.entries(own)) settings[prefix + key] = value;
    }
    const { formatArguments = [] } = options;
    const commands =
      name === "kafka"
        ? kafkaCommands({ directory, dataDirectory, port, controllerPort, settings, ports, formatArguments })
        : {
            command: millraceCommand({ name, dataDirectory, port, settings, preload: options.preload }),
            formatCommand: null,
          };
    const hasChannel = name !== "kafka" && options.preload !== undefined;
    return new Target({ name, port, ports, dataDirectory, directory, environment, hasChannel, ...commands });
  }

  /** Created and running. */
  static async start(options: TargetOptions = {}): Promise<Target> {
    const target = await Target.create(options);
    try {
      await target.format();
      await target.start();
    } catch (error) {
      await target[Symbol.asyncDispose]();
      throw error;
    }
    return target;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  portOf(listener: ListenerName): number {
    const port = this.#ports.get(listener);
    if (port === undefined) throw new Error(`there is no listener ${listener}`);
    return port;
  }

  get pid(): number {
    const pid = this.#process?.pid;
    if (pid === undefined) throw new Error(`${this.name} is not running`);
    return pid;
  }

  /** Tells the preloaded module something; `ask` waits for its answer, too. */
  tell(message: string): void {
    this.#process?.send(message);
  }

  async ask<Answer>(message: string): Promise<Answer> {
    const child = this.#process;
    if (child === null) throw new Error(`${this.name} is not running`);
    const answered = once(child, "message", { signal: AbortSignal.timeout(answerTimeoutMs) });
    child.send(message);
    const [answer] = (await answered) as [Answer];
    return answer;
  }

  /** What the process has written, for the message of a failing test. */
  get output(): string {
    return this.#output;
  }

  /** Kafka wants its directory formatted once; ours does not. */
  async format(): Promise<void> {
    if (this.#formatCommand === null) return;
    const [code] = (await once(this.#spawn(this.#formatCommand), "exit")) as [number | null];
    if (code !== 0) throw new Error(`${this.name}: format ended with ${code}\n${this.#output}`);
  }

  /** Resolves when a client's first request is answered, with the milliseconds that this took. */
  async start(): Promise<number> {
    if (this.#process !== null) throw new Error(`${this.name} is already running`);
    const startedMs = performance.now();
    const child = this.#spawn(this.#command);
    this.#process = child;
    while (child.exitCode === null && child.signalCode === null) {
      if (await answersRequests(this.port)) return performance.now() - startedMs;
      if (performance.now() - startedMs > startTimeoutMs) break;
      await sleep(5);
    }
    const fate = child.exitCode ?? child.signalCode ?? `silence for ${startTimeoutMs} ms`;
    await this.kill();
    throw new Error(`${this.name} did not start: ${fate}\n${this.#output}`);
  }

  /** It gets no processor until this is disposed of. */
  freeze(): Disposable {
    const { pid } = this;
    const child = this.#process;
    process.kill(pid, "SIGSTOP");
    return { [Symbol.dispose]: () => void child?.kill("SIGCONT") };
  }

  /** A clean stop, as an operator does it. */
  async stop(): Promise<void> {
    const child = this.#process;
    if (child === null) return;
    child.kill("SIGTERM");
    const isGone = await exited(child, stopTimeoutMs);
    if (!isGone) {
      await this.kill();
      throw new Error(`${this.name} ignored SIGTERM for ${stopTimeoutMs} ms\n${this.#output}`);
    }
    this.#process = null;
    // A JVM that ends by SIGTERM reports 143 after it has closed everything.
    const isClean = child.exitCode === 0 || (this.name === "kafka" && child.exitCode === 143);
    if (!isClean) throw new Error(`${this.name} ended with ${child.exitCode ?? child.signalCode}\n${this.#output}`);
  }

  /** SIGKILL: the process has no say in it. */
  async kill(): Promise<void> {
    const child = this.#process;
    if (child === null) return;
    child.kill("SIGKILL");
    await exited(child, stopTimeoutMs);
    this.#process = null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #spawn(command: readonly [string, ...string[]]): ChildProcess {
    const [executable, ...args] = diesWithParent(command);
    const child = spawn(executable, args, {
      cwd: repositoryRoot,
      env: { ...process.env, ...this.#environment },
      stdio: ["ignore", "pipe", "pipe", ...(this.#hasChannel ? (["ipc"] as const) : [])],
    });
    const keep = (chunk: Buffer): void => {
      this.#output = (this.#output + chunk.toString()).slice(-16_384);
    };
    child.stdout?.on("data", keep);
    child.stderr?.on("data", keep);
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
export function diesWithParent(command: readonly [string, ...string[]]): readonly [string, ...string[]] {
  return commandExists("setpriv") ? ["setpriv", "--pdeathsig", "KILL", ...command] : command;
}

function millraceCommand(options: {
  readonly name: TargetName;
  readonly dataDirectory: string;
  readonly port: number;
  readonly settings: Readonly<Record<string, string>>;
  readonly preload: string | undefined;
}): readonly [string, ...string[]] {
  const preload = options.preload === undefined ? [] : ["--import", options.preload];
  const main =
    options.name === "millrace-dist"
      ? [...preload, join(repositoryRoot, "cli", "dist", "main.js")]
      : ["--conditions=source", ...preload, join(repositoryRoot, "cli", "millrace.js")];
  const sets = Object.entries(options.settings).flatMap(([key, value]) => ["--set", `${key}=${value}`]);
  return [process.execPath, ...main, "start", "--port", `${options.port}`, "--data", options.dataDirectory, ...sets];
}

/** As kafka-server-start does it, with its heap and collector. */
function kafkaCommands(options: {
  readonly directory: string;
  readonly dataDirectory: string;
  readonly port: number;
  readonly controllerPort: number;
  readonly settings: Readonly<Record<string, string>>;
  readonly ports: ReadonlyMap<string, number>;
  readonly formatArguments: readonly string[];
}): { readonly command: readonly [string, ...string[]]; readonly formatCommand: readonly [string, ...string[]] } {
  const { directory, dataDirectory, port, controllerPort } = options;
  const more = [...options.ports].map(([name, at]) => `,${name}://127.0.0.1:${at}`).join("");
  const settings: Readonly<Record<string, string>> = {
    listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}${more}`,
    "advertised.listeners": `PLAINTEXT://127.0.0.1:${port}${more}`,
    "controller.quorum.bootstrap.servers": `127.0.0.1:${controllerPort}`,
    "log.dirs": dataDirectory,
    ...options.settings,
  };
  const properties = join(directory, "server.properties");
  const lines = Object.entries(settings).map(([key, value]) => `${key}=${value}\n`);
  writeFileSync(
    properties,
    readFileSync(join(interopDirectory, "kafka", "server.properties"), "utf8") + lines.join(""),
  );
  const java = ["-Djava.awt.headless=true", log4jOption, "-cp", javaClassPath()];
  const heap = ["-Xmx1G", "-Xms1G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"];
  const collector = [
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-XX:MaxInlineLevel=15",
  ];
  const clusterId = Buffer.from(directory).subarray(-16).toString("base64url");
  return {
    command: ["java", ...heap, ...collector, ...java, "kafka.Kafka", properties],
    formatCommand: [
      "java",
      "-XX:TieredStopAtLevel=1",
      ...java,
      ...["kafka.tools.StorageTool", "format", "--standalone", "-t", clusterId, "-c", properties],
      ...options.formatArguments,
    ],
  };
}

export const log4jOption: string = `-Dlog4j2.configurationFile=${join(interopDirectory, "kafka", "log4j2.properties")}`;

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

/** Whether the target can run here at all; null when it can. */
export function whyTargetMissing(name: TargetName): string | null {
  const needed: Readonly<Record<TargetName, string>> = {
    millrace: join(repositoryRoot, "cli", "src", "main.ts"),
    "millrace-dist": join(repositoryRoot, "cli", "dist", "main.js"),
    kafka: join(interopDirectory, ".runtime", "java", "prepared"),
  };
  return existsSync(needed[name]) ? null : `target ${name}: ${needed[name]} is missing`;
}
