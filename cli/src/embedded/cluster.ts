import { tmpdir } from "node:os";
import { nodeWorld } from "@millrace/base/node/node-world";
import type { Logger } from "@millrace/base/logger";
import type { World } from "@millrace/base/world";
import { startBroker } from "@millrace/broker/broker";
import type { Broker } from "@millrace/broker/broker";
import type { Fault, FaultHook, FaultRequest } from "@millrace/broker/faults/faults";
import { installNodeAccelerators } from "kafka-protocol-ts/node";
import { canDecide, controllersOf, nodesMax, ofOneNode, settingsOfNode, suitedTo } from "../cluster-size.ts";
import { UsageError } from "../usage-error.ts";
import { BoundPorts, Machine } from "./machine.ts";

export interface ClusterOptions {
  /** 1 to 9. Default 3. */
  readonly nodes?: number;
  /** Settings of all nodes, by their Kafka names. */
  readonly config?: Readonly<Record<string, string>>;
  /** Where the nodes' directories lie, and stay. Default: a temporary one, which is gone when the cluster is. */
  readonly directory?: string;
  /** Where the nodes log. Default: nowhere. */
  readonly logger?: Logger;
  /** Default: that of this process. A simulated one has its own network, so clients have to be in it, too. */
  readonly world?: World;
}

/** One node of a cluster. Its address stays what it is. */
export interface ClusterBroker {
  readonly nodeId: number;
  readonly address: { readonly host: string; readonly port: number };
  readonly state: "running" | "paused" | "stopped";
  /** Hands over what it leads, answers what is in flight, and stops. */
  stop(): Promise<void>;
  /** As `kill -9`: at once, with no word to anybody. What its disk has not synced is there all the same, as after the end of a process. */
  kill(): Promise<void>;
  /** As SIGSTOP: it neither hears nor says anything, and does not notice that time passes. */
  pause(): void;
  /** What has come while it was paused comes now. */
  resume(): void;
  /** Stops it where it runs, and starts it on its directory. Settles when it may lead. */
  restart(): Promise<void>;
}

export interface EmbeddedCluster extends AsyncDisposable {
  /** "127.0.0.1:43211" of each node. */
  readonly bootstrap: readonly string[];
  readonly brokers: readonly ClusterBroker[];
  readonly clusterId: string;
  /** The hook is asked of each request that comes to a node, after those that were added before. Returns what takes it away again. */
  addFault(hook: (request: ClusterFaultRequest) => Fault | undefined | void): () => void;
}

export interface ClusterFaultRequest extends FaultRequest {
  /** The node that the request has come to. */
  readonly nodeId: number;
}

/** A test waits for each of these: partitions that nobody fills, and members that nobody else joins. */
const forTests: Readonly<Record<string, string>> = {
  "group.initial.rebalance.delay.ms": "0",
  "offsets.topic.num.partitions": "4",
  "transaction.state.log.num.partitions": "4",
};

const silent: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  with: () => silent,
};

/** Starts a cluster in this process: whole brokers, on ports of this machine that are free. Settled when clients may connect. */
export async function startCluster(options: ClusterOptions = {}): Promise<EmbeddedCluster> {
  const { nodes = 3, config = {}, logger = silent } = options;
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > nodesMax)
    throw new UsageError(`nodes: ${nodes} is not a whole number between 1 and ${nodesMax}`);
  const misplaced = ofOneNode.find((key) => key in config);
  if (misplaced !== undefined) throw new UsageError(`config: ${misplaced} is another for each node, and is set for it`);
  installNodeAccelerators();
  await using undo = new AsyncDisposableStack();
  const world = options.world ?? ownWorld(undo);
  const directory = options.directory ?? temporaryDirectory(world, undo);
  const hooks = new Set<(request: ClusterFaultRequest) => Fault | undefined | void>();
  const ports = new BoundPorts(world.network);
  undo.defer(() => ports.close());
  const controllerPorts = new Map<number, number>();
  // Each has to know where the others are before one of them begins.
  for (let nodeId = 1; nodeId <= controllersOf(nodes); nodeId++) controllerPorts.set(nodeId, await ports.bind());
  const runningControllers = (): number =>
    brokers.filter(({ nodeId, state }) => controllerPorts.has(nodeId) && state === "running").length;
  const brokers = Array.from({ length: nodes }, (_, index) => {
    const nodeId = index + 1;
    return new EmbeddedNode({
      nodeId,
      ...{ world, ports, controllerPorts, logger: logger.with({ nodeId }) },
      config: { ...suitedTo(nodes), ...forTests, ...config, "log.dirs": `${directory}/node-${nodeId}` },
      faults: (request) => {
        for (const hook of hooks) {
          const fault = hook({ ...request, nodeId });
          if (fault !== undefined) return fault;
        }
        return undefined;
      },
      mayHandOver: () => canDecide(runningControllers(), controllerPorts.size),
    });
  });
  const isKept = options.directory !== undefined;
  undo.defer(async () => {
    if (isKept) for (const broker of [...brokers].reverse()) await broker.stop();
    await Promise.all(brokers.map((broker) => broker.kill()));
  });
  const clusterIds = await Promise.all(brokers.map((broker) => broker.start()));
  const open = undo.move();
  let closing: Promise<void> | null = null;
  return {
    bootstrap: brokers.map(({ address }) => `${address.host}:${address.port}`),
    brokers,
    clusterId: clusterIds[0] ?? "",
    addFault: (hook) => {
      hooks.add(hook);
      return () => void hooks.delete(hook);
    },
    [Symbol.asyncDispose]: () => (closing ??= open.disposeAsync()),
  };
}

