/**
 * Fetch v4–v18: long poll, incremental sessions (KIP-227), whole batches (the first one even when it is larger than the
 * limits), read_committed up to the last stable offset. Records leave as slices of the segment file: nothing of them is read here.
 * From v11 on consumers may read from followers, and are told of one in their rack (KIP-392).
 * A follower (replicaId >= 0) gets all that is written, committed or not, and says how far it is: that moves the high watermark. Where it
 * has parted from this log it is told where (KIP-595), and what it says does not count.
 */
import { fetch } from "kafka-protocol-ts/messages/01-fetch";
import type { FetchRequest, FetchResponseInput } from "kafka-protocol-ts/messages/01-fetch";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { failed } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { LogRead, ReadFailure } from "@millrace/storage/log";
import type { Offset } from "@millrace/storage/types";
import { codeOfReadFailure } from "../failures.ts";
import type { FetchPartition, FetchScope } from "../fetch/sessions.ts";
import { parkUntilReadable } from "../fetch/purgatory.ts";
import { preferredReplica } from "../fetch/preferred-replica.ts";
import { parkReplica } from "../fetch/replica-parking.ts";
import type { Isolation, Partition } from "../partitions/partition.ts";
import type { Services } from "../services.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

type TopicAnswer = FetchResponseInput["responses"][number];
type PartitionAnswer = TopicAnswer["partitions"][number];

export const fetchHandler: Handler = handler(fetch, async (services, request, context): Promise<FetchResponseInput> => {
  const { metadata, fetchSessions, configs } = services;
  const scope = fetchSessions.begin(request, context.version, (id) => metadata.image.topicById(id)?.name ?? null);
  if (scope.kind === "error") return { throttleTimeMs: 0, errorCode: scope.errorCode, sessionId: 0, responses: [] };
  const follower = followerOf(request, context.version);
  const wanted: Wanted = {
    partitions: scope.partitions,
    maxBytes: follower === null ? Math.min(request.maxBytes, configs.broker["fetch.max.bytes"]) : request.maxBytes,
    isolation: request.isolationLevel === 1 ? "committed" : "uncommitted",
    version: context.version,
    follower,
    rackId: request.rackId,
  };
  const round =
    follower === null
      ? await readUntilEnough(services, wanted, request)
      : await readForFollower(services, wanted, follower, request);
  return respond(services, scope, round.reads, wanted);
});

/** Who fetches, where it is another broker. */
interface Follower {
  readonly brokerId: number;
  readonly brokerEpoch: number;
}

function followerOf({ replicaId, replicaState }: FetchRequest, version: number): Follower | null {
  if (version < 15) return replicaId < 0 ? null : { brokerId: replicaId, brokerEpoch: -1 };
  return replicaState.replicaId < 0
    ? null
    : { brokerId: replicaState.replicaId, brokerEpoch: replicaState.replicaEpoch };
}

interface Wanted {
  readonly partitions: readonly FetchPartition[];
  readonly maxBytes: number;
  readonly isolation: Isolation;
  readonly version: number;
  /** Null: a consumer. */
  readonly follower: Follower | null;
  readonly rackId: string;
}

/** What reading one partition came to: a slice that lies in the file, or a code. */
interface PartitionRead {
  readonly asked: FetchPartition;
  readonly partition: Partition | null;
  readonly errorCode: ErrorCode;
  readonly read: LogRead | null;
  readonly divergingEpoch: { readonly epoch: number; readonly endOffset: number } | null;
  /** Where else to read; -1: here. */
  readonly preferredReadReplica: number;
}

interface Round {
  readonly reads: readonly PartitionRead[];
  readonly sizeBytes: number;
  /** Something must be told at once, whatever minBytes says. */
  readonly isUrgent: boolean;
  /** How far the partitions could be read then, added up. */
  readonly writtenEnds: number;
  /** There is more for a follower, which has to wait for its share. */
  readonly isHeldBack: boolean;
}

