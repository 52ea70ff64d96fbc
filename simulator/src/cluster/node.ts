import { InlineWorkers } from "@millrace/base/inline-workers";
import * as cleanTasks from "@millrace/storage/cleaner/clean-task";
import * as validationTasks from "@millrace/storage/validation";
import { AssertionFailure, must } from "@millrace/base/assert";
import type { LogFields, Logger } from "@millrace/base/logger";
import type { Prng } from "@millrace/base/prng";
import { startBroker } from "@millrace/broker/broker";
import type { Broker } from "@millrace/broker/broker";
import { FramePool } from "@millrace/broker/network/frame-pool";
import { SeededRandom } from "../seeded-random.ts";
import { SimulatedDisk } from "../simulated-disk.ts";
import type { VirtualClock } from "../virtual-clock.ts";
import type { ClusterNetwork } from "./cluster-network.ts";
import { NodeDisk } from "./node-disk.ts";
import { Process } from "./process.ts";
import type { Trace } from "./trace.ts";

export const dataDirectory = "/data";
const brokerPort = 9092;
const controllerPort = 9093;

/** What a node stands in. */
export interface NodeHost {
  readonly clock: VirtualClock;
  readonly network: ClusterNetwork;
  readonly prng: Prng;
  readonly trace: Trace;
  /** Ids of the nodes that found the cluster. */
  readonly controllers: readonly number[];
  readonly settings: Readonly<Record<string, string>>;
  tell(line: string): void;
  /** It says that it leads the quorum in this term. */
  leads(term: number, node: string): void;
  /** What must never happen. */
  fault(text: string): void;
}

/** What a node is to others: clients reach brokers only. */
export type NodeRole = "both" | "broker" | "controller";

type State = "down" | "starting" | "up" | "stopping" | "stopped";

/**
 * Process: what it has written stays. Power: what was not synced may be lost, and others are not told. Power at its worst: all that was
 * not synced is lost.
 */
export type Crash = "process" | "power" | "power at its worst";

/** A machine with a disk, on which a broker lives again and again. */
export class Node {
  readonly id: number;
  readonly name: string;
  readonly role: NodeRole;
  readonly wallSkewMs: number;
  state: State = "down";
  /** It broke its own rules, or its disk was made to fail: what it ends with in this life is forgiven. */
  isDiskFailing = false;
  /** So does what it does with bytes that are not those that it wrote, for all its lives. */
  isSpoilt = false;
  disk: NodeDisk | null = null;
  platter: SimulatedDisk;
  readonly #host: NodeHost;
  #process: Process | null = null;
  #broker: Broker | null = null;
  #lives = 0;

  /** It has lost its metadata, and has not said that it has it again. */
  hasLostMetadata = false;

  constructor(id: number, host: NodeHost, { wallSkewMs, role }: Pick<Node, "wallSkewMs" | "role">) {
    this.id = id;
    this.role = role;
    this.name = hostOf(id);
    this.#host = host;
    this.wallSkewMs = wallSkewMs;
    this.platter = new SimulatedDisk({ clock: host.clock });
  }

  get address(): string {
    return `${this.name}:${brokerPort}`;
  }
  get isPaused(): boolean {
    return this.#process?.isPaused === true;
  }
  get isRunning(): boolean {
    return this.state === "up" || this.state === "starting";
  }

  start(): void {
    const { clock, network, prng, trace } = this.#host;
    const process = new Process(this.name, clock, this.wallSkewMs);
    this.#process = process;
    this.state = "starting";
    this.isDiskFailing = false;
    network.returned(this.name);
    const disk = new NodeDisk(this.platter, process, prng.fork(), trace);
    this.disk = disk;
    const world = {
      clock: process.clock,
      disk,
      network: network.of(process),
      random: new SeededRandom(prng.uint32()),
      workers: new LoadedWorkers({ disk, clock: process.clock }),
    };
    this.#lives++;
    this.#tell(`starts, life ${this.#lives}`);
    startBroker({
      config: this.#config(),
      world,
      logger: this.#logger(process),
      framePool: new FramePool({ isOverwriting: true }),
      onFatal: (error) => this.#failed(process, error),
    }).then(
      (broker) => {
        if (process.isDead) return;
        this.#broker = broker;
        this.state = "up";
        this.#tell("is up");
      },
      (error: unknown) => this.#failed(process, error),
    );
  }

