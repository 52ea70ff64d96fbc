import { setTimeout as sleep } from "node:timers/promises";
import { ErrorCode, errorName } from "kafka-protocol-ts/errors";
import { metadata } from "kafka-protocol-ts/messages/03-metadata";
import { offsetCommit } from "kafka-protocol-ts/messages/08-offset-commit";
import { offsetFetch } from "kafka-protocol-ts/messages/09-offset-fetch";
import { findCoordinator } from "kafka-protocol-ts/messages/10-find-coordinator";
import { joinGroup } from "kafka-protocol-ts/messages/11-join-group";
import { heartbeat } from "kafka-protocol-ts/messages/12-heartbeat";
import { syncGroup } from "kafka-protocol-ts/messages/14-sync-group";
import { describeGroups } from "kafka-protocol-ts/messages/15-describe-groups";
import { listGroups } from "kafka-protocol-ts/messages/16-list-groups";
import { createTopics } from "kafka-protocol-ts/messages/19-create-topics";
import { deleteGroups } from "kafka-protocol-ts/messages/42-delete-groups";
import { consumerGroupHeartbeat } from "kafka-protocol-ts/messages/68-consumer-group-heartbeat";
import type { ConsumerGroupHeartbeatRequestInput } from "kafka-protocol-ts/messages/68-consumer-group-heartbeat";
import { consumerGroupDescribe } from "kafka-protocol-ts/messages/69-consumer-group-describe";
import { RawClient } from "../../journeys/raw-client.ts";

const retried: ReadonlySet<number> = new Set([
  ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
  ErrorCode.COORDINATOR_NOT_AVAILABLE,
  ErrorCode.NOT_COORDINATOR,
]);

type Partitions = readonly { readonly topicId: string; readonly partitions: readonly number[] }[];

/** Asks a broker by raw requests and writes each answer as a line, without what differs from run to run. */
export class GroupAsker implements AsyncDisposable {
  readonly lines: string[] = [];
  readonly #client: RawClient;
  /** What stands for itself in the lines: ids that the broker made. */
  readonly #names = new Map<string, string>();
  readonly topicIds = new Map<string, string>();

  private constructor(client: RawClient) {
    this.#client = client;
  }

  static async connect(port: number): Promise<GroupAsker> {
    const client = await RawClient.connect({ host: "127.0.0.1", port });
    const asker = new GroupAsker(client);
    await asker.#coordinatorIsThere();
    return asker;
  }

  title(text: string): void {
    this.lines.push("", `# ${text}`);
  }

  /** Made, and led. */
  async createTopic(name: string, numPartitions: number): Promise<void> {
    const topics = [{ name, numPartitions, replicationFactor: 1, assignments: [], configs: [] }];
    const created = await this.#client.request(createTopics, 7, { topics, timeoutMs: 30_000 });
    const topicId = created.topics[0]?.topicId ?? "";
    this.topicIds.set(name, topicId);
    this.#names.set(topicId, name);
    for (;;) {
      const known = await this.#client.request(metadata, 12, { topics: [{ name, topicId: "AAAAAAAAAAAAAAAAAAAAAA" }] });
      if (known.topics[0]?.errorCode === ErrorCode.NONE && known.topics[0].partitions.length === numPartitions) return;
      await sleep(50);
    }
  }

