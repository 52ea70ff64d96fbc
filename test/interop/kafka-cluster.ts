import { randomBytes } from "node:crypto";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Admin, Cluster, TopicPartition } from "@millrace/client";
import type { CoordinatorKind } from "@millrace/client/network/wire";
import { BrokerProcess, freePorts } from "./broker-process.ts";
import { briefEnvironment, briefSettings, clusterIdOf, formatCommand, kafkaCommand } from "./kafka-commands.ts";
import type { KafkaNode } from "./kafka-commands.ts";

export interface KafkaClusterOptions {
  /** Default 3: one may be away. */
  readonly nodesCount?: number;
  /** Of all brokers, by Kafka's names. */
  readonly settings?: Readonly<Record<string, string>>;
  /** As somebody runs it who measures it: with Kafka's own settings, heap and compiler. */
  readonly isWhole?: boolean;
  /** Where the temporary directory is made; the system's place for them when it is missing. */
  readonly directory?: string;
  /** Its controllers can come and go (KIP-853). Default: they are those of its settings. */
  readonly isDynamic?: boolean;
}

interface Node {
  readonly directoryId: string;
  readonly directory: string;
  readonly controllerPort: number;
  port: number;
  process: BrokerProcess;
}

/**
 * Small on purpose: three of them run beside a test on two cores. What a broker that is killed led has another leader after
 * its session.
 */
const clusterSettings: Readonly<Record<string, string>> = {
  ...briefSettings,
  "broker.session.timeout.ms": "2000",
  "broker.heartbeat.interval.ms": "300",
  "default.replication.factor": "3",
  "min.insync.replicas": "2",
  "offsets.topic.replication.factor": "3",
  "transaction.state.log.replication.factor": "3",
  "transaction.state.log.min.isr": "2",
  "share.coordinator.state.topic.replication.factor": "3",
  "share.coordinator.state.topic.min.isr": "2",
  "num.network.threads": "2",
  "num.io.threads": "4",
  // Leaders move when a test says so.
  "auto.leader.rebalance.enable": "false",
  "replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector",
};
/** What a cluster has that is run as it is shipped. */
const wholeSettings: Readonly<Record<string, string>> = {
  "default.replication.factor": "3",
  "min.insync.replicas": "2",
  "offsets.topic.replication.factor": "3",
  "transaction.state.log.replication.factor": "3",
  "transaction.state.log.min.isr": "2",
  "share.coordinator.state.topic.replication.factor": "3",
  "share.coordinator.state.topic.min.isr": "2",
};
const heapOptions = ["-Xmx300m", "-Xms100m"] as const;
/** As kafka-server-start gives it. */
const wholeHeapOptions = ["-Xmx1G", "-Xms1G"] as const;
const settleMsMax = 60_000;

/**
 * Several brokers of Apache Kafka, each a controller, too, with the ids 1, 2, 3 and as many racks ("rack-1"), in a temporary
 * directory that goes with `dispose`.
 */
export class KafkaCluster implements AsyncDisposable {
  readonly #directory: string;
  readonly #nodes: ReadonlyMap<number, Node>;
  readonly #settings: Readonly<Record<string, string>>;
  readonly #isWhole: boolean;
  readonly #isDynamic: boolean;

