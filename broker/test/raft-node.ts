import { silentLogger } from "@millrace/base/logger";
import type { Address, Timer } from "@millrace/base/world";
import { raftHandler } from "@millrace/broker/apis/10001-raft";
import type { Server } from "@millrace/broker/network/server";
import { Peers } from "@millrace/broker/peers/peers";
import { RaftTransport } from "@millrace/broker/quorum/transport";
import type { TransportLimits } from "@millrace/broker/quorum/transport";
import { SeededRandom } from "@millrace/simulator/seeded-random";
import type { SimulatedWorld } from "@millrace/simulator/simulated-world";
import { Raft } from "raft-ts-lite";
import type { Entry, HardState, Message, NodeId } from "raft-ts-lite";
import { serveNode } from "./served-node.ts";

export const tickMs = 50;
const ticksPerVoter = 10;

/** What a node's process leaves behind. */
interface Disk {
  hardState: HardState;
  entries: Entry[];
}

export interface RaftNodeOptions {
  readonly world: SimulatedWorld;
  readonly id: NodeId;
  readonly seed: number;
  /** Those who vote, by name: everybody knows where they are. */
  readonly voters: ReadonlyMap<NodeId, Address>;
  readonly limits?: Partial<TransportLimits>;
}

/** One node: raft on an object for a disk, a transport, and a real server where it votes. */
export class RaftNode {
  readonly id: NodeId;
  readonly state: string[] = [];
  readonly lost: NodeId[] = [];
  readonly unreachable: NodeId[] = [];
  readonly transport: RaftTransport;
  readonly peers: Peers;
  readonly raft: Raft;
  readonly disk: Disk;
  readonly #options: RaftNodeOptions;
  #server: Server | null = null;
  #timer: Timer | null = null;
  #ticks = 0;
  #isStopped = false;
  /** Of a learner: who leads, by what a voter said. */
  #hint: NodeId | null = null;

  constructor(options: RaftNodeOptions, disk: Disk = { hardState: { term: 0, votedFor: null }, entries: [] }) {
    const { world, id, seed, voters, limits = {} } = options;
    const { clock, network } = world;
    const random = new SeededRandom(seed);
    this.#options = options;
    this.id = id;
    this.disk = disk;
    this.peers = new Peers({
      ...{ network, clock, random, logger: silentLogger, clientId: id, connectTimeoutMs: 500 },
    });
    this.transport = new RaftTransport({
      ...{ nodeId: id, clusterId: "cluster-1", peers: this.peers, clock, random, logger: silentLogger, limits },
      addressOf: (node) => voters.get(node) ?? null,
      onMessages: (messages) => this.#step(messages),
      onConnectionLost: (node) => void this.lost.push(node),
      onUnreachable: (node) => {
        this.unreachable.push(node);
        this.#hint = null;
      },
      leader: () => this.raft.status.leader,
      onLeader: (node) => {
        this.#hint = node;
        this.#followAsLearner();
      },
      fatal: (error) => {
        throw error;
      },
    });
    this.raft = new Raft({
      ...{ id, hardState: disk.hardState, entries: disk.entries, random: () => random.fraction() },
      snapshot: { index: 0, term: 0, configuration: { voters: [...voters.keys()] } },
    });
  }

  async start(): Promise<this> {
    const { world, id, voters } = this.#options;
    const address = voters.get(id);
    if (address !== undefined) {
      const services = { raft: this.transport };
      this.#server = await serveNode({ ...world, address, handlers: [raftHandler], services });
    }
    this.#tick();
    return this;
  }

  /** As a process that is killed: nothing is said any more, and its connections break. */
  kill(): Disk {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.transport.close();
    this.peers.close();
    void this.#server?.close(0);
    return this.disk;
  }

  get isLeader(): boolean {
    return !this.#isStopped && this.raft.status.role === "leader";
  }

  propose(text: string): boolean {
    const index = this.raft.propose([Buffer.from(text)]);
    this.#work();
    return typeof index === "number";
  }

  #tick(): void {
    this.raft.tick();
    this.#ticks++;
    this.#followAsLearner();
    this.#work();
    this.#timer = this.#options.world.clock.schedule(tickMs, () => this.#tick());
  }

  /** Whoever has no vote asks the leader, or one after the other until one says who leads. */
  #followAsLearner(): void {
    const { voters, id } = this.#options;
    if (voters.has(id)) return;
    const { leader } = this.raft.status;
    if (leader !== null) this.#hint = null;
    const names = [...voters.keys()];
    const turn = names[Math.floor(this.#ticks / ticksPerVoter) % names.length] ?? null;
    this.transport.follow(leader ?? this.#hint ?? turn);
  }

  #step(messages: readonly Message[]): void {
    if (this.#isStopped) return;
    for (const message of messages) this.raft.step(message);
    this.#work();
  }

  #work(): void {
    for (let ready = this.raft.ready(); ready !== null; ready = this.raft.ready()) {
      if (ready.hardState !== null) this.disk.hardState = ready.hardState;
      const [first] = ready.entries;
      if (first !== undefined)
        this.disk.entries = [...this.disk.entries.filter(({ index }) => index < first.index), ...ready.entries];
      this.transport.send(ready.messages);
      for (const entry of ready.committed)
        if (entry.kind === "data") this.state.push(Buffer.from(entry.data).toString());
      this.raft.advance();
    }
  }
}
