import type { Logger } from "@millrace/base/logger";
import type { Clock, Random } from "@millrace/base/world";
import type { LogDirectories } from "@millrace/storage/log-directories";
import type { Handler } from "./apis/handler.ts";
import type { BrokerConfigs } from "./config/broker-configs.ts";
import type { RecentEvents } from "./coordinator/recent-events.ts";
import type { FetchSessions } from "./fetch/sessions.ts";
import type { GroupCoordinator } from "./groups/coordinator.ts";
import type { MetadataService } from "./metadata/metadata.ts";
import type { Partitions } from "./partitions/partitions.ts";
import type { ProducerRefusal } from "./partitions/producer-refusals.ts";
import type { ProducerIds } from "./producer-ids.ts";
import type { TransactionsHost } from "./transactions-host.ts";

/** What handlers work with. Built once by `startBroker`; nobody reaches around it. */
export interface Services {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly identity: BrokerIdentity;
  readonly configs: BrokerConfigs;
  readonly metadata: MetadataService;
  readonly logs: LogDirectories;
  readonly partitions: Partitions;
  readonly groups: GroupCoordinator;
  readonly transactions: TransactionsHost;
  readonly producerIds: ProducerIds;
  /** Batches that were refused because of their producers. */
  readonly producerRefusals: RecentEvents<ProducerRefusal>;
  readonly fetchSessions: FetchSessions;
  /** The handlers registered on a kind of listener: the ApiVersions answer comes from these. */
  handlersOf(kind: "broker" | "controller"): ReadonlyMap<number, Handler>;
}

export interface BrokerIdentity {
  readonly nodeId: number;
  readonly clusterId: string;
  readonly directoryId: string;
  readonly rack: string | null;
  /** Grows with each start of the process. */
  readonly brokerEpoch: number;
  /** Where clients of a listener are told to connect, by the listener's name. */
  readonly advertised: ReadonlyMap<string, { readonly host: string; readonly port: number }>;
}
