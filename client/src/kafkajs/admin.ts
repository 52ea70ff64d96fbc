import { Admin as CoreAdmin } from "../admin/admin.ts";
import { askMetadata } from "../admin/routes.ts";
import { createAcls, deleteAcls, describeAcls } from "./admin-acls.ts";
import { alterConfigs, describeConfigs } from "./admin-configs.ts";
import { deleteGroups, fetchOffsets, listGroups, resetOffsets, setOffsets } from "./admin-groups.ts";
import {
  alterPartitionReassignments,
  createPartitions,
  createTopics,
  deleteTopicRecords,
  deleteTopics,
  fetchTopicMetadata,
  fetchTopicOffsets,
  fetchTopicOffsetsByTimestamp,
  listPartitionReassignments,
} from "./admin-topics.ts";
import type { AdminContext } from "./admin-topics.ts";
import type { Admin } from "./admin-types.ts";
import { asking } from "./asking.ts";
import type { AdminConfig } from "./config-types.ts";
import { adminEvents, Instrumentation } from "./events.ts";
import { describedGroups } from "./group-descriptions.ts";
import { Link } from "./link.ts";
import type { Shared } from "./link.ts";
import type { Logger } from "./logger.ts";

/** KafkaJS's admin, over the admin of this client. A call connects where `connect` was not called. */
export class FacadeAdmin implements Admin {
  readonly events: Admin["events"] = adminEvents;
  readonly #link: Link;
  readonly #logger: Logger;
  readonly #instrumentation: Instrumentation;

  constructor(shared: Shared, config: AdminConfig) {
    shared.warnings.unknownOptions("kafka.admin", config, ["retry"]);
    this.#logger = shared.logger.namespace("Admin");
    this.#instrumentation = new Instrumentation(adminEvents, { clock: shared.world.clock, logger: this.#logger });
    this.#link = new Link(shared, {
      retry: config.retry,
      metadataMaxAgeMs: 300_000,
      instrumentation: this.#instrumentation,
      events: adminEvents,
    });
  }

  async #context(): Promise<AdminContext> {
    const wire = await this.#link.connect();
    return { wire, core: new CoreAdmin(wire), retry: this.#link.retry };
  }

  // Programs take these out of the object: they are bound to it.

  readonly connect: Admin["connect"] = async () => {
    await this.#link.connect();
    this.#instrumentation.emit(adminEvents.CONNECT);
  };

  readonly disconnect: Admin["disconnect"] = async () => {
    await this.#link.disconnect();
    this.#instrumentation.emit(adminEvents.DISCONNECT);
  };

  readonly logger: Admin["logger"] = () => this.#logger;
  readonly on: Admin["on"] = (name, listener) => this.#instrumentation.on(name, listener);

  readonly createTopics: Admin["createTopics"] = async (options) => createTopics(await this.#context(), options);
  readonly deleteTopics: Admin["deleteTopics"] = async (options) => deleteTopics(await this.#context(), options);
  readonly createPartitions: Admin["createPartitions"] = async (options) =>
    createPartitions(await this.#context(), options);
  readonly fetchTopicMetadata: Admin["fetchTopicMetadata"] = async (options) =>
    fetchTopicMetadata(await this.#context(), options);
  readonly listTopics: Admin["listTopics"] = async () => {
    const { topics } = await this.fetchTopicMetadata();
    return topics.map(({ name }) => name);
  };
  readonly fetchTopicOffsets: Admin["fetchTopicOffsets"] = async (topic) =>
    fetchTopicOffsets(await this.#context(), topic);
  readonly fetchTopicOffsetsByTimestamp: Admin["fetchTopicOffsetsByTimestamp"] = async (topic, timestamp) =>
    fetchTopicOffsetsByTimestamp(await this.#context(), topic, timestamp);
  readonly deleteTopicRecords: Admin["deleteTopicRecords"] = async (options) =>
    deleteTopicRecords(await this.#context(), options);
  readonly alterPartitionReassignments: Admin["alterPartitionReassignments"] = async (options) =>
    alterPartitionReassignments(await this.#context(), options);
  readonly listPartitionReassignments: Admin["listPartitionReassignments"] = async (options) =>
    listPartitionReassignments(await this.#context(), options);

  readonly listGroups: Admin["listGroups"] = async () => listGroups(await this.#context());
  readonly deleteGroups: Admin["deleteGroups"] = async (groupIds) => deleteGroups(await this.#context(), groupIds);
  readonly describeGroups: Admin["describeGroups"] = async (groupIds) => {
    const { wire, retry } = await this.#context();
    return { groups: await describedGroups(wire, groupIds, retry) };
  };
  readonly fetchOffsets: Admin["fetchOffsets"] = async (options) => fetchOffsets(await this.#context(), options);
  readonly setOffsets: Admin["setOffsets"] = async (options) => setOffsets(await this.#context(), options);
  readonly resetOffsets: Admin["resetOffsets"] = async (options) => resetOffsets(await this.#context(), options);

  readonly describeConfigs: Admin["describeConfigs"] = async (configs) =>
    describeConfigs(await this.#context(), configs);
  readonly alterConfigs: Admin["alterConfigs"] = async (configs) => alterConfigs(await this.#context(), configs);

  readonly createAcls: Admin["createAcls"] = async (options) => createAcls(await this.#context(), options);
  readonly describeAcls: Admin["describeAcls"] = async (options) => describeAcls(await this.#context(), options);
  readonly deleteAcls: Admin["deleteAcls"] = async (options) => deleteAcls(await this.#context(), options);

  readonly describeCluster: Admin["describeCluster"] = async () => {
    const { wire, retry } = await this.#context();
    const answer = await asking(wire, retry, async () =>
      askMetadata(wire, await wire.any(), { topics: [], allowAutoTopicCreation: false }),
    );
    const { brokers, controllerId, clusterId } = answer;
    return {
      brokers: brokers.map(({ nodeId, host, port }) => ({ nodeId, host, port })),
      controller: controllerId === -1 ? null : controllerId,
      clusterId: clusterId ?? "",
    };
  };
}
