import { consumerProtocolAssignment, consumerProtocolSubscription } from "kafka-protocol-ts/internal/consumer-protocol";
import { MalformedMessage } from "kafka-protocol-ts/malformed";
import { describeGroups } from "kafka-protocol-ts/messages/15-describe-groups";
import type { DescribeGroupsResponse } from "kafka-protocol-ts/messages/15-describe-groups";
import { consumerGroupDescribe } from "kafka-protocol-ts/messages/69-consumer-group-describe";
import type { ConsumerGroupDescribeResponse } from "kafka-protocol-ts/messages/69-consumer-group-describe";
import { shareGroupDescribe } from "kafka-protocol-ts/messages/77-share-group-describe";
import type { ShareGroupDescribeResponse } from "kafka-protocol-ts/messages/77-share-group-describe";
import { streamsGroupDescribe } from "kafka-protocol-ts/messages/89-streams-group-describe";
import type { StreamsGroupDescribeResponse } from "kafka-protocol-ts/messages/89-streams-group-describe";
import { ByteReader } from "kafka-protocol-ts/reader";
import type { DataCodec } from "kafka-protocol-ts/api";
import { ErrorCode } from "kafka-protocol-ts/errors";
import type { BrokerConnection } from "../network/broker-connection.ts";
import type { TopicPartition } from "../topic-partition.ts";
import { aclOperations } from "./acl-words.ts";
import type { Reply } from "./calls.ts";
import { reply } from "./calls.ts";
import type {
  ClassicGroupDescription,
  ConsumerGroupDescription,
  GroupDescription,
  GroupType,
  ShareGroupDescription,
  StreamsAssignment,
  StreamsGroupDescription,
  StreamsMember,
  StreamsTask,
  StreamsTopology,
} from "./group-descriptions.ts";

type Classic = DescribeGroupsResponse["groups"][number];
type Consumer = ConsumerGroupDescribeResponse["groups"][number];
type Share = ShareGroupDescribeResponse["groups"][number];
type Streams = StreamsGroupDescribeResponse["groups"][number];
type StreamsMemberAnswer = Streams["members"][number];

interface Asking {
  readonly connection: BrokerConnection;
  readonly groupIds: readonly string[];
  readonly includeAuthorizedOperations: boolean;
}

type Described = Map<string, Reply<GroupDescription>>;

/** What a broker says of a group of another kind. */
const otherKindCodes: ReadonlySet<number> = new Set([ErrorCode.GROUP_ID_NOT_FOUND, ErrorCode.UNSUPPORTED_VERSION]);

/**
 * Nobody knows of which kind a group is without asking, and each kind has an API of its own: all that the broker serves
 * are asked at once, and the one that knows the group has the word.
 */
export async function describedGroups(
  asking: Asking,
  types: readonly GroupType[],
): Promise<readonly Reply<GroupDescription>[]> {
  const { connection, groupIds } = asking;
  const kinds = {
    consumer: [consumerGroupDescribe, consumers],
    share: [shareGroupDescribe, shares],
    streams: [streamsGroupDescribe, streams],
    classic: [describeGroups, classics],
  } as const;
  const wanted = (["consumer", "share", "streams", "classic"] as const).filter((type) => types.includes(type));
  const served = wanted.filter((type) => connection.serves(kinds[type][0]));
  // With none served, the one that was wanted says so.
  const asked = served.length > 0 ? served : wanted.slice(-1);
  const answers = await Promise.all(asked.map((type) => kinds[type][1](asking)));
  return groupIds.map((groupId): Reply<GroupDescription> => {
    const replies = answers.map((answer) => answer.get(groupId));
    const known = replies.find((each) => each?.ok === true);
    const failure = replies.find((each) => each?.ok === false && !otherKindCodes.has(each.errorCode));
    return known ?? failure ?? replies.at(-1);
  });
}

// --- One kind each ----------------------------------------------------------------------------------------------------

