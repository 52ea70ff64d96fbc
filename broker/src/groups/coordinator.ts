import type { Logger } from "@millrace/base/logger";
import { ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { TimeMs } from "@millrace/base/units";
import type { Clock, Random } from "@millrace/base/world";
import { ErrorCode } from "kafka-protocol-ts/errors";
import type { OffsetCommitRequest, OffsetCommitResponseInput } from "kafka-protocol-ts/messages/08-offset-commit";
import type {
  OffsetFetchRequest,
  OffsetFetchRequestGroup,
  OffsetFetchResponseGroupInput,
  OffsetFetchResponseInput,
} from "kafka-protocol-ts/messages/09-offset-fetch";
import type { JoinGroupRequest, JoinGroupResponseInput } from "kafka-protocol-ts/messages/11-join-group";
import type { HeartbeatRequest, HeartbeatResponseInput } from "kafka-protocol-ts/messages/12-heartbeat";
import type { LeaveGroupRequest, LeaveGroupResponseInput } from "kafka-protocol-ts/messages/13-leave-group";
import type { SyncGroupRequest, SyncGroupResponseInput } from "kafka-protocol-ts/messages/14-sync-group";
import type {
  DescribeGroupsRequest,
  DescribeGroupsResponseDescribedGroupInput,
  DescribeGroupsResponseInput,
} from "kafka-protocol-ts/messages/15-describe-groups";
import type { ListGroupsRequest, ListGroupsResponseInput } from "kafka-protocol-ts/messages/16-list-groups";
import type {
  TxnOffsetCommitRequest,
  TxnOffsetCommitResponseInput,
} from "kafka-protocol-ts/messages/28-txn-offset-commit";
import type { DeleteGroupsRequest, DeleteGroupsResponseInput } from "kafka-protocol-ts/messages/42-delete-groups";
import type { OffsetDeleteRequest, OffsetDeleteResponseInput } from "kafka-protocol-ts/messages/47-offset-delete";
import type {
  ConsumerGroupHeartbeatRequest,
  ConsumerGroupHeartbeatResponseInput,
} from "kafka-protocol-ts/messages/68-consumer-group-heartbeat";
import type {
  ConsumerGroupDescribeRequest,
  ConsumerGroupDescribeResponseInput,
} from "kafka-protocol-ts/messages/69-consumer-group-describe";
import type { RequestContext } from "../apis/handler.ts";
import type { Ticket } from "../coordinator/machine.ts";
import { RecentEvents } from "../coordinator/recent-events.ts";
import type { RecentEvent } from "../coordinator/recent-events.ts";
import { CoordinatorRuntime } from "../coordinator/runtime.ts";
import type { CoordinatorFailure } from "../coordinator/shard.ts";
import type { MarkerAppendFailure, ShardLog, TransactionMarker } from "../coordinator/shard-log.ts";
import type {
  CommitAnswer,
  DeleteGroupsAnswer,
  DeleteOffsetsAnswer,
  DescribedGroup,
  FetchAnswer,
  HeartbeatAnswer,
  JoinAnswer,
  LeaveAnswer,
  ListedGroup,
  SyncAnswer,
} from "./answers.ts";
import type { ConsumerDescribeAnswer, ConsumerHeartbeatAnswer } from "./consumer/commands.ts";
import {
  consumerDescribeError,
  consumerDescribeResponse,
  consumerHeartbeatCommand,
  consumerHeartbeatError,
  consumerHeartbeatResponse,
} from "./consumer/messages.ts";
import type { GroupEvent } from "./events.ts";
import { codeOfCoordinatorFailure } from "./failures.ts";
import { GroupShard } from "./group-shard.ts";
import {
  codeOf,
  describeError,
  describeResponse,
  joinCommand,
  joinError,
  joinResponse,
  leaveCommand,
  leaveResponse,
  syncCommand,
  syncError,
  syncResponse,
} from "./messages.ts";
import {
  commitCommand,
  commitPlan,
  commitResponse,
  deletePlan,
  deleteResponse,
  fetchCommand,
  fetchedGroup,
  fetchError,
  fetchResponse,
  groupsToFetch,
  transactionalCommitCommand,
  transactionalCommitPlan,
} from "./offset-messages.ts";
import { partitionFor } from "../coordinator/partition-for.ts";
import type { GroupSettings } from "./settings.ts";
import { withTimes } from "./snapshot.ts";
import type { GroupSnapshot, SnapshotAnswer } from "./snapshot.ts";
import type { TopicLookup } from "./topic-lookup.ts";
import type { GroupDecision, GroupTypes } from "./types.ts";

export interface GroupCoordinatorOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly settings: GroupSettings;
  readonly topics: TopicLookup;
  /** Of __consumer_offsets, as it is or will be made (offsets.topic.num.partitions). */
  partitionCount(): number;
  /** A bug showed itself outside of any request. */
  fatal(error: unknown): void;
}

