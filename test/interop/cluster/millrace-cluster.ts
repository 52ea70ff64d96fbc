import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BrokerProcess, freePorts } from "../broker-process.ts";
import { repositoryRoot } from "../runtimes.ts";
import { LinkProxy } from "./link-proxy.ts";
import type { LinkState } from "./link-proxy.ts";

export interface MillraceClusterOptions {
  /** Default 3: one may be away. */
  readonly nodesCount?: number;
  /** Of all nodes, by Kafka's names. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Everybody reaches a node through a proxy only, so that links can be cut. */
  readonly isProxied?: boolean;
  /** Where the temporary directory is made; the system's place for them when it is missing. */
  readonly directory?: string;
  readonly environment?: Readonly<Record<string, string>>;
  /** Arguments of Node. */
  readonly nodeArguments?: readonly string[];
  /** Of one node: where its data lies, in the place of a directory beside the others'. */
  readonly dataDirectories?: ReadonlyMap<number, string>;
}

interface Node {
  readonly port: number;
  readonly dataDirectory: string;
  readonly process: BrokerProcess;
  readonly proxies: readonly LinkProxy[];
}

const clusterSettings: Readonly<Record<string, string>> = {
  "default.replication.factor": "3",
  "min.insync.replicas": "2",
  "offsets.topic.replication.factor": "3",
  "transaction.state.log.replication.factor": "3",
  "transaction.state.log.min.isr": "2",
};

/** Several nodes of Millrace, each a broker and a controller, with the ids 1, 2, 3, in a temporary directory that goes with `dispose`. */
export class MillraceCluster implements AsyncDisposable {
  readonly #directory: string;
  readonly #nodes = new Map<number, Node>();
  /** By "FROM>TO": what passes between two nodes. Absent: all. */
  readonly #links = new Map<string, LinkState>();
  #controller = { epoch: -1, nodeId: -1 };