async function classics({ connection, groupIds, includeAuthorizedOperations }: Asking): Promise<Described> {
  const { groups } = await connection.request(describeGroups, (version) => ({
    groups: groupIds,
    ...(version >= 3 ? { includeAuthorizedOperations } : {}),
  }));
  return new Map(
    groups.map((group) => {
      // Before v6 an unknown group is a dead one, and no error (KIP-1043).
      const isUnknown = group.errorCode === ErrorCode.NONE && group.groupState === "Dead";
      const answer = isUnknown ? { ...group, errorCode: ErrorCode.GROUP_ID_NOT_FOUND } : group;
      return [group.groupId, reply(answer, () => classicOf(group, connection))];
    }),
  );
}

async function consumers({ connection, ...request }: Asking): Promise<Described> {
  const { groups } = await connection.request(consumerGroupDescribe, request);
  return new Map(groups.map((group) => [group.groupId, reply(group, () => consumerOf(group, connection))]));
}

async function shares({ connection, ...request }: Asking): Promise<Described> {
  const { groups } = await connection.request(shareGroupDescribe, request);
  return new Map(groups.map((group) => [group.groupId, reply(group, () => shareOf(group, connection))]));
}

async function streams({ connection, ...request }: Asking): Promise<Described> {
  const { groups } = await connection.request(streamsGroupDescribe, request);
  return new Map(groups.map((group) => [group.groupId, reply(group, () => streamsOf(group, connection))]));
}

function anyOf(
  group: { readonly groupId: string; readonly groupState: string; readonly authorizedOperations: number },
  connection: BrokerConnection,
) {
  return {
    groupId: group.groupId,
    state: group.groupState,
    coordinator: connection.name,
    authorizedOperations: aclOperations.set(group.authorizedOperations),
  };
}

function classicOf(group: Classic, connection: BrokerConnection): ClassicGroupDescription {
  const isOfConsumers = group.protocolType === "consumer";
  return {
    type: "classic",
    ...anyOf(group, connection),
    protocolType: group.protocolType,
    protocol: group.protocolData,
    members: group.members.map(({ memberId, groupInstanceId, clientId, clientHost, ...bytes }) => {
      const { memberMetadata, memberAssignment } = bytes;
      const subscription = isOfConsumers ? embedded(consumerProtocolSubscription, memberMetadata) : null;
      const assigned = isOfConsumers ? embedded(consumerProtocolAssignment, memberAssignment) : null;
      return {
        memberId,
        clientId,
        clientHost,
        instanceId: groupInstanceId,
        subscribedTopics: subscription?.topics ?? null,
        assignment: assigned === null ? null : flat(assigned.assignedPartitions, ({ topic }) => topic),
        metadataBytes: memberMetadata,
        assignmentBytes: memberAssignment,
      };
    }),
  };
}

function consumerOf(group: Consumer, connection: BrokerConnection): ConsumerGroupDescription {
  const protocols = new Map([
    [0, "classic"],
    [1, "consumer"],
  ] as const);
  return {
    type: "consumer",
    ...anyOf(group, connection),
    epoch: group.groupEpoch,
    assignmentEpoch: group.assignmentEpoch,
    assignor: group.assignorName,
    members: group.members.map((member) => ({
      memberId: member.memberId,
      clientId: member.clientId,
      clientHost: member.clientHost,
      instanceId: member.instanceId,
      rack: member.rackId,
      epoch: member.memberEpoch,
      subscribedTopics: member.subscribedTopicNames,
      subscribedPattern: member.subscribedTopicRegex === "" ? null : member.subscribedTopicRegex,
      assignment: flat(member.assignment.topicPartitions, ({ topicName }) => topicName),
      targetAssignment: flat(member.targetAssignment.topicPartitions, ({ topicName }) => topicName),
      protocol: protocols.get(member.memberType as 0 | 1) ?? "unknown",
    })),
  };
}

