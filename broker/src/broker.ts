import { must } from "@millrace/base/assert";
import type { Logger } from "@millrace/base/logger";
import type { Address, World } from "@millrace/base/world";
import type { LogDirectories } from "@millrace/storage/log-directories";
import { randomUuid } from "@millrace/storage/meta-properties";
import type { Status } from "raft-ts-lite";
import { bindHandlers } from "./apis/handler.ts";
import type { BoundHandler } from "./apis/handler.ts";
import { brokerHandlers, controllerHandlers } from "./apis/registry.ts";
import { Controller } from "./controller/controller.ts";
import { ControllerLink } from "./controller/controller-link.ts";
import { IsrProposals } from "./controller/isr-proposals.ts";
import { RecentEvents } from "./coordinator/recent-events.ts";
import { Coordinators } from "./coordinators.ts";
import { BrokerConfigs } from "./config/broker-configs.ts";
import type { Listeners } from "./config/listeners.ts";
import type { Overrides } from "./config/resources.ts";
import { loadStaticConfig } from "./config/static-config.ts";
import type { ConfigSources } from "./config/static-config.ts";
import type { FaultHook } from "./faults/faults.ts";
import { withFaults } from "./faults/faults.ts";
import { FetchSessions } from "./fetch/sessions.ts";
import { BrokerLifecycle } from "./lifecycle.ts";
import { isActive } from "./metadata/controller/partition-changes.ts";
import type { MetadataImage } from "./metadata/image.ts";
import { FramePool } from "./network/frame-pool.ts";
import { Server } from "./network/server.ts";
import { Partitions } from "./partitions/partitions.ts";
import { ProducerIds } from "./producer-ids.ts";
import { VoterRegistration } from "./quorum/voter-registration.ts";
import { Replicas } from "./replication/replicas.ts";
import type { NodeServices, Services } from "./services.ts";
import { Cluster } from "./startup/cluster.ts";
import { loadLogs, openLogDirectories, openMetadata } from "./startup/data.ts";
import { lastEpoch, noteEpoch } from "./startup/last-epoch.ts";
import { controllerEndpoints, nodePlan } from "./startup/plan.ts";
import type { NodePlan } from "./startup/plan.ts";
import { admissionLimits, logDirectories, serverLimits } from "./startup/settings.ts";
import { orRefuse, StartError } from "./startup/start-error.ts";
import { TopicCreation } from "./topic-creation.ts";

export { StartError } from "./startup/start-error.ts";

export interface BrokerOptions extends Omit<ConfigSources, "set"> {
  /** Settings by their Kafka names; stronger than file and environment. */
  readonly config?: Readonly<Record<string, string>>;
  readonly world: World;
  readonly logger: Logger;
  /** A bug or a failed disk: the process should end. Default: the broker stops itself. */
  readonly onFatal?: (error: unknown) => void;
  /** Of requests. */
  readonly framePool?: FramePool;
  /** For tests of clients: asked of each request that comes to a listener, those of other nodes too, before it is handled. */
  readonly faults?: FaultHook;
}

export interface Broker extends AsyncDisposable {
  /** Of the first client listener, as bound; of a node that is only a controller, that of its listener. */
  readonly address: { readonly host: string; readonly port: number };
  readonly clusterId: string;
  readonly nodeId: number;
  /** What is in flight is answered, everything is synced, and the next start finds a clean directory. */
  stop(options?: StopOptions): Promise<void>;
}

export interface StopOptions {
  /**
   * What this broker leads is handed over before. False where there is nobody to take it, as when all nodes of a cluster stop and too few
   * are left to decide: it would be waited for in vain. Default true.
   */
  readonly isHandedOver?: boolean;
}

const defaultNodeId = 1;
const noOverrides: Overrides = { configVersion: 0, configsOf: () => new Map() };
const stopGraceMs = 5_000;
const sessionEvictionMs = 120_000;
const controllerTimeoutMs = 5_000;
/** As long as a service manager lets a process stop, and some. */
const shutdownTimeoutMs = 15_000;
const handOverTimeoutMs = 2_000;