/** Reads, and while that is too little waits for more until `maxWaitMs` are over. */
async function readUntilEnough(services: Services, wanted: Wanted, request: FetchRequest): Promise<Round> {
  const endMs = services.clock.monotonicMs() + request.maxWaitMs;
  for (;;) {
    // The watch is set before the read: what arrives between them wakes it.
    const find = (asked: FetchPartition): Result<Partition, ErrorCode> => locate(services, asked, wanted);
    const parked = request.maxWaitMs > 0 ? parkUntilReadable(services.clock, wanted.partitions, find, endMs) : null;
    const round = await readOnce(services, wanted);
    const isEnough = round.isUrgent || round.sizeBytes >= request.minBytes || wanted.partitions.length === 0;
    if (isEnough || parked === null || services.clock.monotonicMs() >= endMs) {
      parked?.cancel();
      return round;
    }
    for (const { read } of round.reads) read?.slice?.release();
    await parked.woken;
  }
}

/** As for a consumer; what the follower says of itself counts once, when it has come. */
async function readForFollower(
  services: Services,
  wanted: Wanted,
  { brokerId }: Follower,
  request: FetchRequest,
): Promise<Round> {
  const { clock } = services;
  const endMs = clock.monotonicMs() + request.maxWaitMs;
  let isNews = false;
  for (let round = await readOnce(services, wanted, true); ; round = await readOnce(services, wanted)) {
    const isEnough = round.isUrgent || round.sizeBytes >= request.minBytes || wanted.partitions.length === 0;
    if (isEnough || isNews || clock.monotonicMs() >= endMs) return round;
    for (const { read } of round.reads) read?.slice?.release();
    const partitions = round.reads.flatMap(({ partition }) => partition ?? []);
    const { expectedFollowers, leaderQuota } = services.partitions;
    const untilMs = round.isHeldBack ? Math.min(endMs, clock.monotonicMs() + leaderQuota.waitMs) : endMs;
    const parked = parkReplica({ clock, expectedFollowers }, partitions, brokerId, untilMs);
    // What was written between the read and the watch wakes nobody.
    if (sumOfEnds(partitions) === round.writtenEnds) isNews = (await parked.woken) === "news";
    else parked.cancel();
  }
}

/** Another one as soon as more can be read of one of them. */
function sumOfEnds(partitions: readonly Partition[]): number {
  let sum = 0;
  for (const { log } of partitions) sum += log.writtenOffset;
  return sum;
}

async function readOnce(services: Services, wanted: Wanted, isNoted = false): Promise<Round> {
  const { follower } = wanted;
  const reads: PartitionRead[] = [];
  let leftBytes = wanted.maxBytes;
  let sizeBytes = 0;
  let isUrgent = false;
  let writtenEnds = 0;
  let isHeldBack = false;
  for (const asked of wanted.partitions) {
    const found = locate(services, asked, wanted);
    if (!found.ok) {
      reads.push({ ...nothingRead, asked, partition: null, errorCode: found.failure });
      isUrgent = true;
      continue;
    }
    const partition = found.value;
    writtenEnds += partition.log.writtenOffset;
    const told = tellBeforeReading(services, partition, asked, wanted, isNoted);
    if (told !== null) {
      reads.push({ ...nothingRead, asked, partition, ...told });
      isUrgent = true;
      continue;
    }
    if (follower !== null && mustWait(services, partition, follower)) {
      reads.push({ ...nothingRead, asked, partition });
      isHeldBack = true;
      continue;
    }
    const limits = {
      sizeBytesMax: Math.max(0, Math.min(leftBytes, asked.partitionMaxBytes)),
      isolation: wanted.isolation,
      isWholeBatchGuaranteed: sizeBytes === 0,
    };
    const offset = asked.fetchOffset as Offset;
    const reading = follower === null ? partition.read(offset, limits) : partition.readForReplica(offset, limits);
    const result: Result<LogRead, ReadFailure> = reading instanceof Promise ? await reading : reading;
    if (!result.ok) {
      reads.push({ ...nothingRead, asked, partition, errorCode: codeOfReadFailure[result.failure] });
      isUrgent = true;
      continue;
    }
    const size = result.value.slice?.sizeBytes ?? 0;
    sizeBytes += size;
    leftBytes -= size;
    reads.push({
      asked,
      partition,
      errorCode: ErrorCode.NONE,
      read: result.value,
      divergingEpoch: null,
      preferredReadReplica: -1,
    });
  }
  return { reads, sizeBytes, isUrgent, writtenEnds, isHeldBack };
}

