import { setTimeout as sleep } from "node:timers/promises";
import type { Prng } from "@millrace/base/prng";
import { Cluster } from "@millrace/client";
import type { Stage } from "../histories/campaign.ts";
import { pauseOf } from "../histories/nemesis.ts";
import type { Faults } from "../histories/nemesis.ts";
import { groupSettings } from "../histories/plan.ts";
import { allInSync } from "../kafka-cluster.ts";
import { MillraceCluster } from "./millrace-cluster.ts";

/** Three nodes behind proxies, for a campaign of histories, with what can be done to nodes and to the links between them. */
export class ClusterStage implements Stage {
  readonly cluster: MillraceCluster;
  readonly faults: Faults;

  private constructor(cluster: MillraceCluster) {
    this.cluster = cluster;
    this.faults = faultsOf(cluster);
  }

  static async start(settings: Readonly<Record<string, string>> = {}): Promise<ClusterStage> {
    const small = { "offsets.topic.num.partitions": "5", "transaction.state.log.num.partitions": "5" };
    return new ClusterStage(
      await MillraceCluster.start({ isProxied: true, settings: { ...groupSettings, ...small, ...settings } }),
    );
  }

  get address(): string {
    return this.cluster.addresses.join();
  }

  get output(): string {
    return this.cluster.output;
  }

  async healed(): Promise<void> {
    await using client = new Cluster({ brokers: this.cluster.addresses, clientId: "healer" });
    await allInSync(client.admin(), this.cluster.nodeIds.length);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cluster[Symbol.asyncDispose]();
  }
}

export const clusterFaultNames = [
  "kill node",
  "kill controller",
  "kill all nodes",
  "restart node",
  "pause node",
  "reset connections",
  "cut link",
  "silence link",
  "isolate node",
] as const;

/** Longer than a request of raft's or of a follower may take, and shorter than a broker's session. */
const longPauseMs = 5_000;

function faultsOf(cluster: MillraceCluster): Readonly<Record<(typeof clusterFaultNames)[number], Faults[string]>> {
  const pick = (prng: Prng): number => prng.pick(cluster.nodeIds);
  const killed = async (nodeId: number, prng: Prng): Promise<string> => {
    await cluster.kill(nodeId);
    const downMs = prng.between(0, 2_000);
    await sleep(downMs);
    await cluster.start(nodeId);
    return `node ${nodeId}, down for ${downMs} ms`;
  };
  const parted = async (state: "cut" | "silent", prng: Prng, longMs: number): Promise<string> => {
    const one = pick(prng);
    const other = prng.pick(cluster.nodeIds.filter((nodeId) => nodeId !== one));
    const pauseMs = pauseOf(prng, longMs);
    cluster.link(one, other, state);
    await sleep(pauseMs);
    cluster.link(one, other, "open");
    return `between ${one} and ${other} for ${pauseMs} ms`;
  };
  return {
    "kill node": async (_, prng) => await killed(pick(prng), prng),
    "kill controller": async (_, prng) => await killed(cluster.activeController, prng),
    "kill all nodes": async () => {
      await Promise.all(cluster.nodeIds.map(async (nodeId) => await cluster.kill(nodeId)));
      await Promise.all(cluster.nodeIds.map(async (nodeId) => await cluster.start(nodeId)));
      return "at once";
    },
    "restart node": async (_, prng) => {
      const nodeId = pick(prng);
      await cluster.stop(nodeId);
      await cluster.start(nodeId);
      return `node ${nodeId}`;
    },
    "pause node": async (_, prng) => {
      const [nodeId, pauseMs] = [pick(prng), pauseOf(prng, longPauseMs)];
      using _frozen = cluster.freeze(nodeId);
      await sleep(pauseMs);
      return `node ${nodeId} for ${pauseMs} ms`;
    },
    "reset connections": async (_, prng) => {
      const nodeId = pick(prng);
      cluster.cutAll(nodeId);
      await sleep(0);
      return `to node ${nodeId}`;
    },
    "cut link": async (_, prng) => await parted("cut", prng, 3_000),
    "silence link": async (_, prng) => await parted("silent", prng, longPauseMs),
    "isolate node": async (_, prng) => {
      const nodeId = pick(prng);
      const [pauseMs, state] = [pauseOf(prng, longPauseMs), prng.pick(["cut", "silent"] as const)];
      const others = cluster.nodeIds.filter((each) => each !== nodeId);
      for (const other of others) cluster.link(nodeId, other, state);
      await sleep(pauseMs);
      for (const other of others) cluster.link(nodeId, other, "open");
      return `node ${nodeId} from the others (${state}) for ${pauseMs} ms`;
    },
  };
}