function ownWorld(undo: AsyncDisposableStack): World {
  const world = nodeWorld({ workerPreload: [import.meta.resolve("kafka-protocol-ts/install")] });
  undo.defer(() => world.workers.close());
  return world;
}

function temporaryDirectory({ disk, random }: World, undo: AsyncDisposableStack): string {
  const path = `${tmpdir()}/millrace-${random.bytes(8).toString("hex")}`;
  undo.defer(() => disk.removeDirectory(path));
  return path;
}

interface NodeOptions {
  readonly nodeId: number;
  readonly world: World;
  readonly ports: BoundPorts;
  readonly controllerPorts: ReadonlyMap<number, number>;
  readonly config: Readonly<Record<string, string>>;
  readonly logger: Logger;
  readonly faults: FaultHook;
  mayHandOver(): boolean;
}

class EmbeddedNode implements ClusterBroker {
  readonly nodeId: number;
  readonly #options: NodeOptions;
  #machine: Machine | null = null;
  #broker: Broker | null = null;
  #address: { readonly host: string; readonly port: number } = { host: "127.0.0.1", port: 0 };
  #isPaused = false;

  constructor(options: NodeOptions) {
    this.#options = options;
    this.nodeId = options.nodeId;
  }

  get address(): { readonly host: string; readonly port: number } {
    return this.#address;
  }
  get state(): "running" | "paused" | "stopped" {
    if (this.#machine === null) return "stopped";
    return this.#isPaused ? "paused" : "running";
  }

  /** Gives the cluster's id. */
  async start(): Promise<string> {
    const { nodeId, world, ports, controllerPorts, config, logger, faults } = this.#options;
    const machine = new Machine(world, ports);
    this.#machine = machine;
    const broker = await startBroker({
      config: { ...config, ...settingsOfNode({ nodeId, controllerPorts, port: this.#address.port }) },
      world: machine,
      logger,
      faults,
      onFatal: (error) => {
        logger.error("the node ends", { error });
        if (this.#machine === machine) void this.kill();
      },
    });
    this.#broker = broker;
    this.#address = broker.address;
    return broker.clusterId;
  }

  async stop(): Promise<void> {
    if (this.#isPaused) this.resume();
    const [broker, machine] = [this.#broker, this.#machine];
    if (broker === null || machine === null) return;
    await broker.stop({ isHandedOver: this.#options.mayHandOver() });
    // What was left behind, if something was, has no effect on the next one.
    await this.#end(machine);
  }

  async kill(): Promise<void> {
    if (this.#machine !== null) await this.#end(this.#machine);
  }

  async #end(machine: Machine): Promise<void> {
    await machine.kill();
    if (this.#machine !== machine) return;
    this.#machine = null;
    this.#broker = null;
    this.#isPaused = false;
  }

  pause(): void {
    if (this.#machine === null) return;
    this.#isPaused = true;
    this.#machine.pause();
  }

  resume(): void {
    this.#isPaused = false;
    this.#machine?.resume();
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }
}
