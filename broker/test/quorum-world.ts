import { must } from "@millrace/base/assert";
import { silentLogger } from "@millrace/base/logger";
import type { Controller } from "@millrace/broker/controller/controller";
import { Controller as NodeController } from "@millrace/broker/controller/controller";
import { MetadataService } from "@millrace/broker/metadata/metadata";
import { memberOf, raftIdOf } from "@millrace/broker/quorum/node-ids";
import { QuorumStore } from "@millrace/broker/quorum/store";
import type { Services } from "@millrace/broker/services";
import { SeededRandom } from "@millrace/simulator/seeded-random";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import type { Message } from "raft-ts-lite";
import { metadataDirectory } from "./metadata-world.ts";

export interface QuorumNode {
  readonly nodeId: number;
  readonly directoryId: string;
  readonly metadata: MetadataService;
  readonly controller: Controller;
  /** What handlers of a controller listener work with. */
  readonly services: Services;
}

export function directoryIdOf(nodeId: number): string {
  const bytes = Buffer.alloc(16);
  bytes.writeInt32BE(nodeId, 12);
  return bytes.toString("base64url");
}

/** Controllers on one virtual clock; what one says another hears a millisecond later, or not while one of them is cut off. */
export class QuorumWorld {
  readonly clock = new VirtualClock();
  readonly #nodes = new Map<number, QuorumNode>();
  readonly #cutOff = new Set<number>();

  static async start({
    voters,
    seed = 1,
  }: {
    readonly voters: readonly number[];
    readonly seed?: number;
  }): Promise<QuorumWorld> {
    const world = new QuorumWorld();
    for (const nodeId of voters) await world.add(nodeId, { voters, seed });
    await world.until(() => world.leader !== null && world.image.features.size > 0);
    return world;
  }

  /** A node that is no voter follows: it was told who votes when it came. */
  async add(
    nodeId: number,
    { voters, seed = 1 }: { readonly voters: readonly number[]; readonly seed?: number },
  ): Promise<QuorumNode> {
    const directoryId = directoryIdOf(nodeId);
    const disk = new SimulatedDisk();
    const opened = await QuorumStore.open({ disk, directory: metadataDirectory, logger: silentLogger });
    if (!opened.ok) throw new Error(opened.message);
    const members = voters.map((voter) => raftIdOf({ nodeId: voter, directoryId: directoryIdOf(voter) }));
    await opened.value.store.format({ index: 0, term: 0, configuration: { voters: members } }, []);
    await opened.value.store.close();
    const { clock } = this;
    const metadata = await MetadataService.open({
      ...{ disk, clock, random: new SeededRandom(seed * 100 + nodeId), logger: silentLogger, nodeId, directoryId },
      ...{
        directory: metadataDirectory,
        texts: new Map(),
        transport: { send: (messages) => this.#carry(nodeId, messages) },
      },
      fatal: (error) => {
        throw error;
      },
    });
    if (!metadata.ok) throw new Error(metadata.message);
    const clusterId = "cluster-1";
    const controller = new NodeController({
      ...{ metadata: metadata.value, clusterId, clock, logger: silentLogger, isAlone: false },
      isBrokerGone: async () => Promise.resolve(false),
    });
    const services = {
      ...{ clock, metadata: metadata.value, controller, configs: metadata.value.configs, logger: silentLogger },
      identity: { nodeId, clusterId, directoryId },
      handlersOf: () => new Map(),
    } as unknown as Services;
    const node = { nodeId, directoryId, metadata: metadata.value, controller, services };
    this.#nodes.set(nodeId, node);
    return node;
  }

  node(nodeId: number): QuorumNode {
    return must(this.#nodes.get(nodeId), `node ${nodeId}`);
  }

  /** Who decides. */
  get leader(): QuorumNode | null {
    return [...this.#nodes.values()].find(({ metadata }) => metadata.quorum.isActive) ?? null;
  }
  get active(): QuorumNode {
    return must(this.leader, "an active controller");
  }
  get image(): MetadataService["image"] {
    return this.active.metadata.image;
  }
  /** As the active controller has them. */
  get voters(): number[] {
    return this.active.metadata.quorum.status.voters.map((id) => memberOf(id).nodeId);
  }

  cutOff(nodeId: number): void {
    this.#cutOff.add(nodeId);
  }

  until(condition: () => boolean, withinMs = 30_000): Promise<void> {
    return this.clock.runUntil(condition, { withinMs });
  }

  /** Lets time pass until it is settled. */
  async finish<T>(promise: Promise<T>, withinMs = 60_000): Promise<T> {
    let isOver = false;
    const over = promise.finally(() => (isOver = true));
    await this.until(() => isOver, withinMs);
    return over;
  }

  async close(): Promise<void> {
    for (const { metadata, controller } of this.#nodes.values()) {
      controller.close();
      await metadata.close();
    }
  }

  #carry(from: number, messages: readonly Message[]): void {
    this.clock.schedule(1, () => {
      for (const message of messages) {
        const { nodeId } = memberOf(message.to);
        if (this.#cutOff.has(nodeId) || this.#cutOff.has(from)) continue;
        this.#nodes.get(nodeId)?.metadata.quorum.receive([message]);
      }
    });
  }
}
