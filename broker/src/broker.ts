import type { Logger } from "@millrace/base/logger";
import type { Result } from "@millrace/base/result";
import type { Address, World } from "@millrace/base/world";
import { LogDirectories } from "@millrace/storage/log-directories";
import type { DirectoryReport } from "@millrace/storage/log-directories";
import type { CleanerSettings } from "@millrace/storage/cleaner/cleaner";
import { randomUuid } from "@millrace/storage/meta-properties";
import { brokerHandlers } from "./apis/registry.ts";
import type { Handler } from "./apis/handler.ts";
import { RecentEvents } from "./coordinator/recent-events.ts";
import { Coordinators } from "./coordinators.ts";
import { BrokerConfigs } from "./config/broker-configs.ts";
import type { BrokerConfig } from "./config/broker-keys.ts";
import { listenersOf } from "./config/listeners.ts";
import type { Listeners } from "./config/listeners.ts";
import type { Overrides } from "./config/resources.ts";
import { loadStaticConfig } from "./config/static-config.ts";
import type { ConfigSources } from "./config/static-config.ts";
import { FetchSessions } from "./fetch/sessions.ts";
import type { MetadataImage } from "./metadata/image.ts";
import { MetadataService } from "./metadata/metadata.ts";
import type { AdmissionLimits } from "./network/admission.ts";
import { FramePool } from "./network/frame-pool.ts";
import { Server } from "./network/server.ts";
import type { ServerLimits } from "./network/server.ts";
import { Partitions } from "./partitions/partitions.ts";
import { ProducerIds } from "./producer-ids.ts";
import type { Services } from "./services.ts";

export interface BrokerOptions extends Omit<ConfigSources, "set"> {
  /** Settings by their Kafka names; stronger than file and environment. */
  readonly config?: Readonly<Record<string, string>>;
  readonly world: World;
  readonly logger: Logger;
  /** A bug or a failed disk: the process should end. Default: the broker stops itself. */
  readonly onFatal?: (error: unknown) => void;
  /** Of requests. */
  readonly framePool?: FramePool;
}

/** Why a broker does not start; the message names the setting, file or port to look at. */
export class StartError extends Error {
  override readonly name = "StartError";
}

export interface Broker extends AsyncDisposable {
  /** Of the first client listener, as bound. */
  readonly address: { readonly host: string; readonly port: number };
  readonly clusterId: string;
  readonly nodeId: number;
  /** What is in flight is answered, everything is synced, and the next start finds a clean directory. */
  stop(): Promise<void>;
}