function shareOf(group: Share, connection: BrokerConnection): ShareGroupDescription {
  return {
    type: "share",
    ...anyOf(group, connection),
    epoch: group.groupEpoch,
    assignmentEpoch: group.assignmentEpoch,
    assignor: group.assignorName,
    members: group.members.map((member) => ({
      memberId: member.memberId,
      clientId: member.clientId,
      clientHost: member.clientHost,
      rack: member.rackId,
      epoch: member.memberEpoch,
      subscribedTopics: member.subscribedTopicNames,
      assignment: flat(member.assignment.topicPartitions, ({ topicName }) => topicName),
    })),
  };
}

function streamsOf(group: Streams, connection: BrokerConnection): StreamsGroupDescription {
  return {
    type: "streams",
    ...anyOf(group, connection),
    epoch: group.groupEpoch,
    assignmentEpoch: group.assignmentEpoch,
    topology: topologyOf(group.topology),
    members: group.members.map(streamsMemberOf),
  };
}

function topologyOf(topology: Streams["topology"]): StreamsTopology | null {
  if (topology === null) return null;
  type Topics = NonNullable<typeof topology.subtopologies>[number]["stateChangelogTopics"];
  const topicsOf = (topics: Topics) =>
    topics.map(({ name, partitions, replicationFactor, topicConfigs }) => ({
      name,
      partitionsCount: partitions,
      replicationFactor,
      config: new Map(topicConfigs.map(({ key, value }) => [key, value])),
    }));
  return {
    epoch: topology.epoch,
    subtopologies: (topology.subtopologies ?? []).map((sub) => ({
      subtopologyId: sub.subtopologyId,
      sourceTopics: sub.sourceTopics,
      repartitionSinkTopics: sub.repartitionSinkTopics,
      stateChangelogTopics: topicsOf(sub.stateChangelogTopics),
      repartitionSourceTopics: topicsOf(sub.repartitionSourceTopics),
    })),
  };
}

function streamsMemberOf(member: StreamsMemberAnswer): StreamsMember {
  return {
    memberId: member.memberId,
    clientId: member.clientId,
    clientHost: member.clientHost,
    instanceId: member.instanceId,
    rack: member.rackId,
    epoch: member.memberEpoch,
    topologyEpoch: member.topologyEpoch,
    processId: member.processId,
    endpoint: member.userEndpoint,
    clientTags: new Map(member.clientTags.map(({ key, value }) => [key, value])),
    taskOffsets: member.taskOffsets,
    taskEndOffsets: member.taskEndOffsets,
    assignment: tasksOf(member.assignment),
    targetAssignment: tasksOf(member.targetAssignment),
    isClassic: member.isClassic,
  };
}

function tasksOf({ activeTasks, standbyTasks, warmupTasks }: StreamsMemberAnswer["assignment"]): StreamsAssignment {
  const tasks = (of: typeof activeTasks): StreamsTask[] =>
    of.flatMap(({ subtopologyId, partitions }) => partitions.map((partition) => ({ subtopologyId, partition })));
  return { activeTasks: tasks(activeTasks), standbyTasks: tasks(standbyTasks), warmupTasks: tasks(warmupTasks) };
}

// --- Bytes ------------------------------------------------------------------------------------------------------------

function flat<Topic extends { readonly partitions: readonly number[] }>(
  topics: readonly Topic[],
  nameOf: (topic: Topic) => string,
): TopicPartition[] {
  return topics.flatMap((topic) => topic.partitions.map((partition) => ({ topic: nameOf(topic), partition })));
}

/** A version in front, then the message; newer versions only add at the end. Null: it is not such bytes. */
function embedded<Message>(codec: DataCodec<Message, never>, bytes: Buffer): Message | null {
  if (bytes.length < 2) return null;
  const reader = new ByteReader(bytes);
  try {
    return codec.read(reader, Math.min(Math.max(reader.int16(), codec.versions[0]), codec.versions[1]));
  } catch (error) {
    if (error instanceof MalformedMessage) return null;
    throw error;
  }
}
