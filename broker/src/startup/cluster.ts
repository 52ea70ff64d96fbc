import type { Logger } from "@millrace/base/logger";
import { failed, ok } from "@millrace/base/result";
import { NetworkError } from "@millrace/base/world";
import type { Address, Timer, World } from "@millrace/base/world";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { formation } from "kafka-protocol-ts/messages/10002-formation";
import { fetch } from "kafka-protocol-ts/messages/01-fetch";
import type { NodeId } from "raft-ts-lite";
import { apiVersionsHandler } from "../apis/18-api-versions.ts";
import { formationHandler } from "../apis/10002-formation.ts";
import { bindHandlers } from "../apis/handler.ts";
import type { BoundHandler } from "../apis/handler.ts";
import type { Controller } from "../controller/controller.ts";
import type { InterBroker } from "../inter-broker.ts";
import type { MetadataService } from "../metadata/metadata.ts";
import type { Server } from "../network/server.ts";
import { ControllerChannel } from "../peers/controller-channel.ts";
import type { ActiveController } from "../peers/controller-channel.ts";
import { Forwarder } from "../peers/forwarding.ts";
import { Peers } from "../peers/peers.ts";
import type { FormationAnswer } from "../quorum/formation.ts";
import { memberOf, parseRaftId, raftIdOf } from "../quorum/node-ids.ts";
import { RaftTransport } from "../quorum/transport.ts";
import type { ReplicaLink } from "../replication/replica-link.ts";
import { identify } from "./identity.ts";
import type { Identity } from "./identity.ts";
import { giveUpMetadata } from "./lost-metadata.ts";
import type { NodePlan } from "./plan.ts";

export interface ClusterOptions {
  readonly world: World;
  readonly logger: Logger;
  readonly plan: NodePlan;
  readonly server: Server;
  fatal(error: unknown): void;
}

const connectTimeoutMs = 2_000;
const formationTimeoutMs = 2_000;
const probeTimeoutMs = 500;
const probePauseMs = 50;
const probesMax = 4;
/** A follower's request waits at most half a second at its leader; one that is silent for so long is given up. */
const fetchTimeoutMs = 10_000;
/** Between two looks at whom a node without a vote is to ask. */
const followMs = 500;

/** A node's connections to the other nodes of its cluster, and what they are for. */
export class Cluster {
  readonly #options: ClusterOptions;
  readonly #peers: Peers;
  #transport: RaftTransport | null = null;
  #metadata: MetadataService | null = null;
  #controller: Controller | null = null;
  #channels: ControllerChannel[] = [];
  #own: NodeId = "";
  /** Who leads, as a voter says that was asked. */
  #hint: NodeId | null = null;
  #followed = 0;
  #formation: FormationAnswer | null = null;
  #follow: Timer | null = null;
  #isClosed = false;

  constructor(options: ClusterOptions) {
    const { world, logger, plan } = options;
    const { network, clock, random } = world;
    this.#options = options;
    this.#peers = new Peers({ network, clock, random, logger, clientId: `node-${plan.nodeId}`, connectTimeoutMs });
  }

  /** Who this node is; at its first start it finds that out together with the others. */
  identify(path: string): Promise<Identity> {
    const { world, logger, plan } = this.#options;
    const { nodeId, controllers } = plan;
    return identify({
      disk: world.disk,
      clock: world.clock,
      random: world.random,
      logger,
      path,
      nodeId,
      controllers,
      onKnown: (answer) => this.#serveFormation(answer),
      ask: (own, id, address) => this.#askOne(own, id, address),
    });
  }