const defaultNodeId = 1;
const noOverrides: Overrides = { configVersion: 0, configsOf: () => new Map() };
const stopGraceMs = 5_000;
const sessionEvictionMs = 120_000;
const checkpointIntervalMsMin = 100;

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
  { world, logger, onFatal, framePool = new FramePool() }: BrokerOptions,
  texts: ReadonlyMap<string, string>,
  undo: AsyncDisposableStack,
): Promise<Broker> {
  const { clock, random, network, workers } = world;
  // Until the metadata is loaded only what was given at start counts.
  const nodeId = Number(texts.get("node.id") ?? defaultNodeId);
  const atStart = new BrokerConfigs({ nodeId, texts, overrides: noOverrides }).broker;
  const listeners = orRefuse(listenersOf(atStart));
  let stopping: Promise<void> | null = null;
  const stop = (): Promise<void> => (stopping ??= undo.disposeAsync());
  const fatal = (error: unknown): void => {
    logger.error("the broker stops: its own state can no longer be trusted", { error });
    if (onFatal === undefined) void stop();
    else onFatal(error);
  };

  const server = new Server({ network, clock, logger, framePool, limits: serverLimits(atStart) });
  undo.defer(async () => server.close(0));
  // Before the data directory is touched: a start that finds its port taken leaves everything as it was.
  const { address, advertised } = await bind(server, listeners);
  let onOffline = (): void => {};
  const data = await openData(
    { world, logger, texts, atStart, nodeId, advertised, fatal, onOffline: () => onOffline() },
    undo,
  );
  const { logs, metadata, brokerEpoch } = data;
  const { configs } = metadata;
  const partitions = new Partitions({ logs, configs, clock, workers, logger });
  const producerIds = new ProducerIds(metadata);
  const image = (): MetadataImage => metadata.image;
  const around = { clock, random, logger, configs, partitions, producerIds, image, fatal };
  const coordinators = new Coordinators(around);
  await partitions.start(metadata.image);
  coordinators.apply({ changedTopics: [...metadata.image.topics()], deletedTopics: [] });
  onOffline = () => coordinators.partitionsWentOffline();
  metadata.onChange(async (delta) => {
    await partitions.apply(delta);
    coordinators.apply(delta);
    if (delta.isBrokerReconfigured) server.admissionLimitsChanged();
  });

  const handlers = { broker: handlersByKey(brokerHandlers), controller: handlersByKey([]) };
  const services: Services = {
    clock,
    random,
    logger,
    identity: {
      nodeId,
      clusterId: logs.meta.clusterId,
      directoryId: logs.meta.directoryId,
      rack: atStart["broker.rack"],
      brokerEpoch,
      advertised,
    },
    configs,
    metadata,
    logs,
    partitions,
    groups: coordinators.groups.coordinator,
    transactions: coordinators.transactions,
    producerIds,
    producerRefusals: new RecentEvents(),
    fetchSessions: new FetchSessions({
      slotsMax: atStart["max.incremental.fetch.session.cache.slots"],
      evictionMs: sessionEvictionMs,
      random,
      monotonicMs: () => clock.monotonicMs(),
    }),
    handlersOf: (kind) => handlers[kind],
  };
  // Deferred last, so that it comes first: what is in flight still needs the logs.
  undo.defer(async () => {
    const closed = server.close(stopGraceMs);
    coordinators.close();
    await closed;
  });
  server.serve({ services, admissionLimits: () => admissionLimits(configs.broker), fatal });
  return {
    address,
    clusterId: logs.meta.clusterId,
    nodeId,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** Binds all listeners. Where port 0 was asked for, clients are told the port that it became. */
async function bind(
  server: Server,
  { listeners, advertised: wanted }: Listeners,
): Promise<{ readonly address: Address; readonly advertised: ReadonlyMap<string, Address> }> {
  const advertised = new Map(wanted);
  let address: Address | null = null;
  for (const listener of listeners) {
    const bound = await server.listen(listener);
    if (listener.kind !== "broker") continue;
    address ??= bound;
    const told = advertised.get(listener.name);
    if (told?.port === 0) advertised.set(listener.name, { ...told, port: bound.port });
  }
  if (address === null) throw new StartError("listeners names no listener for clients");
  return { address, advertised };
}

interface DataOptions {
  readonly world: World;
  readonly logger: Logger;
  readonly texts: ReadonlyMap<string, string>;
  readonly atStart: BrokerConfig;
  readonly nodeId: number;
  readonly advertised: ReadonlyMap<string, Address>;
  fatal(error: unknown): void;
  /** Partitions of a log directory are not served any more. */
  onOffline(): void;
}

/** Takes hold of the log directories: its metadata first, since that says which logs there are and how they are set. */
async function openData(
  { world, logger, texts, atStart, nodeId, advertised, fatal, onOffline }: DataOptions,
  undo: AsyncDisposableStack,
): Promise<{ readonly logs: LogDirectories; readonly metadata: MetadataService; readonly brokerEpoch: number }> {
  const { clock, disk, random, workers } = world;
  let configs = new BrokerConfigs({ nodeId, texts, overrides: noOverrides });
  const logs = orRefuse(
    await LogDirectories.open({
      paths: logDirectories(atStart),
      cordoned: atStart["cordoned.log.dirs"],
      disk,
      clock,
      random,
      logger,
      clusterId: null,
      nodeId,
      limits: {
        unsyncedBytesMax: atStart["millrace.unsynced.bytes.max"],
        journalBytes: atStart["millrace.journal.bytes"],
        retentionIntervalMs: atStart["log.retention.check.interval.ms"],
        checkpointIntervalMs: checkpointIntervalMs(atStart),
        // It may change while the directory is open.
        get producerExpirationMs() {
          return configs.broker["producer.id.expiration.ms"];
        },
      },
      onFailure: fatal,
      onOffline,
      scrub: () => ({
        bytesPerSecond: configs.broker["millrace.scrub.bytes.per.second"],
        intervalMs: configs.broker["millrace.scrub.interval.ms"],
      }),
      cleaner: { workers, settings: () => cleanerSettings(configs.broker) },
    }),
  );
  undo.defer(async () => logs.close());
  const metadata = orRefuse(
    await MetadataService.open({ disk, clock, random, logger, directory: logs.metadataPath, nodeId, texts, fatal }),
  );
  undo.defer(async () => metadata.close());
  configs = metadata.configs;
  const { brokerEpoch } = await metadata.registerBroker({
    id: nodeId,
    incarnationId: randomUuid(random),
    rack: atStart["broker.rack"],
    endpoints: [...advertised].map(([listener, { host, port }]) => ({ listener, host, port })),
  });
  const loaded = orRefuse(await logs.load((topic) => metadata.configs.topic(topic)));
  for (const report of loaded) reportLoad(logger, report);
  return { logs, metadata, brokerEpoch };
}

/** The value, or the reason why the broker does not start. */
function orRefuse<T>(result: Result<T, string>): T {
  if (result.ok) return result.value;
  throw new StartError(result.message ?? result.failure);
}

function handlersByKey(handlers: readonly Handler[]): ReadonlyMap<number, Handler> {
  return new Map(handlers.map((handler) => [handler.api.key, handler]));
}

function serverLimits(config: BrokerConfig): ServerLimits {
  const requestBytesMax = config["queued.max.request.bytes"];
  return {
    frameBytesMax: config["socket.request.max.bytes"],
    inFlightMax: config["millrace.connection.in.flight.requests.max"],
    inFlightBytesMax: config["millrace.connection.in.flight.bytes.max"],
    unsentBytesMax: config["millrace.connection.unsent.bytes.max"],
    waitingMax: config["socket.listen.backlog.size"],
    idleMsMax: config["connections.max.idle.ms"],
    requestBytesMax: requestBytesMax < 0 ? Number.MAX_SAFE_INTEGER : requestBytesMax,
    stallMs: config["millrace.request.stall.ms"],
  };
}

/** One checkpoint notes both; Kafka's 0, without a pause, would do nothing else. */
function checkpointIntervalMs(config: BrokerConfig): number {
  const ofOffsets = config["log.flush.offset.checkpoint.interval.ms"];
  const ofStarts = config["log.flush.start.offset.checkpoint.interval.ms"];
  return Math.max(checkpointIntervalMsMin, Math.min(ofOffsets, ofStarts));
}

function cleanerSettings(config: BrokerConfig): CleanerSettings {
  return {
    isEnabled: config["log.cleaner.enable"],
    threads: config["log.cleaner.threads"],
    dedupeBufferBytes: config["log.cleaner.dedupe.buffer.size"],
    loadFactor: config["log.cleaner.io.buffer.load.factor"],
    ioBufferBytes: config["log.cleaner.io.buffer.size"],
    bytesPerSecond: config["log.cleaner.io.max.bytes.per.second"],
    backoffMs: config["log.cleaner.backoff.ms"],
  };
}

function admissionLimits(config: BrokerConfig): AdmissionLimits {
  return {
    connectionsMax: config["max.connections"],
    connectionsPerHostMax: config["max.connections.per.ip"],
    connectionsPerSecondMax: config["max.connection.creation.rate"],
  };
}

function reportLoad(logger: Logger, report: DirectoryReport): void {
  const { path, isClean, logsCount, replayedBytes, recoveredBytes, cutBytes, offline, unknown } = report;
  logger.info("logs loaded", { directory: path, logs: logsCount, isClean, replayedBytes, recoveredBytes, cutBytes });
  for (const each of offline) logger.error("a partition is offline", { ...each });
  for (const name of unknown)
    logger.warn("a name in a log directory is nobody's; it is left alone", { directory: path, name });
}

function logDirectories(config: BrokerConfig): readonly string[] {
  const directories = config["log.dirs"] ?? config["log.dir"];
  return typeof directories === "string" ? [directories] : directories;
}
