import { setTimeout as sleep } from "node:timers/promises";
import { Cluster } from "@millrace/client";
import type { Admin } from "@millrace/client";
import { MillraceCluster } from "../../test/interop/cluster/millrace-cluster.ts";
import { KafkaCluster } from "../../test/interop/kafka-cluster.ts";

export type SubjectName = "millrace" | "kafka";

/** Three nodes of either, as they are shipped but for replication factor 3 and min.insync.replicas 2, and who administers them. */
export class Subject implements AsyncDisposable {
  readonly name: SubjectName;
  readonly nodes: MillraceCluster | KafkaCluster;
  readonly admin: Admin;
  readonly #cluster: Cluster;

  private constructor(name: SubjectName, nodes: MillraceCluster | KafkaCluster) {
    this.name = name;
    this.nodes = nodes;
    this.#cluster = new Cluster({ brokers: nodes.addresses, clientId: "bench-admin" });
    this.admin = this.#cluster.admin();
  }

  static async start(
    name: SubjectName,
    options: { readonly directory: string; readonly nodeArguments?: readonly string[] },
  ): Promise<Subject> {
    const nodes =
      name === "kafka"
        ? await KafkaCluster.start({ isWhole: true, directory: options.directory })
        : await MillraceCluster.start(options);
    const subject = new Subject(name, nodes);
    await subject.until(async () => (await subject.admin.cluster.describe()).brokers.length === 3, "three brokers");
    return subject;
  }

  async activeController(): Promise<number> {
    if (this.nodes instanceof MillraceCluster) return this.nodes.activeController;
    return (await this.admin.quorum.describe()).leaderId;
  }

  async leaderOf(topic: string): Promise<number> {
    return (await this.admin.topics.describe(topic)).partitions[0]?.leaderId ?? -1;
  }

  /** One partition, which this node leads. */
  async createTopic(name: string, leaderId: number): Promise<void> {
    const others = this.nodes.nodeIds.filter((nodeId) => nodeId !== leaderId);
    await this.admin.topics.create({ name, assignments: [[leaderId, ...others]] });
  }

  async inSync(topics: readonly string[]): Promise<void> {
    await this.until(async () => {
      const described = await Promise.all(topics.map(async (topic) => this.admin.topics.describe(topic)));
      return described.every(({ partitions }) =>
        partitions.every(({ replicas, inSyncReplicas }) => replicas.length === inSyncReplicas.length),
      );
    }, `all replicas of ${topics.join()} in sync`);
  }

  /** Meanwhile the cluster may refuse to say anything. */
  async until(condition: () => Promise<boolean>, what: string): Promise<void> {
    let refusal: unknown = null;
    for (const limitMs = performance.now() + settleMsMax; performance.now() < limitMs; await sleep(20)) {
      try {
        if (await condition()) return;
      } catch (error) {
        refusal = error;
      }
    }
    throw new Error(`${this.name}: not within ${settleMsMax} ms: ${what}\n${this.nodes.output}`, { cause: refusal });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cluster.close();
    await this.nodes[Symbol.asyncDispose]();
  }
}

const settleMsMax = 60_000;