/** Starts a broker in this process: settled when clients may connect. */
export async function startBroker(options: BrokerOptions): Promise<Broker> {
  const { logger, config = {}, file, environment } = options;
  const set = Object.entries(config).map(([key, value]) => `${key}=${value}`);
  const given = loadStaticConfig({
    set,
    ...(file === undefined ? {} : { file }),
    ...(environment === undefined ? {} : { environment }),
  });
  if (!given.ok) throw new StartError(given.message);
  for (const warning of given.value.warnings) logger.warn(warning);
  const undo = new AsyncDisposableStack();
  try {
    return await assemble(options, given.value.texts, undo);
  } catch (error) {
    await undo.disposeAsync();
    throw error;
  }
}

async function assemble(
  { world, logger, onFatal, faults, framePool = new FramePool() }: BrokerOptions,
  texts: ReadonlyMap<string, string>,
  undo: AsyncDisposableStack,
): Promise<Broker> {
  const { clock, network } = world;
  // Until the metadata is loaded only what was given at start counts.
  const nodeId = Number(texts.get("node.id") ?? defaultNodeId);
  const atStart = new BrokerConfigs({ nodeId, texts, overrides: noOverrides });
  const plan = orRefuse(nodePlan(nodeId, atStart.broker));
  let stopping: Promise<void> | null = null;
  let isHandedOver = true;
  const stop = (options: StopOptions = {}): Promise<void> => {
    if (stopping === null && options.isHandedOver === false) isHandedOver = false;
    return (stopping ??= undo.disposeAsync());
  };
  const fatal = (error: unknown): void => {
    logger.error("the broker stops: its own state can no longer be trusted", { error });
    if (onFatal === undefined) void stop();
    else onFatal(error);
  };
  const server = new Server({ network, clock, logger, framePool, limits: serverLimits(atStart.broker) });
  undo.defer(async () => server.close(0));
  // Before the data directory is touched: a start that finds its port taken leaves everything as it was.
  const { address, advertised } = await bind(server, plan.listeners);
  const mayHandOver = (): boolean => isHandedOver;
  const given = { world, logger, texts, atStart, plan, server, advertised, fatal, faults, mayHandOver };
  const node = await startNode(given, undo);
  if (plan.isBroker) await startBrokerRole(given, node, undo);
  return { address, clusterId: node.services.identity.clusterId, nodeId, stop, [Symbol.asyncDispose]: () => stop() };
}

interface Given {
  readonly world: World;
  readonly logger: Logger;
  readonly texts: ReadonlyMap<string, string>;
  readonly atStart: BrokerConfigs;
  readonly plan: NodePlan;
  readonly server: Server;
  readonly advertised: ReadonlyMap<string, Address>;
  fatal(error: unknown): void;
  /** See StopOptions. */
  mayHandOver(): boolean;
  readonly faults: FaultHook | undefined;
}

function served(
  { world, faults }: Given,
  handlers: ReadonlyMap<number, BoundHandler>,
): ReadonlyMap<number, BoundHandler> {
  return faults === undefined ? handlers : withFaults(handlers, faults, world.clock);
}

interface Node {
  readonly services: NodeServices;
  readonly logs: LogDirectories;
  readonly link: ControllerLink;
  /** Null: this node is by itself. */
  readonly cluster: Cluster | null;
  /** Set by what follows the partitions. */
  readonly onOffline: { call: () => void };
}

