import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BrokerProcess, freePorts } from "./broker-process.ts";
import type { Command } from "./broker-process.ts";
import { briefEnvironment, briefSettings, clusterIdOf, formatCommand, kafkaCommand } from "./kafka-commands.ts";
import type { Distribution, KafkaNode } from "./kafka-commands.ts";
import { interopDirectory, repositoryRoot } from "./runtimes.ts";

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
  /** Of Apache Kafka; that of the foreign clients when it is missing. */
  readonly distribution?: Distribution;
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

export class Target implements AsyncDisposable {
  readonly name: TargetName;
  readonly port: number;
  readonly dataDirectory: string;
  readonly #ports: ReadonlyMap<string, number>;
  readonly #directory: string;
  readonly #process: BrokerProcess;
  readonly #formatCommand: Command | null;

  private constructor(
    parts: Pick<Target, "name" | "port" | "dataDirectory"> & {
      readonly ports: ReadonlyMap<string, number>;
      readonly directory: string;
      readonly process: BrokerProcess;
      readonly formatCommand: Command | null;
    },
  ) {
    this.name = parts.name;
    this.port = parts.port;
    this.dataDirectory = parts.dataDirectory;
    this.#ports = parts.ports;
    this.#directory = parts.directory;
    this.#process = parts.process;
    this.#formatCommand = parts.formatCommand;
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
    const node: KafkaNode = {
      ...{ directory, dataDirectory, port, controllerPort, settings, ports },
      ...(options.distribution === undefined ? {} : { distribution: options.distribution }),
    };
    const command =
      name === "kafka"
        ? kafkaCommand(node)
        : millraceCommand({ name, dataDirectory, port, settings, preload: options.preload });
    const format =
      name === "kafka"
        ? formatCommand(node, clusterIdOf(directory), ["--standalone", ...(options.formatArguments ?? [])])
        : null;
    const hasChannel = name !== "kafka" && options.preload !== undefined;
    const process = new BrokerProcess({ name, port, command, environment, hasChannel });
    return new Target({ name, port, ports, dataDirectory, directory, process, formatCommand: format });
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
    return this.#process.pid;
  }

  /** Tells the preloaded module something; `ask` waits for its answer, too. */
  tell(message: string): void {
    this.#process.tell(message);
  }

  async ask<Answer>(message: string): Promise<Answer> {
    return this.#process.ask(message);
  }

  /** What the process has written, for the message of a failing test. */
  get output(): string {
    return this.#process.output;
  }

  /** Kafka wants its directory formatted once; ours does not. */
  async format(): Promise<void> {
    if (this.#formatCommand !== null) await this.#process.run(this.#formatCommand);
  }

  /** Resolves when a client's first request is answered, with the milliseconds that this took. */
  async start(): Promise<number> {
    return this.#process.start();
  }

  /** It gets no processor until this is disposed of. */
  freeze(): Disposable {
    return this.#process.freeze();
  }

  /** A clean stop, as an operator does it. */
  async stop(): Promise<void> {
    return this.#process.stop();
  }

  /** SIGKILL: the process has no say in it. */
  async kill(): Promise<void> {
    return this.#process.kill();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

function millraceCommand(options: {
  readonly name: TargetName;
  readonly dataDirectory: string;
  readonly port: number;
  readonly settings: Readonly<Record<string, string>>;
  readonly preload: string | undefined;
}): Command {
  const preload = options.preload === undefined ? [] : ["--import", options.preload];
  const main =
    options.name === "millrace-dist"
      ? [...preload, join(repositoryRoot, "cli", "dist", "main.js")]
      : ["--conditions=source", ...preload, join(repositoryRoot, "cli", "millrace.js")];
  const sets = Object.entries(options.settings).flatMap(([key, value]) => ["--set", `${key}=${value}`]);
  return [process.execPath, ...main, "start", "--port", `${options.port}`, "--data", options.dataDirectory, ...sets];
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