  #config(): Record<string, string> {
    const { controllers, settings } = this.#host;
    const voters = controllers.map((id) => `${id}@${hostOf(id)}:${controllerPort}`);
    const client = `PLAINTEXT://${this.name}:${brokerPort}`;
    const controller = `CONTROLLER://${this.name}:${controllerPort}`;
    const listeners = { both: `${client},${controller}`, broker: client, controller };
    return {
      "node.id": `${this.id}`,
      "log.dirs": dataDirectory,
      "process.roles": this.role === "both" ? "broker,controller" : this.role,
      listeners: listeners[this.role],
      "controller.listener.names": "CONTROLLER",
      "controller.quorum.voters": voters.join(","),
      ...settings,
    };
  }

  /** The process ends by itself: after a failure of its disk it may, after a failure of its own it must not. */
  #failed(process: Process, error: unknown): void {
    if (process.isDead || process !== this.#process) return;
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#tell(`ends by itself: ${text}`);
    if (!this.isSpoilt && (error instanceof AssertionFailure || !this.isDiskFailing))
      this.#host.fault(`${this.name} ended by itself: ${text}`);
    this.#end(process, "process");
  }

  // --- Faults -----------------------------------------------------------------------------------------------------------

  crash(kind: Crash): void {
    const process = this.#process;
    if (process === null || process.isDead) return;
    this.#tell(`crashes: ${kind}`);
    this.#end(process, kind);
  }

  #end(process: Process, kind: Crash): void {
    process.kill();
    this.#host.network.lost(process, kind !== "process");
    this.platter.switchOff();
    this.platter = platterAfter(kind, this.platter, this.#host.prng);
    this.#process = null;
    this.#broker = null;
    this.disk = null;
    this.state = "down";
  }

  pause(): void {
    this.#tell("is paused");
    this.#process?.pause();
  }

  goOn(): void {
    if (!this.isPaused) return;
    this.#tell("goes on");
    this.#process?.goOn(this.#host.prng);
  }

  /** In order, as by SIGTERM. */
  async stop(): Promise<void> {
    const broker = this.#broker;
    const process = this.#process;
    if (broker === null || process === null || this.state !== "up") return;
    this.state = "stopping";
    this.#tell("stops");
    await broker.stop();
    if (process.isDead) return;
    this.#tell("has stopped");
    process.kill();
    this.#host.network.lost(process, false);
    this.platter = this.platter.afterProcessDeath();
    this.#process = null;
    this.#broker = null;
    this.disk = null;
    this.state = "stopped";
  }

  // --- What it says -----------------------------------------------------------------------------------------------------

  #tell(text: string): void {
    this.#host.tell(`${this.name} ${text}`);
  }

  #logger(process: Process): Logger {
    const line =
      (level: string) =>
      (message: string, fields: LogFields = {}): void => {
        if (process.isDead) return;
        if (fields["kind"] === "recovered") this.hasLostMetadata = false;
        if (fields["kind"] === "leads") this.#host.leads(Number(fields["term"]), this.name);
        const { error, ...others } = fields;
        const failure = error instanceof Error ? ` ${error.stack ?? error.message}` : "";
        this.#tell(`${level} ${message} ${JSON.stringify(others)}${failure}`);
      };
    const logger: Logger = {
      debug: () => {},
      info: line("info"),
      warn: line("warn"),
      error: line("error"),
      with: () => logger,
    };
    return logger;
  }
}

function platterAfter(kind: Crash, platter: SimulatedDisk, prng: Prng): SimulatedDisk {
  switch (kind) {
    case "process":
      return platter.afterProcessDeath();
    case "power":
      return platter.afterPowerLoss(prng);
    case "power at its worst":
      return platter.afterWorstPowerLoss(prng);
  }
}

const tasks = new Map<string, Readonly<Record<string, unknown>>>([
  [import.meta.resolve("@millrace/storage/cleaner/clean-task"), cleanTasks],
  [import.meta.resolve("@millrace/storage/validation"), validationTasks],
]);

/** Loading takes real time, and in two runs of one seed not the same. */
class LoadedWorkers extends InlineWorkers {
  override async load(module: string): Promise<Readonly<Record<string, unknown>>> {
    return must(tasks.get(module), module);
  }
}

export function hostOf(id: number): string {
  return `n${id}`;
}
