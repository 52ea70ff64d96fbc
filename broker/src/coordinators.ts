import { GroupsHost } from "./groups-host.ts";
import type { GroupsHostOptions } from "./groups-host.ts";
import type { InterBroker } from "./inter-broker.ts";
import type { MetadataDelta } from "./metadata/image.ts";
import type { ProducerIds } from "./producer-ids.ts";
import { TransactionsHost } from "./transactions-host.ts";

export interface CoordinatorsOptions extends GroupsHostOptions {
  readonly producerIds: ProducerIds;
  /** Default: this node is by itself. */
  readonly interBroker?: InterBroker;
}

/** Every kind of coordinator that this broker hosts, each upon the partitions of its internal topic that are led here. */
export class Coordinators {
  readonly groups: GroupsHost;
  readonly transactions: TransactionsHost;

  constructor(options: CoordinatorsOptions) {
    this.groups = new GroupsHost(options);
    this.transactions = new TransactionsHost({ ...options, groups: this.groups.coordinator });
  }

  /** After the partitions were opened. Groups first: markers go to them, too. */
  apply(delta: Pick<MetadataDelta, "changedTopics" | "deletedTopics">): void {
    this.groups.apply(delta);
    this.transactions.apply(delta);
  }

  /** A log directory has failed. */
  partitionsWentOffline(): void {
    this.groups.partitionsWentOffline();
    this.transactions.partitionsWentOffline();
  }

  /** Who waits is told to look for another coordinator: else they would be waited for. */
  close(): void {
    this.groups.coordinator.close();
    this.transactions.coordinator.close();
  }
}
