/**
 * WriteTxnMarkers v1–v2: from the transaction coordinator of another broker, or from an administrator's tool that ends a hanging transaction.
 * Answered when the markers are committed. Written once more a marker changes nothing.
 */
import { writeTxnMarkers } from "kafka-protocol-ts/messages/27-write-txn-markers";
import type {
  WriteTxnMarkersRequest,
  WriteTxnMarkersResponseInput,
} from "kafka-protocol-ts/messages/27-write-txn-markers";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { failed } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { TransactionMarker } from "../coordinator/shard-log.ts";
import type { Services } from "../services.ts";
import { codeOfMarkerFailure } from "../transactions/marker-writer.ts";
import type { MarkerFailure } from "../transactions/marker-writer.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

export const writeTxnMarkersHandler: Handler = handler(
  writeTxnMarkers,
  async (services, request): Promise<WriteTxnMarkersResponseInput> => ({
    markers: await Promise.all(
      request.markers.map(async (marker) => ({
        producerId: marker.producerId,
        topics: await Promise.all(
          marker.topics.map(async ({ name, partitionIndexes }) => ({
            name,
            partitions: await Promise.all(
              partitionIndexes.map(async (partitionIndex) => ({
                partitionIndex,
                errorCode: await writeOne(services, name, partitionIndex, marker),
              })),
            ),
          })),
        ),
      })),
    ),
  }),
);

/** So long a partition may keep the others of its request, and all markers that wait behind it, from their answer. */
const commitTimeoutMs = 5_000;

async function writeOne(
  services: Services,
  topic: string,
  index: number,
  marker: WriteTxnMarkersRequest["markers"][number],
): Promise<ErrorCode> {
  const { producerId, producerEpoch, transactionResult, coordinatorEpoch, transactionVersion } = marker;
  const ended = await endInTime(services, topic, index, {
    producerId,
    producerEpoch,
    outcome: transactionResult ? "commit" : "abort",
    coordinatorEpoch,
    isEpochRaised: transactionVersion >= 2,
  });
  return ended.ok ? ErrorCode.NONE : codeOfMarkerFailure[ended.failure];
}

async function endInTime(
  { transactions, partitions }: Services,
  topic: string,
  index: number,
  marker: TransactionMarker,
): Promise<Result<void, MarkerFailure>> {
  let forget = (): void => {};
  const expired = new Promise<Result<void, MarkerFailure>>((resolve) => {
    forget = partitions.deadlines.add(commitTimeoutMs, () => resolve(failed("timed-out")));
  });
  try {
    return await Promise.race([transactions.end(topic, index, marker), expired]);
  } finally {
    forget();
  }
}
