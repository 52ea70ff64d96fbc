import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BrokerProcess, freePorts } from "./broker-process.ts";
import { repositoryRoot } from "./runtimes.ts";

interface Node {
  readonly directory: string;
  readonly port: number;
  readonly controllerPort: number;
  readonly process: BrokerProcess;
}

export interface MillraceClusterOptions {
  /** Default 3: one may be away. */
  readonly nodesCount?: number;
  /** Of all nodes, by Kafka's names. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** What a broker that is killed led has another leader after its session. */
const clusterSettings: Readonly<Record<string, string>> = {
  "broker.session.timeout.ms": "2000",
  "broker.heartbeat.interval.ms": "300",
  "default.replication.factor": "3",
  "min.insync.replicas": "2",
  "offsets.topic.replication.factor": "3",
  "transaction.state.log.replication.factor": "3",
  "transaction.state.log.min.isr": "2",
  "auto.leader.rebalance.enable": "false",
  // As in kafka/server.properties, so that tools show both alike.
  "log.segment.bytes": "1073741824",
};

/** Several nodes of Millrace, each broker and controller, with the ids 1, 2, 3 and as many racks, in a temporary directory that goes with `dispose`. */
export class MillraceCluster implements AsyncDisposable {
  readonly #directory: string;
  readonly #nodes: ReadonlyMap<number, Node>;

  private constructor({ settings = {} }: MillraceClusterOptions, ports: readonly number[]) {
    const nodesCount = ports.length / 2;
    this.#directory = mkdtempSync(join(tmpdir(), "interop-millrace-cluster-"));
    const controllerPorts = ports.slice(nodesCount);
    const voters = controllerPorts.map((port, index) => `${index + 1}@127.0.0.1:${port}`).join(",");
    this.#nodes = new Map(
      ports.slice(0, nodesCount).map((port, index) => {
        const nodeId = index + 1;
        const directory = join(this.#directory, `${nodeId}`);
        mkdirSync(directory);
        const controllerPort = controllerPorts[index] ?? 0;
        const all: Readonly<Record<string, string>> = {
          ...clusterSettings,
          "process.roles": "broker,controller",
          "node.id": `${nodeId}`,
          listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
          "controller.listener.names": "CONTROLLER",
          "controller.quorum.voters": voters,
          "log.dirs": join(directory, "data"),
          "broker.rack": `rack-${nodeId}`,
          ...settings,
        };
        const properties = join(directory, "server.properties");
        const lines = Object.entries(all).map(([key, value]) => `${key}=${value}\n`);
        writeFileSync(properties, lines.join(""));
        const main = ["--conditions=source", join(repositoryRoot, "cli", "millrace.js")];
        const name = `millrace ${nodeId}`;
        const command = [process.execPath, ...main, "start", "--config", properties] as const;
        return [
          nodeId,
          { directory, port, controllerPort, process: new BrokerProcess({ name, port, command, environment: {} }) },
        ];
      }),
    );
  }

  static async start(options: MillraceClusterOptions = {}): Promise<MillraceCluster> {
    const cluster = new MillraceCluster(options, await freePorts(2 * (options.nodesCount ?? 3)));
    try {
      await Promise.all([...cluster.#nodes.values()].map(async ({ process: each }) => each.start()));
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
    return cluster;
  }

  get nodeIds(): readonly number[] {
    return [...this.#nodes.keys()];
  }

  address(nodeId: number): string {
    return `127.0.0.1:${this.#node(nodeId).port}`;
  }

  controllerAddress(nodeId: number): string {
    return `127.0.0.1:${this.#node(nodeId).controllerPort}`;
  }

  /** Of its disk, as the metadata know it. */
  directoryIdOf(nodeId: number): string {
    const text = readFileSync(join(this.#node(nodeId).directory, "data", "meta.properties"), "utf8");
    return /^directory\.id=(.*)$/m.exec(text)?.[1] ?? "";
  }

  /** Its settings, as tools that want them read them. */
  propertiesOf(nodeId: number): string {
    return join(this.#node(nodeId).directory, "server.properties");
  }

  /** After `stop` or `kill`. */
  async start(nodeId: number): Promise<void> {
    await this.#node(nodeId).process.start();
  }

  /** SIGKILL. */
  async kill(nodeId: number): Promise<void> {
    await this.#node(nodeId).process.kill();
  }

  /** What the nodes have written, for the message of a failing test. */
  get output(): string {
    return [...this.#nodes].map(([nodeId, { process: each }]) => `--- node ${nodeId}\n${each.output}`).join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#nodes.values()].map(async ({ process: each }) => each.kill()));
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #node(nodeId: number): Node {
    const node = this.#nodes.get(nodeId);
    if (node === undefined) throw new Error(`there is no node ${nodeId}`);
    return node;
  }
}