/** What every node is: one that follows the metadata, and decides where it is the active controller. */
async function startNode(given: Given, undo: AsyncDisposableStack): Promise<Node> {
  const { world, logger, texts, atStart, plan, server, fatal } = given;
  const { clock, random } = world;
  const { nodeId } = plan;
  let configs = atStart;
  const cluster = plan.isClustered ? new Cluster({ world, logger, plan, server, fatal }) : null;
  if (cluster !== null) {
    undo.defer(() => cluster.close());
    server.open(() => admissionLimits(configs.broker));
  }
  const [path = ""] = logDirectories(atStart.broker);
  const identity = cluster === null ? null : await cluster.identify(path);
  const onOffline = { call: (): void => {} };
  const logs = await openLogDirectories(
    { world, logger, nodeId, identity, configs: () => configs, fatal, onOffline: () => onOffline.call() },
    undo,
  );
  const { clusterId, directoryId } = logs.meta;
  const raft = cluster?.joinQuorum({ clusterId, directoryId }) ?? null;
  const toOthers = raft === null ? {} : { transport: raft };
  const directory = logs.metadataPath;
  const metadata = await openMetadata(
    world,
    {
      ...{ logger, directory, nodeId, directoryId, texts, fatal, ...toOthers },
      giveUp: async (reason) => cluster?.giveUpMetadata(directory, { clusterId, directoryId }, reason),
    },
    undo,
  );
  ({ configs } = metadata);
  const controller = new Controller({
    metadata,
    clusterId,
    clock,
    logger,
    isAlone: cluster === null,
    isBrokerGone: async (id) => cluster?.isBrokerGone(id) ?? false,
  });
  undo.defer(() => controller.close());
  const identityOfNode = { nodeId, clusterId, directoryId };
  const services: NodeServices = {
    clock,
    random,
    logger,
    identity: identityOfNode,
    configs,
    metadata,
    controller,
    raft,
    formationAnswer: () => ({ ...identityOfNode, voters: votersToTell(metadata.quorum.status) }),
    handlersOf: () => handlers,
  };
  const handlers = bindHandlers(services, controllerHandlers);
  cluster?.begin(metadata, controller);
  server.serve("controller", {
    handlers: served(given, handlers),
    fatal,
    onDisconnected: (id) => controller.connectionLost(id),
  });
  const link = new ControllerLink({
    clock,
    handlers,
    isHere: () => cluster === null || metadata.quorum.isActive,
    elsewhere:
      cluster === null
        ? null
        : {
            channel: cluster.newChannel("controller"),
            heartbeats: cluster.newChannel("heartbeats"),
            forwarder: cluster.newForwarder(),
          },
  });
  if (cluster !== null) {
    const endpoints = controllerEndpoints(plan);
    const registration = new VoterRegistration({ metadata, link, clock, clusterId, endpoints });
    undo.defer(() => registration.close());
  }
  return { services, logs, link, cluster, onOffline };
}

/** What is not committed yet may be taken back, and whoever begins with it would not hear of that. */
function votersToTell({ isRecovering, committedVoters }: Status): readonly string[] {
  return isRecovering ? [] : committedVoters;
}

/** Serves clients with the partitions that are here. */
async function startBrokerRole(given: Given, node: Node, undo: AsyncDisposableStack): Promise<void> {
  const { world, logger, atStart, plan, server, advertised, fatal, mayHandOver } = given;
  const { clock, random, disk } = world;
  const { logs, link, cluster, onOffline } = node;
  const { metadata, configs, identity } = node.services;
  const rack = atStart.broker["broker.rack"];
  // Without its metadata a broker does not know whether all was synced that it acknowledged.
  const isEpochKnown = !metadata.quorum.status.isRecovering;
  const previousBrokerEpoch = isEpochKnown ? await lastEpoch(disk, logs.metadataPath, metadata) : -1;
  const lifecycle = lifecycleOf(given, node, { rack, previousBrokerEpoch });
  undo.defer(async () => lifecycle.close());
  const brokerEpoch = await lifecycle.register();
  await metadata.whenAt(brokerEpoch);
  await loadLogs(logs, metadata, logger);
  const sender: Sender = () => ({ brokerId: plan.nodeId, brokerEpoch: lifecycle.brokerEpoch });
  const { partitions, replicas } = replicationOf(given, node, { lifecycle, sender }, undo);
  const producerIds = new ProducerIds(link, sender);
  const image = (): MetadataImage => metadata.image;
  const interBroker = cluster === null ? {} : { interBroker: cluster.interBroker };
  const around = { clock, random, logger, configs, partitions, producerIds, image, fatal };
  const coordinators = new Coordinators({ ...around, ...interBroker });
  // What changes meanwhile is followed behind it.
  const started = partitions.start(metadata.image).then(() => {
    const all = { changedTopics: [...metadata.image.topics()], deletedTopics: [] };
    replicas.apply(all);
    coordinators.apply(all);
  });
  metadata.onChange(async (delta) => {
    await started;
    await partitions.apply(delta);
    replicas.apply(delta);
    coordinators.apply(delta);
    lifecycle.metadataFollowed();
    if (delta.isBrokerReconfigured) server.admissionLimitsChanged();
  });
  await started;
  onOffline.call = () => coordinators.partitionsWentOffline();
  const services: Services = {
    ...node.services,
    identity: { ...identity, rack, advertised },
    controllerLink: link,
    topicCreation: new TopicCreation({ metadata, link }),
    logs,
    partitions,
    groups: coordinators.groups.coordinator,
    transactions: coordinators.transactions,
    producerIds,
    producerRefusals: new RecentEvents(),
    fetchSessions: new FetchSessions({
      slotsMax: atStart.broker["max.incremental.fetch.session.cache.slots"],
      evictionMs: sessionEvictionMs,
      random,
      monotonicMs: () => clock.monotonicMs(),
    }),
    handlersOf: (kind) => (kind === "broker" ? handlers : node.services.handlersOf(kind)),
  };
  const handlers = bindHandlers(services, brokerHandlers);
  // Deferred last, so that it comes first: what is in flight still needs the logs.
  undo.defer(async () => {
    const closed = server.close(stopGraceMs);
    coordinators.close();
    await closed;
  });
  server.serve("broker", { handlers: served(given, handlers), fatal });
  if (cluster === null) server.open(() => admissionLimits(configs.broker));
  else {
    // Others fetch from it before it leads anything, and it is in their way if it stops without a word.
    undo.defer(async () => {
      if (!mayHandOver()) return;
      await lifecycle.shutDown(shutdownTimeoutMs);
      await metadata.quorum.handOver(handOverTimeoutMs);
    });
    await lifecycle.live();
  }
}