  private constructor(options: MillraceClusterOptions, ports: readonly number[]) {
    const { isProxied = false, directory: parent = tmpdir(), nodeArguments = [] } = options;
    this.#directory = mkdtempSync(join(parent, "interop-millrace-cluster-"));
    const nodesCount = ports.length / 4;
    const ids = Array.from({ length: nodesCount }, (_, index) => index + 1);
    const portsOf = (nodeId: number): readonly number[] => ports.slice(4 * (nodeId - 1), 4 * nodeId);
    const voters = ids.map((nodeId) => `${nodeId}@127.0.0.1:${portsOf(nodeId)[isProxied ? 3 : 1]}`).join(",");
    for (const nodeId of ids) {
      const [own = 0, controller = 0, told = 0, toldController = 0] = portsOf(nodeId);
      const dataDirectory = options.dataDirectories?.get(nodeId) ?? join(this.#directory, `${nodeId}`);
      mkdirSync(dataDirectory, { recursive: true });
      const stateOf = (client: string): LinkState => this.#stateOf(client, nodeId);
      const proxies = isProxied
        ? [
            new LinkProxy({ port: told, targetPort: own, stateOf }),
            new LinkProxy({ port: toldController, targetPort: controller, stateOf }),
          ]
        : [];
      const settings: Readonly<Record<string, string>> = {
        ...clusterSettings,
        "node.id": `${nodeId}`,
        listeners: `PLAINTEXT://127.0.0.1:${own},CONTROLLER://127.0.0.1:${controller}`,
        ...(isProxied ? { "advertised.listeners": `PLAINTEXT://127.0.0.1:${told}` } : {}),
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": voters,
        ...options.settings,
      };
      const process = new BrokerProcess({
        name: `millrace ${nodeId}`,
        port: own,
        command: commandOf(dataDirectory, settings, nodeArguments),
        environment: options.environment ?? {},
        onLine: (line) => this.#listen(nodeId, line),
      });
      this.#nodes.set(nodeId, { port: isProxied ? told : own, dataDirectory, process, proxies });
    }
  }

  static async start(options: MillraceClusterOptions = {}): Promise<MillraceCluster> {
    const cluster = new MillraceCluster(options, await freePorts(4 * (options.nodesCount ?? 3)));
    try {
      await cluster.#each(async ({ process }) => void (await process.start()));
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
    return cluster;
  }

  get nodeIds(): readonly number[] {
    return [...this.#nodes.keys()];
  }

  get addresses(): readonly string[] {
    return this.nodeIds.map((nodeId) => this.address(nodeId));
  }

  address(nodeId: number): string {
    return `127.0.0.1:${this.portOf(nodeId)}`;
  }

  portOf(nodeId: number): number {
    return this.#node(nodeId).port;
  }

  pidOf(nodeId: number): number {
    return this.#node(nodeId).process.pid;
  }

  dataDirectoryOf(nodeId: number): string {
    return this.#node(nodeId).dataDirectory;
  }

  /** The node that has said last, by the quorum's term, that it is the active controller; -1: none has. */
  get activeController(): number {
    return this.#controller.nodeId;
  }

  async start(nodeId: number): Promise<void> {
    const { process, proxies } = this.#node(nodeId);
    for (const proxy of proxies) proxy.listen();
    await process.start();
  }

  /** SIGTERM, until it has ended. */
  async stop(nodeId: number): Promise<void> {
    const { process, proxies } = this.#node(nodeId);
    await process.stop();
    for (const proxy of proxies) proxy.refuse();
  }

  async kill(nodeId: number): Promise<void> {
    const { process, proxies } = this.#node(nodeId);
    // Its machine would refuse as soon as it is dead.
    const killed = process.kill();
    for (const proxy of proxies) proxy.refuse();
    await killed;
  }

  /** SIGSTOP, until it is disposed of. */
  freeze(nodeId: number): Disposable {
    return this.#node(nodeId).process.freeze();
  }

  /** What passes between these two nodes from now on, in both directions. Of a cluster with proxies. */
  link(one: number, other: number, state: LinkState): void {
    for (const [from, to] of [
      [one, other],
      [other, one],
    ] as const) {
      if (state === "open") this.#links.delete(`${from}>${to}`);
      else this.#links.set(`${from}>${to}`, state);
      for (const proxy of this.#node(to).proxies) proxy.changed();
    }
  }

  /** All connections to this node end, those of clients, too; new ones are taken. */
  cutAll(nodeId: number): void {
    for (const proxy of this.#node(nodeId).proxies) proxy.cutAll();
  }

  /** What the nodes have written, for the message of a failing test. */
  get output(): string {
    return [...this.#nodes].map(([nodeId, { process }]) => `--- node ${nodeId}\n${process.output}`).join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#each(async ({ process }) => process.kill());
    await this.#each(
      async ({ proxies }) => void (await Promise.all(proxies.map((each) => each[Symbol.asyncDispose]()))),
    );
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #stateOf(client: string, to: number): LinkState {
    const [, from] = /^node-(\d+)$/.exec(client) ?? [];
    return from === undefined ? "open" : (this.#links.get(`${from}>${to}`) ?? "open");
  }

  #listen(nodeId: number, line: string): void {
    if (!line.includes("this node is the active controller")) return;
    const epoch = Number(/epoch\W+(\d+)/.exec(line)?.[1] ?? -1);
    if (epoch > this.#controller.epoch) this.#controller = { epoch, nodeId };
  }

  #node(nodeId: number): Node {
    const node = this.#nodes.get(nodeId);
    if (node === undefined) throw new Error(`there is no node ${nodeId}`);
    return node;
  }

  async #each(work: (node: Node) => Promise<void>): Promise<void> {
    await Promise.all([...this.#nodes.values()].map(work));
  }
}

function commandOf(
  dataDirectory: string,
  settings: Readonly<Record<string, string>>,
  nodeArguments: readonly string[],
): readonly [string, ...string[]] {
  const sets = Object.entries(settings).flatMap(([key, value]) => ["--set", `${key}=${value}`]);
  const main = join(repositoryRoot, "cli", "millrace.js");
  return [process.execPath, "--conditions=source", ...nodeArguments, main, "start", "--data", dataDirectory, ...sets];
}
