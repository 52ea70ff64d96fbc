import type { Logger } from "@millrace/base/logger";
import type { World } from "@millrace/base/world";
import { LogDirectories } from "@millrace/storage/log-directories";
import type { DirectoryReport } from "@millrace/storage/log-directories";
import type { BrokerConfigs } from "../config/broker-configs.ts";
import { MetadataService } from "../metadata/metadata.ts";
import type { MetadataOptions } from "../metadata/metadata.ts";
import type { Uuid } from "@millrace/storage/types";
import { checkpointIntervalMs, cleanerSettings, logDirectories } from "./settings.ts";
import { orRefuse } from "./start-error.ts";

export interface DataOptions {
  readonly world: World;
  readonly logger: Logger;
  readonly nodeId: number;
  /** Null: the disk says it, or a new cluster begins. */
  readonly identity: { readonly clusterId: string; readonly directoryId: Uuid } | null;
  /** They may change while the directories are open. */
  configs(): BrokerConfigs;
  fatal(error: unknown): void;
  /** Partitions of a log directory are not served any more. */
  onOffline(): void;
}

/** Takes hold of the log directories; which logs there are and how they are set the metadata says. */
export async function openLogDirectories(
  { world, logger, nodeId, identity, configs, fatal, onOffline }: DataOptions,
  undo: AsyncDisposableStack,
): Promise<LogDirectories> {
  const { clock, disk, random, workers } = world;
  const atStart = configs().broker;
  const logs = orRefuse(
    await LogDirectories.open({
      paths: logDirectories(atStart),
      cordoned: atStart["cordoned.log.dirs"],
      disk,
      clock,
      random,
      logger,
      clusterId: identity?.clusterId ?? null,
      directoryId: identity?.directoryId ?? null,
      nodeId,
      limits: {
        unsyncedBytesMax: atStart["millrace.unsynced.bytes.max"],
        journalBytes: atStart["millrace.journal.bytes"],
        retentionIntervalMs: atStart["log.retention.check.interval.ms"],
        checkpointIntervalMs: checkpointIntervalMs(atStart),
        highWatermarkIntervalMs: atStart["replica.high.watermark.checkpoint.interval.ms"],
        get producerExpirationMs() {
          return configs().broker["producer.id.expiration.ms"];
        },
      },
      areReplicated: true,
      onFailure: fatal,
      onOffline,
      scrub: () => ({
        bytesPerSecond: configs().broker["millrace.scrub.bytes.per.second"],
        intervalMs: configs().broker["millrace.scrub.interval.ms"],
      }),
      cleaner: { workers, settings: () => cleanerSettings(configs().broker) },
    }),
  );
  undo.defer(async () => logs.close());
  return logs;
}

/** @param giveUp is called with the reason where the metadata is damaged; when it settles there is something else to begin with. */
export async function openMetadata(
  { disk, clock, random }: World,
  {
    giveUp,
    ...options
  }: Omit<MetadataOptions, "disk" | "clock" | "random"> & { giveUp(reason: string): Promise<void> },
  undo: AsyncDisposableStack,
): Promise<MetadataService> {
  const open = () => MetadataService.open({ disk, clock, random, ...options });
  let opened = await open();
  if (!opened.ok && opened.failure === "corrupt") {
    await giveUp(opened.message ?? opened.failure);
    opened = await open();
  }
  const metadata = orRefuse(opened);
  undo.defer(async () => metadata.close());
  return metadata;
}

/** Opens the logs, as the metadata has them. */
export async function loadLogs(logs: LogDirectories, metadata: MetadataService, logger: Logger): Promise<void> {
  const loaded = orRefuse(await logs.load((topic) => metadata.configs.topic(topic)));
  for (const report of loaded) reportLoad(logger, report);
}

function reportLoad(logger: Logger, report: DirectoryReport): void {
  const { path, isClean, logsCount, replayedBytes, recoveredBytes, cutBytes, offline, unknown } = report;
  logger.info("logs loaded", { directory: path, logs: logsCount, isClean, replayedBytes, recoveredBytes, cutBytes });
  for (const each of offline) logger.error("a partition is offline", { ...each });
  for (const name of unknown)
    logger.warn("a name in a log directory is nobody's; it is left alone", { directory: path, name });
}
