import type { Logger } from "@millrace/base/logger";
import type { Clock, Random } from "@millrace/base/world";
import type { LogDirectories } from "@millrace/storage/log-directories";
import type { RaftReceiver } from "./apis/10001-raft.ts";
import type { BoundHandler } from "./apis/handler.ts";
import type { BrokerConfigs } from "./config/broker-configs.ts";
import type { Controller } from "./controller/controller.ts";
import type { ControllerLink } from "./controller/controller-link.ts";
import type { RecentEvents } from "./coordinator/recent-events.ts";
import type { FetchSessions } from "./fetch/sessions.ts";
import type { GroupCoordinator } from "./groups/coordinator.ts";
import type { MetadataService } from "./metadata/metadata.ts";
import type { Partitions } from "./partitions/partitions.ts";
import type { ProducerRefusal } from "./partitions/producer-refusals.ts";
import type { ProducerIds } from "./producer-ids.ts";
import type { FormationAnswer } from "./quorum/formation.ts";
import type { TopicCreation } from "./topic-creation.ts";
import type { TransactionsHost } from "./transactions-host.ts";

/** What handlers of a node work with that is a controller, a broker, or both. */
export interface NodeServices {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly identity: NodeIdentity;
  readonly configs: BrokerConfigs;
  readonly metadata: MetadataService;
  readonly controller: Controller;
  /** Takes the messages of the controllers' quorum; null: this node is by itself. */
  readonly raft: RaftReceiver | null;
  /** For nodes that would found a cluster with this one, or join its. */
  formationAnswer(): FormationAnswer;
  /** What is served on a kind of listener: the ApiVersions answer comes from it. */
  handlersOf(kind: "broker" | "controller"): ReadonlyMap<number, BoundHandler>;
}

/** What handlers of a broker work with. Built once by `startBroker`; nobody reaches around it. */
export interface Services extends NodeServices {
  readonly identity: BrokerIdentity;
  readonly controllerLink: ControllerLink;
  readonly topicCreation: TopicCreation;
  readonly logs: LogDirectories;
  readonly partitions: Partitions;
  readonly groups: GroupCoordinator;
  readonly transactions: TransactionsHost;
  readonly producerIds: ProducerIds;
  /** Batches that were refused because of their producers. */
  readonly producerRefusals: RecentEvents<ProducerRefusal>;
  readonly fetchSessions: FetchSessions;
}

export interface NodeIdentity {
  readonly nodeId: number;
  readonly clusterId: string;
  readonly directoryId: string;
}

export interface BrokerIdentity extends NodeIdentity {
  readonly rack: string | null;
  /** Where clients of a listener are told to connect, by the listener's name. */
  readonly advertised: ReadonlyMap<string, { readonly host: string; readonly port: number }>;
}