  /** Tells those that ask who this node is, while it can do nothing else. */
  #serveFormation(answer: FormationAnswer): void {
    const { plan, server, fatal } = this.#options;
    const isFirst = this.#formation === null;
    this.#formation = answer;
    if (!isFirst || !plan.isController) return;
    const services = {
      metadata: { image: { features: new Map<string, number>(), offset: -1 } },
      handlersOf: () => handlers,
      formationAnswer: () => this.#formation ?? answer,
    };
    const handlers: ReadonlyMap<number, BoundHandler> = new Map([
      ...bindHandlers(services, [apiVersionsHandler]),
      ...bindHandlers(services, [formationHandler]),
    ]);
    server.serve("controller", { handlers, fatal });
  }

  /**
   * The metadata of this node is damaged: makes room for that of the others.
   * @throws StartError where it cannot be had from them
   */
  async giveUpMetadata(directory: string, { clusterId, directoryId }: Identity, reason: string): Promise<void> {
    const { world, logger, plan } = this.#options;
    const { nodeId, controllers, isController } = plan;
    const { disk, clock } = world;
    const answer: FormationAnswer = { nodeId, directoryId, clusterId, voters: [] };
    this.#serveFormation(answer);
    await giveUpMetadata({
      ...{ disk, clock, logger, directory, reason, nodeId, clusterId, isController, controllers },
      own: raftIdOf({ nodeId, directoryId }),
      ask: (id, address) => this.#askOne(answer, id, address),
    });
  }

  async #askOne(own: FormationAnswer, nodeId: number, address: Address): Promise<FormationAnswer | null> {
    const connected = await this.#peers.to(nodeId, address, "formation");
    if (!connected.ok) return null;
    const { directoryId, clusterId } = own;
    const message = { nodeId: own.nodeId, directoryId, clusterId };
    const answered = await connected.value.request(formation, message, { timeoutMs: formationTimeoutMs });
    return answered.ok && answered.value.errorCode === ErrorCode.NONE ? answered.value : null;
  }

  /** The way of raft's messages. What comes goes to the metadata that `follow` is given. */
  joinQuorum({ clusterId, directoryId }: Identity): RaftTransport {
    const { world, logger, plan, fatal } = this.#options;
    const { clock, random } = world;
    this.#own = raftIdOf({ nodeId: plan.nodeId, directoryId });
    this.#transport = new RaftTransport({
      nodeId: this.#own,
      clusterId,
      peers: this.#peers,
      clock,
      random,
      logger,
      addressOf: (id) => this.#addressOf(id),
      onMessages: (messages) => this.#metadata?.quorum.receive(messages),
      onConnectionLost: (id) => void this.#connectionLost(id),
      onUnreachable: () => {
        this.#hint = null;
        this.#askAnother();
      },
      leader: () => this.#metadata?.quorum.role.leader ?? null,
      onLeader: (id) => {
        if (this.#hint === id) return;
        this.#hint = id;
        this.#metadata?.quorum.join();
        this.#chooseWhomToAsk();
      },
      fatal,
    });
    return this.#transport;
  }

  /** Most often its process is gone; then its machine refuses connections. */
  async #connectionLost(id: NodeId): Promise<void> {
    const address = this.#addressOf(id);
    if (address === null) return;
    // A process that is being killed may still listen for a moment.
    for (let tries = 0; tries < probesMax && !this.#isClosed; tries++) {
      if (await this.#isRefused(address)) {
        this.#metadata?.quorum.miss(id);
        this.#controller?.brokerGone(memberOf(id).nodeId);
        return;
      }
      await new Promise<void>((resolve) => this.#options.world.clock.schedule(probePauseMs, resolve));
    }
  }

  /** Whether a broker's process is gone for certain: its machine answers, and nobody listens there. */
  async isBrokerGone(brokerId: number): Promise<boolean> {
    const address = this.#brokerAddress(brokerId);
    return address !== null && !this.#isClosed && (await this.#isRefused(address));
  }

  async #isRefused(address: Address): Promise<boolean> {
    try {
      const connection = await this.#options.world.network.connect(address, { timeoutMs: probeTimeoutMs });
      connection.destroy();
      return false;
    } catch (error) {
      return error instanceof NetworkError && error.code === "ECONNREFUSED";
    }
  }

  /** From now on messages of the quorum arrive. */
  begin(metadata: MetadataService, controller: Controller): void {
    this.#metadata = metadata;
    this.#controller = controller;
    metadata.onRole(() => {
      for (const channel of this.#channels) channel.controllerChanged();
      this.#chooseWhomToAsk();
    });
    this.#chooseWhomToAsk();
    this.#scheduleFollow();
  }

  #addressOf(id: NodeId): Address | null {
    const member = parseRaftId(id);
    if (!member.ok) return null;
    const { nodeId, directoryId } = member.value;
    const told = this.#metadata?.image.controllers.get(nodeId);
    const [endpoint] = told?.directoryId === directoryId ? told.endpoints : [];
    return endpoint ?? this.#options.plan.controllers.get(nodeId) ?? null;
  }

  // --- A node without a vote --------------------------------------------------------------------------------------------

  #scheduleFollow(): void {
    this.#follow = this.#options.world.clock.schedule(followMs, () => {
      if (this.#isClosed) return;
      if (this.#metadata?.quorum.role.leader === null) this.#followed++;
      this.#chooseWhomToAsk();
      this.#scheduleFollow();
    });
  }

  #askAnother(): void {
    this.#followed++;
    this.#chooseWhomToAsk();
  }

  /** The leader, or while none is known one voter after the other: whoever leads sends to whom it hears of. */
  #chooseWhomToAsk(): void {
    const quorum = this.#metadata?.quorum;
    if (quorum === undefined || this.#isClosed) return;
    const { voters } = quorum.status;
    if (voters.includes(this.#own)) return this.#transport?.follow(null);
    const target = quorum.role.leader ?? this.#hint ?? voters[this.#followed % voters.length] ?? null;
    // A leader that was removed is told of its own lead until it hears of another.
    this.#transport?.follow(target === this.#own ? (voters[0] ?? null) : target);
  }

  // --- The active controller --------------------------------------------------------------------------------------------

  /** Requests through one channel wait for each other. */
  newChannel(purpose: string): ControllerChannel {
    const channel = new ControllerChannel({
      peers: this.#peers,
      clock: this.#options.world.clock,
      purpose,
      activeController: () => this.#activeController(),
    });
    this.#channels.push(channel);
    return channel;
  }

  newForwarder(): Forwarder {
    return new Forwarder({ channel: this.newChannel("forwarded"), clock: this.#options.world.clock });
  }

  #activeController(): ActiveController | null {
    const leader = this.#metadata?.quorum.role.leader ?? null;
    if (leader === null) return null;
    const address = this.#addressOf(leader);
    return address === null ? null : { nodeId: leader, address };
  }

  // --- Other brokers ----------------------------------------------------------------------------------------------------

  get interBroker(): InterBroker {
    return {
      leaderOf: (topic, partition) => {
        const leader = this.#metadata?.image.topic(topic)?.partitions[partition]?.leader ?? -1;
        return leader === -1 ? null : leader;
      },
      request: async (brokerId, api, message, { timeoutMs }) => {
        const address = this.#brokerAddress(brokerId);
        if (address === null) return failed("unreachable", `broker ${brokerId} is not known`);
        const connected = await this.#peers.to(brokerId, address, "coordinators");
        if (!connected.ok) return failed("unreachable", connected.message);
        const answered = await connected.value.request(api, message, { timeoutMs });
        return answered.ok ? ok(answered.value) : failed("unreachable", answered.message);
      },
    };
  }

  replicaLink(leader: number): ReplicaLink {
    let isClosed = false;
    return {
      fetch: async (request) => {
        const address = this.#brokerAddress(leader);
        if (address === null || isClosed) throw new Error(`broker ${leader} is not known`);
        const connected = await this.#peers.to(leader, address, "replication");
        if (!connected.ok) throw new Error(connected.message ?? connected.failure);
        const answered = await connected.value.request(fetch, request, { timeoutMs: fetchTimeoutMs });
        if (!answered.ok) throw new Error(answered.message ?? answered.failure);
        return answered.value;
      },
      close: () => {
        isClosed = true;
      },
    };
  }

  #brokerAddress(brokerId: number): Address | null {
    const broker = this.#metadata?.image.brokers.get(brokerId);
    const { interBrokerListener } = this.#options.plan;
    return broker?.endpoints.find(({ listener }) => listener === interBrokerListener) ?? null;
  }

  close(): void {
    this.#isClosed = true;
    this.#follow?.cancel();
    this.#transport?.close();
    for (const channel of this.#channels) channel.close();
    this.#peers.close();
  }
}