  /** ConsumerGroupHeartbeat. `owned` by topic name. */
  async beat(
    groupId: string,
    memberId: string,
    memberEpoch: number,
    {
      owned,
      ...request
    }: Partial<ConsumerGroupHeartbeatRequestInput> & {
      readonly owned?: Readonly<Record<string, readonly number[]>>;
    } = {},
    version = 1,
  ): Promise<void> {
    const topicPartitions =
      owned === undefined
        ? {}
        : {
            topicPartitions: Object.entries(owned).map(([name, partitions]) => ({
              topicId: this.topicIds.get(name) ?? "",
              partitions,
            })),
          };
    const answer = await this.#client.request(consumerGroupHeartbeat, version, {
      groupId,
      memberId,
      memberEpoch,
      ...topicPartitions,
      ...request,
    });
    const assignment = answer.assignment === null ? "" : `, has ${this.#partitions(answer.assignment.topicPartitions)}`;
    const isOwn = answer.memberId === memberId ? "" : ` as ${answer.memberId === null ? "nobody" : "somebody"}`;
    const interval = answer.heartbeatIntervalMs;
    const text =
      answer.errorCode === ErrorCode.NONE
        ? `epoch ${answer.memberEpoch}${isOwn}, every ${interval} ms${assignment}`
        : errorName(answer.errorCode);
    const said =
      Object.keys(request).length === 0 && owned === undefined
        ? ""
        : ` ${JSON.stringify({ ...request, ...(owned === undefined ? {} : { owned }) })}`;
    this.#say(`${groupId} ${memberId || "(no id)"} ${memberEpoch}${version === 1 ? "" : ` v${version}`}${said}`, text);
  }

  async describe(groupId: string): Promise<void> {
    const { groups } = await this.#client.request(consumerGroupDescribe, 1, {
      groupIds: [groupId],
      includeAuthorizedOperations: true,
    });
    const group = groups[0]!;
    const members = group.members
      .map((one) => {
        const { subscribedTopicNames, subscribedTopicRegex, assignment, targetAssignment, memberType } = one;
        const reads = JSON.stringify([subscribedTopicNames, subscribedTopicRegex]);
        const has = `${this.#partitions(assignment.topicPartitions)} of ${this.#partitions(targetAssignment.topicPartitions)}`;
        return `${this.#name(one.memberId)} ${one.instanceId} epoch ${one.memberEpoch} type ${memberType} reads ${reads} has ${has}`;
      })
      .sort();
    const head = `${errorName(group.errorCode)} ${group.groupState} ${group.groupEpoch}/${group.assignmentEpoch} ${group.assignorName} ${group.authorizedOperations}`;
    this.#say(`describe ${groupId}`, [head, ...members].join("; "));
  }

  async describeClassic(groupId: string, version: number): Promise<void> {
    const { groups } = await this.#client.request(describeGroups, version, {
      groups: [groupId],
      includeAuthorizedOperations: false,
    });
    const { errorCode, groupState, protocolType, protocolData, members } = groups[0]!;
    const text = members.map((one) => `${this.#name(one.memberId)} ${one.memberAssignment.toString("hex")}`).join("; ");
    this.#say(
      `describe classic ${groupId} v${version}`,
      `${errorName(errorCode)} ${groupState} "${protocolType}" "${protocolData}" ${text}`.trim(),
    );
  }

  async list(typesFilter: readonly string[]): Promise<void> {
    const { groups } = await this.#client.request(listGroups, 5, { statesFilter: [], typesFilter });
    const texts = groups.map((one) => `${one.groupId} ${one.protocolType} ${one.groupState} ${one.groupType}`).sort();
    this.#say(`list ${typesFilter.join(",")}`, texts.join("; "));
  }

  async commit(groupId: string, memberId: string, epoch: number, { partition = 0, version = 9 } = {}): Promise<void> {
    const partitions = [{ partitionIndex: partition, committedOffset: 1, committedMetadata: "" }];
    const topics = [{ name: "t", topicId: this.topicIds.get("t") ?? "", partitions }];
    const request = { groupId, memberId, generationIdOrMemberEpoch: epoch, topics };
    const answer = await this.#client.request(offsetCommit, version, request);
    const code = answer.topics[0]?.partitions[0]?.errorCode ?? ErrorCode.NONE;
    this.#say(`commit ${groupId} ${memberId || "(no id)"} ${epoch} t-${partition} v${version}`, errorName(code));
  }

  async fetch(groupId: string, memberId: string | null, memberEpoch: number): Promise<void> {
    const groups = [{ groupId, memberId, memberEpoch, topics: [{ name: "t", partitionIndexes: [0] }] }];
    const answer = await this.#client.request(offsetFetch, 9, { groups, requireStable: false });
    const group = answer.groups[0]!;
    const offset = group.topics[0]?.partitions[0]?.committedOffset;
    this.#say(
      `fetch ${groupId} ${memberId} ${memberEpoch}`,
      `${errorName(group.errorCode)}${offset === undefined ? "" : ` ${offset}`}`,
    );
  }

  async delete(groupId: string): Promise<void> {
    const { results } = await this.#client.request(deleteGroups, 2, { groupsNames: [groupId] });
    this.#say(`delete ${groupId}`, errorName(results[0]?.errorCode ?? 0));
  }

  /** JoinGroup; `memberId` a name that stands for the id which the broker gave, or empty. Gives the generation. */
  async join(
    groupId: string,
    name: string,
    { protocol = "range", type = "consumer", version = 9, metadata: bytes = subscription(["t"]) } = {},
  ): Promise<number> {
    const memberId = [...this.#names].find(([, known]) => known === name)?.[0] ?? "";
    const protocols = [{ name: protocol, metadata: bytes }];
    const request = {
      groupId,
      sessionTimeoutMs: 30_000,
      rebalanceTimeoutMs: 60_000,
      memberId,
      protocolType: type,
      protocols,
    };
    const answer = await this.#client.request(joinGroup, version, request);
    if (answer.memberId !== "") this.#names.set(answer.memberId, name);
    const leader = answer.leader === "" ? "nobody" : this.#name(answer.leader);
    this.#say(
      `join ${groupId} ${name} ${type} ${protocol} v${version}`,
      `${errorName(answer.errorCode)} generation ${answer.generationId} ${answer.protocolName} led by ${leader}, ${answer.members.length} members`,
    );
    return answer.generationId;
  }

  async sync(groupId: string, name: string, generationId: number): Promise<void> {
    const memberId = [...this.#names].find(([, known]) => known === name)?.[0] ?? "";
    const request = {
      groupId,
      generationId,
      memberId,
      protocolType: "consumer",
      protocolName: "range",
      assignments: [],
    };
    const answer = await this.#client.request(syncGroup, 5, request);
    this.#say(
      `sync ${groupId} ${name} ${generationId}`,
      `${errorName(answer.errorCode)} ${answer.protocolName} ${answer.assignment.toString("hex")}`,
    );
  }

  async heartbeat(groupId: string, name: string, generationId: number): Promise<void> {
    const memberId = [...this.#names].find(([, known]) => known === name)?.[0] ?? "";
    const answer = await this.#client.request(heartbeat, 4, { groupId, generationId, memberId });
    this.#say(`heartbeat ${groupId} ${name} ${generationId}`, errorName(answer.errorCode));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client[Symbol.asyncDispose]();
  }

  /** The first to ask for a coordinator makes the topic of offsets. */
  async #coordinatorIsThere(): Promise<void> {
    for (;;) {
      const found = await this.#client.request(findCoordinator, 4, { keyType: 0, coordinatorKeys: ["g"] });
      const described = await this.#client.request(consumerGroupDescribe, 1, {
        groupIds: ["g"],
        includeAuthorizedOperations: false,
      });
      const codes = [found.coordinators[0]?.errorCode ?? 0, described.groups[0]?.errorCode ?? 0];
      if (!codes.some((code) => retried.has(code))) return;
      await sleep(100);
    }
  }

  #say(asked: string, answered: string): void {
    this.lines.push(`${asked} -> ${answered}`);
  }

  #name(id: string): string {
    return this.#names.get(id) ?? id;
  }

  #partitions(all: Partitions): string {
    return (
      all
        .map(({ topicId, partitions }) => `${this.#name(topicId)}[${partitions.join(",")}]`)
        .sort()
        .join(" ") || "nothing"
    );
  }
}

/** Of the embedded consumer protocol, version 0. */
export function subscription(topics: readonly string[]): Buffer {
  const count = Buffer.from([0, 0, 0, 0, 0, topics.length]);
  const names = topics.map((topic) => Buffer.concat([Buffer.from([0, topic.length]), Buffer.from(topic)]));
  return Buffer.concat([count, ...names, Buffer.from([255, 255, 255, 255])]);
}