type Sender = () => { readonly brokerId: number; readonly brokerEpoch: number };

/** The replicas that lie here, and what fetches for those that follow. */
function replicationOf(
  { world, logger, fatal }: Given,
  { services, logs, link, cluster }: Node,
  { lifecycle, sender }: { readonly lifecycle: BrokerLifecycle; readonly sender: Sender },
  undo: AsyncDisposableStack,
): { readonly partitions: Partitions; readonly replicas: Replicas } {
  const { clock, workers } = world;
  const { metadata, configs } = services;
  const isrChanges = new IsrProposals({ link, sender, timeoutMs: controllerTimeoutMs });
  const partitions = new Partitions({
    logs,
    configs,
    clock,
    workers,
    logger,
    peers: {
      isrChanges,
      brokerEpoch: () => lifecycle.brokerEpoch,
      eligibleEpoch: (id) => {
        const broker = metadata.image.brokers.get(id);
        return isActive(broker) ? (broker?.epoch ?? null) : null;
      },
    },
  });
  undo.defer(async () => partitions.close());
  const replicas = new Replicas({
    partitions,
    configs,
    clock,
    logger,
    brokerEpoch: () => lifecycle.brokerEpoch,
    connect: (leader) => must(cluster, "a cluster where others lead").replicaLink(leader),
    fatal,
  });
  undo.defer(() => replicas.close());
  return { partitions, replicas };
}

function lifecycleOf(
  { world, logger, atStart, plan, advertised }: Given,
  { services, logs, link, cluster }: Node,
  { rack, previousBrokerEpoch }: { readonly rack: string | null; readonly previousBrokerEpoch: number },
): BrokerLifecycle {
  const { metadata, identity } = services;
  const lifecycle = new BrokerLifecycle({
    link,
    clock: world.clock,
    logger,
    nodeId: plan.nodeId,
    clusterId: identity.clusterId,
    incarnationId: randomUuid(world.random),
    rack,
    endpoints: [...advertised].map(([listener, { host, port }]) => ({ listener, host, port })),
    directoryIds: logs.directoryIds,
    isAlone: cluster === null,
    previousBrokerEpoch,
    // A broker by itself has nobody who would have led meanwhile.
    onRegistered: async (epoch) => {
      if (cluster !== null) await noteEpoch(world.disk, logs.metadataPath, epoch);
    },
    heartbeatMs: atStart.broker["broker.heartbeat.interval.ms"],
    sessionMs: atStart.broker["broker.session.timeout.ms"],
    metadataOffset: () => metadata.followedOffset,
  });
  metadata.onRole(({ leader }) => {
    if (leader !== null) lifecycle.controllerChanged();
  });
  return lifecycle;
}

/** Binds all listeners. Where port 0 was asked for, clients are told the port that it became. */
async function bind(
  server: Server,
  { listeners, advertised: wanted }: Listeners,
): Promise<{ readonly address: Address; readonly advertised: ReadonlyMap<string, Address> }> {
  const advertised = new Map(wanted);
  let address: Address | null = null;
  let first: Address | null = null;
  for (const listener of listeners) {
    const bound = await server.listen(listener);
    first ??= bound;
    if (listener.kind !== "broker") continue;
    address ??= bound;
    const told = advertised.get(listener.name);
    if (told?.port === 0) advertised.set(listener.name, { ...told, port: bound.port });
  }
  address ??= first;
  if (address === null) throw new StartError("listeners names no listener");
  return { address, advertised };
}
