/**
 * Fetch v4–v18: long poll, incremental sessions (KIP-227), whole batches (the first one even when it is larger than the
 * limits), read_committed up to the last stable offset. Records leave as slices of the segment file: nothing of them is read here.
 * Replica fetches (replicaId >= 0) are served as a consumer's until this broker has followers.
 */
import { fetch } from "kafka-protocol-ts/messages/01-fetch";
import type { FetchRequest, FetchResponseInput } from "kafka-protocol-ts/messages/01-fetch";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { failed } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { LogRead, ReadFailure } from "@millrace/storage/log";
import { codeOfReadFailure } from "../failures.ts";
import type { FetchPartition, FetchScope } from "../fetch/sessions.ts";
import { parkUntilReadable } from "../fetch/purgatory.ts";
import type { Isolation, Partition } from "../partitions/partition.ts";
import type { Services } from "../services.ts";
import { handler } from "./handler.ts";
import type { Handler, RequestContext } from "./handler.ts";

type TopicAnswer = FetchResponseInput["responses"][number];
type PartitionAnswer = TopicAnswer["partitions"][number];

export const fetchHandler: Handler = handler(fetch, async (services, request, context): Promise<FetchResponseInput> => {
  const { metadata, fetchSessions, configs } = services;
  const scope = fetchSessions.begin(request, context.version, (id) => metadata.image.topicById(id)?.name ?? null);
  if (scope.kind === "error") return { throttleTimeMs: 0, errorCode: scope.errorCode, sessionId: 0, responses: [] };
  const wanted: Wanted = {
    partitions: scope.partitions,
    maxBytes: Math.min(request.maxBytes, configs.broker["fetch.max.bytes"]),
    isolation: request.isolationLevel === 1 ? "committed" : "uncommitted",
    version: context.version,
  };
  const round = await readUntilEnough(services, wanted, request);
  return respond(services, scope, round.reads, context);
});

interface Wanted {
  readonly partitions: readonly FetchPartition[];
  readonly maxBytes: number;
  readonly isolation: Isolation;
  readonly version: number;
}

/** What reading one partition came to: a slice that lies in the file, or a code. */
interface PartitionRead {
  readonly asked: FetchPartition;
  readonly partition: Partition | null;
  readonly errorCode: ErrorCode;
  readonly read: LogRead | null;
  readonly divergingEpoch: { readonly epoch: number; readonly endOffset: number } | null;
}

interface Round {
  readonly reads: readonly PartitionRead[];
  readonly sizeBytes: number;
  /** Something must be told at once, whatever minBytes says. */
  readonly isUrgent: boolean;
}

/** Reads, and while that is too little waits for more until `maxWaitMs` are over. */
async function readUntilEnough(services: Services, wanted: Wanted, request: FetchRequest): Promise<Round> {
  const endMs = services.clock.monotonicMs() + request.maxWaitMs;
  for (;;) {
    // The watch is set before the read: what arrives between them wakes it.
    const parked = request.maxWaitMs > 0 ? parkUntilReadable(services, wanted.partitions, endMs) : null;
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

async function readOnce(services: Services, wanted: Wanted): Promise<Round> {
  const reads: PartitionRead[] = [];
  let leftBytes = wanted.maxBytes;
  let sizeBytes = 0;
  let isUrgent = false;
  for (const asked of wanted.partitions) {
    const found = locate(services, asked, wanted.version);
    if (!found.ok) {
      reads.push({ asked, partition: null, errorCode: found.failure, read: null, divergingEpoch: null });
      isUrgent = true;
      continue;
    }
    const partition = found.value;
    const divergingEpoch = divergence(partition, asked);
    if (divergingEpoch !== null) {
      reads.push({ asked, partition, errorCode: ErrorCode.NONE, read: null, divergingEpoch });
      isUrgent = true;
      continue;
    }
    const reading = partition.read(asked.fetchOffset as Parameters<Partition["read"]>[0], {
      sizeBytesMax: Math.max(0, Math.min(leftBytes, asked.partitionMaxBytes)),
      isolation: wanted.isolation,
      isWholeBatchGuaranteed: sizeBytes === 0,
    });
    const result: Result<LogRead, ReadFailure> = reading instanceof Promise ? await reading : reading;
    if (!result.ok) {
      const errorCode = codeOfReadFailure[result.failure];
      reads.push({ asked, partition, errorCode, read: null, divergingEpoch: null });
      isUrgent = true;
      continue;
    }
    const size = result.value.slice?.sizeBytes ?? 0;
    sizeBytes += size;
    leftBytes -= size;
    reads.push({ asked, partition, errorCode: ErrorCode.NONE, read: result.value, divergingEpoch: null });
  }
  return { reads, sizeBytes, isUrgent };
}

function locate(services: Services, asked: FetchPartition, version: number): Result<Partition, ErrorCode> {
  if (version >= 13 && asked.topic === null) return failed(ErrorCode.UNKNOWN_TOPIC_ID);
  const found = services.partitions.leading(asked.topic ?? "", asked.partition);
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
  context: RequestContext,
): FetchResponseInput {
  const byTopic = new Map<string, { topic: string; topicId: string; partitions: PartitionAnswer[] }>();
  for (const each of reads) {
    const answer = partitionAnswer(each, context.version);
    if (scope.sessionId !== 0) {
      const isNews = services.fetchSessions.mustTell(scope.sessionId, each.asked, {
        hasRecords: (each.read?.slice?.sizeBytes ?? 0) > 0,
        hasError: each.errorCode !== ErrorCode.NONE || each.divergingEpoch !== null,
        highWatermark: answer.highWatermark,
        logStartOffset: answer.logStartOffset ?? -1,
      });
      if (!isNews && scope.kind === "incremental") continue;
    }
    const { topic, topicId } = each.asked;
    const key = context.version >= 13 ? topicId : (topic ?? "");
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
  { asked, partition, errorCode, read, divergingEpoch }: PartitionRead,
  version: number,
): PartitionAnswer {
  const isKnown = partition !== null && errorCode === ErrorCode.NONE;
  return {
    partitionIndex: asked.partition,
    errorCode,
    highWatermark: isKnown ? partition.highWatermark : -1,
    lastStableOffset: isKnown ? partition.lastStableOffset : -1,
    logStartOffset: isKnown ? partition.logStartOffset : -1,
    abortedTransactions: read?.abortedTransactions ?? null,
    ...(divergingEpoch !== null && version >= 12 ? { divergingEpoch } : {}),
    records: read?.slice ?? emptyRecords,
  };
}

/** Kafka answers an empty set, never null: some clients do not expect null. */
const emptyRecords = Buffer.alloc(0);
