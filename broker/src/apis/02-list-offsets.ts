/**
 * ListOffsets v1–v11. −1 end (the last stable offset for read_committed), −2 start, −3 the record with the largest
 * timestamp, −4 the start of what is local. −5 and −6 ask about tiered storage: −1 until it exists.
 */
import { listOffsets } from "kafka-protocol-ts/messages/02-list-offsets";
import type { ListOffsetsRequest, ListOffsetsResponseInput } from "kafka-protocol-ts/messages/02-list-offsets";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { codeOfReadFailure } from "../failures.ts";
import type { Partition } from "../partitions/partition.ts";
import type { Services } from "../services.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

type PartitionAsked = ListOffsetsRequest["topics"][number]["partitions"][number];
type PartitionAnswer = ListOffsetsResponseInput["topics"][number]["partitions"][number];

const latest = -1;
const earliest = -2;
const maxTimestamp = -3;
const earliestLocal = -4;
const latestTiered = -5;
const earliestPendingUpload = -6;
/** The first version that knows it. Other times below zero mean nothing. */
const firstVersionOf: ReadonlyMap<number, number> = new Map([
  [latest, 1],
  [earliest, 1],
  [maxTimestamp, 7],
  [earliestLocal, 8],
  [latestTiered, 9],
  [earliestPendingUpload, 11],
]);

export const listOffsetsHandler: Handler = handler(
  listOffsets,
  async (services, request, context): Promise<ListOffsetsResponseInput> => {
    const topics: ListOffsetsResponseInput["topics"][number][] = [];
    for (const { name, partitions } of request.topics) {
      const repeated = repeatedIn(partitions);
      const answers: PartitionAnswer[] = [];
      for (const asked of partitions) {
        answers.push(
          repeated.has(asked.partitionIndex)
            ? failure(asked, ErrorCode.INVALID_REQUEST)
            : await answerOne(services, name, asked, {
                isCommittedOnly: request.isolationLevel === 1,
                version: context.version,
              }),
        );
      }
      topics.push({ name, partitions: answers });
    }
    return { throttleTimeMs: 0, topics };
  },
);

/** Which of the times is meant nobody can say: each mention is refused. */
function repeatedIn(partitions: readonly PartitionAsked[]): ReadonlySet<number> {
  const seen = new Set<number>();
  const repeated = new Set<number>();
  for (const { partitionIndex } of partitions) {
    if (seen.has(partitionIndex)) repeated.add(partitionIndex);
    seen.add(partitionIndex);
  }
  return repeated;
}

async function answerOne(
  services: Services,
  topic: string,
  asked: PartitionAsked,
  { isCommittedOnly, version }: { readonly isCommittedOnly: boolean; readonly version: number },
): Promise<PartitionAnswer> {
  const isKnown = asked.timestamp >= 0 || version >= (firstVersionOf.get(asked.timestamp) ?? Infinity);
  if (!isKnown) return failure(asked, ErrorCode.UNSUPPORTED_VERSION);
  const found = services.partitions.leading(topic, asked.partitionIndex);
  if (!found.ok) return failure(asked, found.failure);
  const partition = found.value;
  const epoch = partition.checkLeaderEpoch(asked.currentLeaderEpoch);
  if (!epoch.ok) return failure(asked, codeOfReadFailure[epoch.failure]);
  const at = await lookUp(partition, asked.timestamp, isCommittedOnly);
  // KIP-207: what is committed beyond the high watermark is not known yet, and an end before it would be one that goes back.
  const isAtEnd = asked.timestamp === latest || (at.offset === -1 && asked.timestamp > earliest);
  const isUnsure =
    at.errorCode === ErrorCode.NONE && (isAtEnd || asked.timestamp === maxTimestamp) && !partition.isEndKnown;
  if (isUnsure) return failure(asked, version >= 5 ? ErrorCode.OFFSET_NOT_AVAILABLE : ErrorCode.LEADER_NOT_AVAILABLE);
  if (at.errorCode !== ErrorCode.NONE) return failure(asked, at.errorCode);
  // Before v4 (KIP-320) an answer has no epoch.
  return { partitionIndex: asked.partitionIndex, ...at, leaderEpoch: version >= 4 ? at.leaderEpoch : -1 };
}

interface Found {
  readonly errorCode: ErrorCode;
  readonly timestamp: number | bigint;
  readonly offset: number;
  readonly leaderEpoch: number;
}

const nothing: Found = { errorCode: ErrorCode.NONE, timestamp: -1, offset: -1, leaderEpoch: -1 };

async function lookUp(partition: Partition, timestamp: number, isCommittedOnly: boolean): Promise<Found> {
  const { log } = partition;
  const end = partition.readableEnd(isCommittedOnly ? "committed" : "uncommitted");
  switch (timestamp) {
    case latest:
      return { ...nothing, offset: end, leaderEpoch: partition.leaderEpoch };
    case earliest:
    case earliestLocal:
      return { ...nothing, offset: log.logStartOffset, leaderEpoch: log.epochAt(log.logStartOffset) };
    case latestTiered:
    case earliestPendingUpload:
      return nothing;
    default: {
      const found = await (timestamp === maxTimestamp ? log.maxTimestampRecord() : log.recordAtOrAfter(timestamp));
      if (!found.ok) return { ...nothing, errorCode: codeOfReadFailure[found.failure] };
      if (found.value === null || found.value.offset >= end) return nothing;
      const { offset, timestamp: foundAt } = found.value;
      return { errorCode: ErrorCode.NONE, offset, timestamp: foundAt, leaderEpoch: log.epochAt(offset) };
    }
  }
}

function failure({ partitionIndex }: PartitionAsked, errorCode: ErrorCode): PartitionAnswer {
  return { partitionIndex, ...nothing, errorCode };
}