/** KIP-73: who is not in sync gets nothing of a throttled partition while too much was sent. */
function mustWait({ partitions }: Services, partition: Partition, { brokerId }: Follower): boolean {
  if (!partition.isThrottledAs("leader") || partitions.leaderQuota.waitMs === 0) return false;
  return partition.leadership?.isr.includes(brokerId) === false;
}

const nothingRead = { errorCode: ErrorCode.NONE, read: null, divergingEpoch: null, preferredReadReplica: -1 } as const;

/** What is to be told instead of records: where the logs part, an error, or another broker. Null: it is to be read. */
function tellBeforeReading(
  services: Services,
  partition: Partition,
  asked: FetchPartition,
  { follower, rackId, version }: Wanted,
  isNoted: boolean,
): Partial<Pick<PartitionRead, "errorCode" | "divergingEpoch" | "preferredReadReplica">> | null {
  const divergingEpoch = divergence(partition, asked);
  if (follower === null) {
    if (divergingEpoch !== null) return { divergingEpoch };
    if (rackId === "" || version < 11) return null;
    const preferred = preferredReplica(services, partition, rackId, asked.fetchOffset as Offset);
    return preferred === null ? null : { preferredReadReplica: preferred };
  }
  // As in Kafka: an epoch that nobody here has heard of cannot be gone back to.
  if (divergingEpoch !== null)
    return divergingEpoch.epoch < 0 ? { errorCode: ErrorCode.OFFSET_OUT_OF_RANGE } : { divergingEpoch };
  if (!isNoted || !isVouchedFor(partition, asked)) return null;
  const { fetchOffset: logEndOffset, flushedOffset, logStartOffset } = asked;
  const noted = partition.noteFetch({ ...follower, logEndOffset, flushedOffset, logStartOffset });
  if (noted === "stale") return { errorCode: ErrorCode.NOT_LEADER_OR_FOLLOWER };
  // It has heard of this before the leader has, or no longer belongs here.
  return noted === null ? { errorCode: ErrorCode.UNKNOWN_LEADER_EPOCH } : null;
}

/** Whether it is known that the follower's log agrees with this one up to where it fetches: in this epoch, and by its last record's. */
function isVouchedFor(
  { log, leaderEpoch }: Partition,
  { fetchOffset, lastFetchedEpoch, logStartOffset, currentLeaderEpoch }: FetchPartition,
): boolean {
  const isInRange = log.logStartOffset <= fetchOffset && fetchOffset <= log.logEndOffset;
  const isEmpty = fetchOffset === logStartOffset;
  return isInRange && currentLeaderEpoch === leaderEpoch && (lastFetchedEpoch >= 0 || isEmpty);
}

function locate(
  { partitions }: Services,
  asked: FetchPartition,
  { version, follower }: Wanted,
): Result<Partition, ErrorCode> {
  if (version >= 13 && asked.topic === null) return failed(ErrorCode.UNKNOWN_TOPIC_ID);
  const isFollowerRead = follower === null && version >= 11;
  const topic = asked.topic ?? "";
  const found = isFollowerRead
    ? partitions.readable(topic, asked.partition)
    : partitions.leading(topic, asked.partition);
  if (!found.ok) return found;
  // A session holds on to the name that an id once had; the topic may have been made anew since.
  const isAnother = version >= 13 && found.value.log.topicId !== asked.topicId;
  if (isAnother) return failed(ErrorCode.INCONSISTENT_TOPIC_ID);
  const epoch = found.value.checkLeaderEpoch(asked.currentLeaderEpoch);
  return epoch.ok ? found : failed(codeOfReadFailure[epoch.failure]);
}