  private constructor(options: KafkaClusterOptions, ports: readonly number[]) {
    const nodesCount = ports.length / 2;
    const { directory: parent = tmpdir(), isWhole = false } = options;
    this.#isWhole = isWhole;
    this.#directory = mkdtempSync(join(parent, "interop-kafka-cluster-"));
    const idsOfNodes = Array.from({ length: nodesCount }, (_, index) => index + 1);
    const controllers = ports.slice(nodesCount).map((port) => `127.0.0.1:${port}`);
    this.#isDynamic = options.isDynamic ?? false;
    const voters = controllers.map((address, index) => `${index + 1}@${address}`).join(",");
    this.#settings = {
      ...(isWhole ? wholeSettings : clusterSettings),
      ...(this.#isDynamic ? {} : { "controller.quorum.voters": voters }),
      "controller.quorum.bootstrap.servers": controllers.join(","),
      ...options.settings,
    };
    this.#nodes = new Map(
      idsOfNodes.map((nodeId, index) => {
        const directory = join(this.#directory, `${nodeId}`);
        mkdirSync(directory);
        const [port = 0, controllerPort = 0] = [ports[index], ports[nodesCount + index]];
        const node = { directory, directoryId: newDirectoryId(), controllerPort, port };
        return [nodeId, { ...node, process: this.#processOf(nodeId, node) }];
      }),
    );
  }

  /** Formatted and running; every broker knows of every other. */
  static async start(options: KafkaClusterOptions = {}): Promise<KafkaCluster> {
    const cluster = new KafkaCluster(options, await freePorts(2 * (options.nodesCount ?? 3)));
    try {
      await cluster.#format();
      await cluster.#each(async (_, node) => void (await node.process.start()));
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

  controllerAddress(nodeId: number): string {
    return `127.0.0.1:${this.#node(nodeId).controllerPort}`;
  }

  /** Of its disk, as the metadata know it. */
  directoryIdOf(nodeId: number): string {
    return this.#node(nodeId).directoryId;
  }

  /** Its settings, as tools that want them read them. */
  propertiesOf(nodeId: number): string {
    return join(this.#node(nodeId).directory, "server.properties");
  }

  /** After `stop` or `kill`. */
  async start(nodeId: number): Promise<void> {
    await this.#node(nodeId).process.start();
  }

  /** As an operator does it: it gives its leaders away before it goes. */
  async stop(nodeId: number): Promise<void> {
    await this.#node(nodeId).process.stop();
  }

  /** SIGKILL. */
  async kill(nodeId: number): Promise<void> {
    await this.#node(nodeId).process.kill();
  }

  /** Kills all and starts them where nobody has known them: only their controllers stay where they are. */
  async moveAway(): Promise<void> {
    const ports = await freePorts(this.#nodes.size);
    await this.#each(async (_, node) => node.process.kill());
    for (const [nodeId, node] of this.#nodes) {
      node.port = ports[nodeId - 1] ?? 0;
      node.process = this.#processOf(nodeId, node);
    }
    await this.#each(async (_, node) => void (await node.process.start()));
  }

  /** What the brokers have written, for the message of a failing test. */
  get output(): string {
    return [...this.#nodes].map(([nodeId, { process }]) => `--- broker ${nodeId}\n${process.output}`).join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#each(async (_, node) => node.process.kill());
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** One by the tool, the others by what it has made of that: a JVM each would take longer than all the rest. */
  async #format(): Promise<void> {
    const first = this.#node(1);
    const node = this.#kafkaNode(1, first);
    const voters = [...this.#nodes].map(
      ([nodeId, { controllerPort, directoryId }]) => `${nodeId}@127.0.0.1:${controllerPort}:${directoryId}`,
    );
    const initial = this.#isDynamic ? ["--initial-controllers", voters.join(",")] : [];
    await first.process.run(formatCommand(node, clusterIdOf(this.#directory), initial));
    const properties = readFileSync(join(node.dataDirectory, "meta.properties"), "utf8");
    for (const [nodeId, { directory, directoryId }] of this.#nodes) {
      const dataDirectory = join(directory, "data");
      if (nodeId !== 1) cpSync(node.dataDirectory, dataDirectory, { recursive: true });
      const own = properties
        .replace(/^node\.id=.*$/m, `node.id=${nodeId}`)
        .replace(/^directory\.id=.*$/m, `directory.id=${directoryId}`);
      writeFileSync(join(dataDirectory, "meta.properties"), own);
    }
  }

  #node(nodeId: number): Node {
    const node = this.#nodes.get(nodeId);
    if (node === undefined) throw new Error(`there is no broker ${nodeId}`);
    return node;
  }

  #kafkaNode(nodeId: number, { directory, port, controllerPort }: Omit<Node, "process">): KafkaNode {
    const settings = { ...this.#settings, "node.id": `${nodeId}`, "broker.rack": `rack-${nodeId}` };
    const heap = this.#isWhole ? wholeHeapOptions : heapOptions;
    return { directory, dataDirectory: join(directory, "data"), port, controllerPort, settings, heapOptions: heap };
  }

  #processOf(nodeId: number, node: Omit<Node, "process">): BrokerProcess {
    const command = kafkaCommand(this.#kafkaNode(nodeId, node));
    const environment = this.#isWhole ? {} : briefEnvironment;
    return new BrokerProcess({ name: `kafka ${nodeId}`, port: node.port, command, environment });
  }

  async #each(work: (nodeId: number, node: Node) => Promise<void>): Promise<void> {
    await Promise.all([...this.#nodes].map(async ([nodeId, node]) => work(nodeId, node)));
  }
}

/** As Kafka makes them: without a dash at the beginning, which a command line would take for an option. */
function newDirectoryId(): string {
  const bytes = randomBytes(16);
  bytes[0] = (bytes[0] ?? 0) & 0x7f;
  return bytes.toString("base64url");
}

/** Waits until the cluster says so; meanwhile it may refuse to say anything. */
export async function settled(condition: () => Promise<boolean>, what: string): Promise<void> {
  const limitMs = performance.now() + settleMsMax;
  let refusal: unknown = null;
  for (;;) {
    try {
      if (await condition()) return;
      refusal = null;
    } catch (error) {
      refusal = error;
    }
    if (performance.now() > limitMs) throw new Error(`not within ${settleMsMax} ms: ${what}`, { cause: refusal });
    await sleep(20);
  }
}

/** As the controller says it now. */
export async function leaderOf(admin: Admin, { topic, partition }: TopicPartition): Promise<number> {
  const { partitions } = await admin.topics.describe(topic);
  return partitions[partition]?.leaderId ?? -1;
}

/** Waits until all replicas of all topics are in sync, as before the next broker may go away. */
export async function allInSync(admin: Admin, nodesCount: number): Promise<void> {
  await settled(async () => {
    const { brokers } = await admin.cluster.describe();
    if (brokers.length < nodesCount) return false;
    for await (const { name } of admin.topics.list({ includeInternal: true })) {
      const { partitions } = await admin.topics.describe(name);
      if (partitions.some(({ replicas, inSyncReplicas }) => replicas.length > inSyncReplicas.length)) return false;
    }
    return true;
  }, "all replicas are in sync");
}

/** The id of the broker that coordinates it now, as the cluster says. */
export async function coordinatorOf(cluster: Cluster, kind: CoordinatorKind, key: string): Promise<number> {
  const { wire } = cluster;
  let nodeId = -1;
  await settled(async () => {
    wire.forgetCoordinator(kind, key);
    const { name } = await wire.coordinator(kind, key);
    nodeId = [...wire.metadata.brokers.values()].find(({ host, port }) => `${host}:${port}` === name)?.nodeId ?? -1;
    return nodeId >= 0;
  }, `somebody coordinates ${kind} ${key}`);
  return nodeId;
}

/** Another replica leads from now on: the first one of the partition, by which the others stay. */
export async function moveLeader(admin: Admin, { topic, partition }: TopicPartition, leaderId: number): Promise<void> {
  const { partitions } = await admin.topics.describe(topic);
  const replicas = partitions[partition]?.replicas ?? [];
  const ordered = [leaderId, ...replicas.filter((nodeId) => nodeId !== leaderId)];
  for (const { error } of failed(await admin.partitions.reassign([{ topic, partition, replicas: ordered }])))
    throw error;
  await settled(async () => {
    for (const { error } of failed(await admin.partitions.electLeaders([{ topic, partition }]))) throw error;
    return (await leaderOf(admin, { topic, partition })) === leaderId;
  }, `broker ${leaderId} leads ${topic}-${partition}`);
}

function failed<Each extends { readonly ok: boolean }>(outcomes: readonly Each[]): Extract<Each, { ok: false }>[] {
  return outcomes.filter((outcome): outcome is Extract<Each, { ok: false }> => !outcome.ok);
}