/** Many groups that commit offsets in the same turn share a batch; a few hundred records fit. */
const GATHERED_BYTES_MAX = 32 * 1024;

/** What the command lacks of a request: which ticket waits for it. */
type Decide<Answer> = (shard: GroupShard, ticket: Ticket<Answer>, nowMs: TimeMs) => GroupDecision;

/**
 * The group coordinator of this broker: for each API a method from request to response, over the shards of those
 * partitions of __consumer_offsets that are led here. It finds the shard and speaks the versions; the rules are the machine's.
 */
export class GroupCoordinator {
  readonly #options: GroupCoordinatorOptions;
  readonly #runtime: CoordinatorRuntime<GroupTypes, GroupShard>;
  readonly #recentEvents = new RecentEvents<GroupEvent>();

  constructor(options: GroupCoordinatorOptions) {
    this.#options = options;
    const { clock, logger, settings } = options;
    this.#runtime = new CoordinatorRuntime({
      name: "group",
      clock,
      logger,
      createMachine: () => new GroupShard(settings, options.topics),
      commitTimeoutMs: settings.commitTimeoutMs,
      gatheredBytesMax: GATHERED_BYTES_MAX,
      lingerMs: settings.appendLingerMs,
      observe: (partition, event) => this.#observe(partition, event),
      fatal: (error) => options.fatal(error),
    });
  }

  partitionFor(groupId: string): number {
    return partitionFor(groupId, this.#options.partitionCount());
  }

  /** This broker leads the partition now: its groups are loaded from the log. */
  onLeader(partition: number, log: ShardLog): void {
    this.#runtime.onLeader(partition, log);
  }

  /** The partition is led elsewhere now, or is gone. */
  onResigned(partition: number): void {
    this.#runtime.onResigned(partition);
  }

  onTopicsDeleted(topics: readonly string[]): void {
    const names = new Set(topics);
    this.#runtime.tellAll((shard) => shard.decideTopicsDeleted(names));
  }

  /** Topics came, went or got partitions: members of consumer groups may get others. */
  onTopicsChanged(): void {
    this.#runtime.tellAll((shard) => shard.decideTopicsChanged());
  }

  isActive(partition: number): boolean {
    return this.#runtime.isActive(partition);
  }

  /** Whoever waits is told that this is the coordinator no more. */
  close(): void {
    this.#runtime.close();
  }

  /** The latest events, oldest first: why a group rebalanced, who left it and why. */
  recentEvents(groupId: string): readonly RecentEvent<GroupEvent>[] {
    return this.#recentEvents.filter((event) => event.groupId === groupId);
  }

  async joinGroup(request: JoinGroupRequest, context: RequestContext): Promise<JoinGroupResponseInput> {
    const { version } = context;
    const { groupId, memberId, sessionTimeoutMs } = request;
    const { sessionTimeoutMinMs, sessionTimeoutMaxMs } = this.#options.settings;
    if (groupId === "") return joinError(ErrorCode.INVALID_GROUP_ID, memberId, version);
    const isTimeoutAllowed = sessionTimeoutMs >= sessionTimeoutMinMs && sessionTimeoutMs <= sessionTimeoutMaxMs;
    if (!isTimeoutAllowed) return joinError(ErrorCode.INVALID_SESSION_TIMEOUT, memberId, version);
    // Who has a member id needs no other.
    const memberUuid = memberId === "" ? randomUuid(this.#options.random) : "";
    const command = joinCommand(request, context, memberUuid);
    const answer = await this.#ask<JoinAnswer>(groupId, (shard, ticket, nowMs) =>
      shard.decideJoin({ ...command, ticket }, nowMs),
    );
    return answer.ok
      ? joinResponse(answer.value, version)
      : joinError(codeOfCoordinatorFailure[answer.failure], memberId, version);
  }

  async syncGroup(request: SyncGroupRequest, { version }: RequestContext): Promise<SyncGroupResponseInput> {
    if (request.groupId === "") return syncError(ErrorCode.INVALID_GROUP_ID);
    // KIP-559: from v5 on a member says which protocol it syncs with.
    const isProtocolSaid = request.protocolType !== null && request.protocolName !== null;
    if (version >= 5 && !isProtocolSaid) return syncError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL);
    const command = syncCommand(request);
    const answer = await this.#ask<SyncAnswer>(request.groupId, (shard, ticket, nowMs) =>
      shard.decideSync({ ...command, ticket }, nowMs),
    );
    return answer.ok ? syncResponse(answer.value) : syncError(codeOfCoordinatorFailure[answer.failure]);
  }

  async heartbeat(request: HeartbeatRequest): Promise<HeartbeatResponseInput> {
    const { groupId, memberId, generationId: generation, groupInstanceId: instanceId } = request;
    if (groupId === "") return { throttleTimeMs: 0, errorCode: ErrorCode.INVALID_GROUP_ID };
    const answer = await this.#ask<HeartbeatAnswer>(groupId, (shard, ticket, nowMs) =>
      shard.decideHeartbeat({ ticket, groupId, memberId, instanceId, generation }, nowMs),
    );
    if (answer.ok) return { throttleTimeMs: 0, errorCode: codeOf(answer.value.failure) };
    // While the group is being loaded its member can only be told to go on.
    const errorCode = answer.failure === "loading" ? ErrorCode.NONE : codeOfCoordinatorFailure[answer.failure];
    return { throttleTimeMs: 0, errorCode };
  }

  async leaveGroup(request: LeaveGroupRequest, { version }: RequestContext): Promise<LeaveGroupResponseInput> {
    if (request.groupId === "") return { throttleTimeMs: 0, errorCode: ErrorCode.INVALID_GROUP_ID };
    const command = leaveCommand(request, version);
    const answer = await this.#ask<LeaveAnswer>(request.groupId, (shard, ticket, nowMs) =>
      shard.decideLeave({ ...command, ticket }, nowMs),
    );
    if (answer.ok) return leaveResponse(answer.value, version);
    return { throttleTimeMs: 0, errorCode: codeOfCoordinatorFailure[answer.failure] };
  }

  async consumerGroupHeartbeat(
    request: ConsumerGroupHeartbeatRequest,
    context: RequestContext,
  ): Promise<ConsumerGroupHeartbeatResponseInput> {
    const { random, settings } = this.#options;
    if (!settings.consumer.isServed) return consumerHeartbeatError(ErrorCode.UNSUPPORTED_VERSION);
    const command = consumerHeartbeatCommand(request, context, {
      memberUuid: request.memberId === "" ? randomUuid(random) : "",
      settings,
    });
    if (!command.ok) return consumerHeartbeatResponse(command.failure);
    const answer = await this.#ask<ConsumerHeartbeatAnswer>(request.groupId, (shard, ticket, nowMs) =>
      shard.decideConsumerHeartbeat({ ...command.value, ticket }, nowMs),
    );
    return answer.ok
      ? consumerHeartbeatResponse(answer.value)
      : consumerHeartbeatError(codeOfCoordinatorFailure[answer.failure]);
  }

  async consumerGroupDescribe(request: ConsumerGroupDescribeRequest): Promise<ConsumerGroupDescribeResponseInput> {
    const { topics, settings } = this.#options;
    const withOperations = request.includeAuthorizedOperations;
    const groups = await Promise.all(
      request.groupIds.map(async (groupId) => {
        if (!settings.consumer.isServed) return consumerDescribeError(groupId, ErrorCode.UNSUPPORTED_VERSION);
        if (groupId === "") return consumerDescribeError(groupId, ErrorCode.INVALID_GROUP_ID);
        const answer = await this.#ask<ConsumerDescribeAnswer>(groupId, (shard, ticket) =>
          shard.decideConsumerDescribe({ ticket, groupId }),
        );
        if (!answer.ok) return consumerDescribeError(groupId, codeOfCoordinatorFailure[answer.failure]);
        const { value } = answer;
        return value.failure === null
          ? consumerDescribeResponse(value.group, { topics, withOperations })
          : consumerDescribeError(groupId, codeOf(value.failure), value.message);
      }),
    );
    return { throttleTimeMs: 0, groups };
  }

  /** Not an async function: there are tens of thousands a second, and each would set a frame aside besides its promise. */
  offsetCommit(request: OffsetCommitRequest, { version }: RequestContext): Promise<OffsetCommitResponseInput> {
    const plan = commitPlan(request.topics, version, this.#options.topics);
    if (plan.offsets.length === 0) return Promise.resolve(commitResponse(request, plan, ErrorCode.NONE));
    return this.#ask<CommitAnswer>(request.groupId, (shard, ticket, nowMs) =>
      shard.decideCommit(commitCommand(request, version, plan, ticket), nowMs),
    ).then((answer) => commitResponse(request, plan, answer.ok ? answer.value : commitFailureCode(answer.failure)));
  }

  /**
   * The transaction coordinator has agreed that the group's partition belongs to the producer's transaction; `guard` was taken from
   * that partition before it was asked.
   */
  async txnOffsetCommit(request: TxnOffsetCommitRequest, guard: unknown): Promise<TxnOffsetCommitResponseInput> {
    const { producerId, producerEpoch } = request;
    const plan = transactionalCommitPlan(request, this.#options.topics);
    if (plan.offsets.length === 0) return commitResponse(request, plan, ErrorCode.NONE);
    const producer = { producerId, producerEpoch, guard };
    const answer = await this.#ask<CommitAnswer>(request.groupId, (shard, ticket, nowMs) =>
      shard.decideCommit(transactionalCommitCommand(request, producer, plan, ticket), nowMs),
    );
    return commitResponse(request, plan, answer.ok ? answer.value : commitFailureCode(answer.failure));
  }

  /** A transaction with offsets in this partition of __consumer_offsets has ended. */
  endTransaction(
    partition: number,
    marker: TransactionMarker,
  ): Promise<Result<void, CoordinatorFailure | MarkerAppendFailure>> {
    return this.#runtime.endTransaction(partition, marker);
  }

  async offsetFetch(request: OffsetFetchRequest, { version }: RequestContext): Promise<OffsetFetchResponseInput> {
    const groups = groupsToFetch(request, version);
    const fetched = await Promise.all(groups.map((group) => this.#fetchOne(group, version, request.requireStable)));
    return fetchResponse(fetched, version);
  }

  async #fetchOne(
    group: OffsetFetchRequestGroup,
    version: number,
    isStableRequired: boolean,
  ): Promise<OffsetFetchResponseGroupInput> {
    const { topics } = this.#options;
    const command = fetchCommand(group, { version, isStableRequired, topics });
    const answer = await this.#ask<FetchAnswer>(group.groupId, (shard, ticket) =>
      shard.decideFetch({ ...command, ticket }),
    );
    if (answer.ok) return fetchedGroup(group, answer.value, { version, topics });
    return fetchError(group, codeOfCoordinatorFailure[answer.failure], version);
  }

  async offsetDelete(request: OffsetDeleteRequest): Promise<OffsetDeleteResponseInput> {
    const plan = deletePlan(request, this.#options.topics);
    if (request.groupId === "") return deleteResponse(request, plan, ErrorCode.INVALID_GROUP_ID);
    const isAllRefused = plan.command.partitions.length === 0;
    if (isAllRefused) return deleteResponse(request, plan, { failure: null, partitions: [] });
    const answer = await this.#ask<DeleteOffsetsAnswer>(request.groupId, (shard, ticket) =>
      shard.decideDeleteOffsets({ ...plan.command, ticket }),
    );
    return deleteResponse(request, plan, answer.ok ? answer.value : codeOfCoordinatorFailure[answer.failure]);
  }

  async deleteGroups(request: DeleteGroupsRequest): Promise<DeleteGroupsResponseInput> {
    const results = await Promise.all(
      request.groupsNames.map(async (groupId) => {
        const answer = await this.#ask<DeleteGroupsAnswer>(groupId, (shard, ticket) =>
          shard.decideDeleteGroups({ ticket, groupIds: [groupId] }),
        );
        const errorCode = answer.ok
          ? codeOf(answer.value.groups[0]?.failure ?? null)
          : codeOfCoordinatorFailure[answer.failure];
        return { groupId, errorCode };
      }),
    );
    return { throttleTimeMs: 0, results };
  }

  /** All groups coordinated here. One shard that is not ready makes the list incomplete, so there is none. */
  async listGroups(request: ListGroupsRequest): Promise<ListGroupsResponseInput> {
    const { statesFilter: states, typesFilter: types } = request;
    const answers = await Promise.all(
      this.#runtime.partitions.map((partition) =>
        this.#runtime.ask<readonly ListedGroup[]>(partition, (shard, ticket) =>
          shard.decideList({ ticket, states, types }),
        ),
      ),
    );
    const groups: ListedGroup[] = [];
    for (const answer of answers) {
      if (answer.ok) groups.push(...answer.value);
      else if (answer.failure !== "not-coordinator") {
        return { throttleTimeMs: 0, errorCode: codeOfCoordinatorFailure[answer.failure], groups: [] };
      }
    }
    const listed = groups.map(({ groupId, protocolType, state, type }) => ({
      groupId,
      protocolType,
      groupState: state,
      groupType: type,
    }));
    return { throttleTimeMs: 0, errorCode: ErrorCode.NONE, groups: listed };
  }

  async describeGroups(
    request: DescribeGroupsRequest,
    { version }: RequestContext,
  ): Promise<DescribeGroupsResponseInput> {
    const withOperations = request.includeAuthorizedOperations;
    const groups = await Promise.all(
      request.groups.map(async (groupId): Promise<DescribeGroupsResponseDescribedGroupInput> => {
        const answer = await this.#ask<readonly DescribedGroup[]>(groupId, (shard, ticket) =>
          shard.decideDescribe({ ticket, groupIds: [groupId] }),
        );
        if (!answer.ok) return describeError(groupId, codeOfCoordinatorFailure[answer.failure]);
        const [group] = answer.value;
        return group === undefined
          ? describeError(groupId, ErrorCode.GROUP_ID_NOT_FOUND)
          : describeResponse(group, { version, withOperations });
      }),
    );
    return { throttleTimeMs: 0, groups };
  }

  /** All that tells why a group does not get on; null: there is no such group. */
  async snapshot(groupId: string): Promise<Result<GroupSnapshot | null, CoordinatorFailure>> {
    const answer = await this.#ask<SnapshotAnswer>(groupId, (shard, ticket) =>
      shard.decideSnapshot({ ticket, groupId }),
    );
    if (!answer.ok) return answer;
    const { snapshot } = answer.value;
    const partition = this.partitionFor(groupId);
    return ok(snapshot === null ? null : withTimes(snapshot, ({ id }) => this.#runtime.timerLeftMs(partition, id)));
  }

  #ask<Answer>(groupId: string, decide: Decide<Answer>): Promise<Result<Answer, CoordinatorFailure>> {
    return this.#runtime.ask<Answer>(this.partitionFor(groupId), decide);
  }

  #observe(partition: number, event: GroupEvent): void {
    // A client that commits with an old generation does it again and again.
    this.#recentEvents.add(this.#options.clock.now(), event, { isFrequent: event.kind === "commit-refused" });
    this.#options.logger.debug("group", { partition, event });
  }
}

function commitFailureCode(failure: CoordinatorFailure): ErrorCode {
  return failure === "too-large" ? ErrorCode.INVALID_COMMIT_OFFSET_SIZE : codeOfCoordinatorFailure[failure];
}

/** RFC 9562, version 4. */
function randomUuid(random: Random): string {
  const bytes = random.bytes(16);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = bytes.toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