/** KIP-595: the fetcher's last epoch ended earlier here than where it wants to go on. -1 does not ask. */
function divergence(partition: Partition, asked: FetchPartition): PartitionRead["divergingEpoch"] {
  if (asked.lastFetchedEpoch < 0) return null;
  const { epoch, endOffset } = partition.log.endOffsetForEpoch(asked.lastFetchedEpoch);
  return epoch < asked.lastFetchedEpoch || endOffset < asked.fetchOffset ? { epoch, endOffset } : null;
}

function respond(
  services: Services,
  scope: Exclude<FetchScope, { kind: "error" }>,
  reads: readonly PartitionRead[],
  { version, follower }: Wanted,
): FetchResponseInput {
  const byTopic = new Map<string, { topic: string; topicId: string; partitions: PartitionAnswer[] }>();
  for (const each of reads) {
    const answer = partitionAnswer(each, version, follower !== null);
    if (follower !== null) {
      const remote = each.partition?.leadership?.remote(follower.brokerId);
      if (remote !== undefined && answer.highWatermark >= 0) remote.toldHighWatermark = answer.highWatermark;
      const sentBytes = each.read?.slice?.sizeBytes ?? 0;
      const isCounted = sentBytes > 0 && each.partition?.isThrottledAs("leader") === true;
      if (isCounted) services.partitions.leaderQuota.record(sentBytes);
    }
    if (scope.sessionId !== 0) {
      const isNews = services.fetchSessions.mustTell(scope.sessionId, each.asked, {
        hasRecords: (each.read?.slice?.sizeBytes ?? 0) > 0 || each.preferredReadReplica >= 0,
        hasError: each.errorCode !== ErrorCode.NONE || each.divergingEpoch !== null,
        highWatermark: answer.highWatermark,
        logStartOffset: answer.logStartOffset ?? -1,
      });
      if (!isNews && scope.kind === "incremental") continue;
    }
    const { topic, topicId } = each.asked;
    const key = version >= 13 ? topicId : (topic ?? "");
    let ofTopic = byTopic.get(key);
    if (ofTopic === undefined) byTopic.set(key, (ofTopic = { topic: topic ?? "", topicId, partitions: [] }));
    ofTopic.partitions.push(answer);
  }
  return {
    throttleTimeMs: 0,
    errorCode: ErrorCode.NONE,
    sessionId: scope.sessionId,
    responses: [...byTopic.values()],
  };
}

function partitionAnswer(
  { asked, partition, errorCode, read, divergingEpoch, preferredReadReplica }: PartitionRead,
  version: number,
  isFollower: boolean,
): PartitionAnswer {
  const isKnown = partition !== null && errorCode === ErrorCode.NONE;
  return {
    partitionIndex: asked.partition,
    errorCode,
    highWatermark: isKnown ? partition.highWatermark : -1,
    lastStableOffset: isKnown ? partition.lastStableOffset : -1,
    // A follower that has fallen out of the log begins anew there.
    logStartOffset: isKnown || (isFollower && partition !== null) ? partition.logStartOffset : -1,
    abortedTransactions: read?.abortedTransactions ?? null,
    ...(divergingEpoch !== null && version >= 12 ? { divergingEpoch } : {}),
    ...(preferredReadReplica >= 0 ? { preferredReadReplica } : {}),
    records: read?.slice ?? emptyRecords,
  };
}

/** Kafka answers an empty set, never null: some clients do not expect null. */
const emptyRecords = Buffer.alloc(0);
