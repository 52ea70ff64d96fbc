/**
 * DeleteRecords v0–v2: moves the log start offset up, of all replicas that are in sync or alive; −1 means the high watermark. It never goes
 * back, not by a restart and not with another leader.
 */
import { deleteRecords } from "kafka-protocol-ts/messages/21-delete-records";
import type { DeleteRecordsResponseInput } from "kafka-protocol-ts/messages/21-delete-records";
import { ErrorCode } from "kafka-protocol-ts/errors";
import type { Offset } from "@millrace/storage/types";
import { isInternalTopic } from "../metadata/topics.ts";
import type { Partition } from "../partitions/partition.ts";
import type { Services } from "../services.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

type PartitionAnswer = DeleteRecordsResponseInput["topics"][number]["partitions"][number];

export const deleteRecordsHandler: Handler = handler(
  deleteRecords,
  async (services, request): Promise<DeleteRecordsResponseInput> => {
    const topics: DeleteRecordsResponseInput["topics"][number][] = [];
    for (const { name, partitions } of request.topics) {
      topics.push({
        name,
        partitions: await Promise.all(
          partitions.map(async ({ partitionIndex, offset }): Promise<PartitionAnswer> => {
            const at = { topic: name, index: partitionIndex, offset };
            return { partitionIndex, ...(await deleteBefore(services, at, request.timeoutMs)) };
          }),
        ),
      });
    }
    return { throttleTimeMs: 0, topics };
  },
);

async function deleteBefore(
  services: Services,
  { topic, index, offset }: { readonly topic: string; readonly index: number; readonly offset: number },
  timeoutMs: number,
): Promise<{ readonly lowWatermark: number; readonly errorCode: ErrorCode }> {
  const refused = (errorCode: ErrorCode) => ({ lowWatermark: -1, errorCode });
  if (isInternalTopic(topic)) return refused(ErrorCode.INVALID_TOPIC_EXCEPTION);
  const found = services.partitions.leading(topic, index);
  if (!found.ok) return refused(found.failure);
  const partition = found.value;
  if (
    !services.configs.topic(topic)["cleanup.policy"].includes("delete") &&
    services.configs.topic(topic)["cleanup.policy"].length > 0
  ) {
    return refused(ErrorCode.POLICY_VIOLATION);
  }
  const target = offset === -1 ? partition.highWatermark : offset;
  if (target < 0 || target > partition.highWatermark) return refused(ErrorCode.OFFSET_OUT_OF_RANGE);
  const moved = await partition.log.deleteRecordsBefore(target as Offset);
  if (!moved.ok) return refused(ErrorCode.KAFKA_STORAGE_ERROR);
  // Where another replica leads next, its start counts.
  const outcome = await replicated(services, partition, target as Offset, timeoutMs);
  return outcome === ErrorCode.NONE ? { lowWatermark: partition.lowWatermark, errorCode: outcome } : refused(outcome);
}

function replicated({ clock }: Services, partition: Partition, offset: Offset, timeoutMs: number): Promise<ErrorCode> {
  return new Promise((resolve) => {
    let stop = (): void => {};
    const timer = clock.schedule(Math.max(0, timeoutMs), () => {
      stop();
      resolve(ErrorCode.REQUEST_TIMED_OUT);
    });
    stop = partition.whenLowWatermark(offset, (isThere) => {
      timer.cancel();
      resolve(isThere ? ErrorCode.NONE : ErrorCode.NOT_LEADER_OR_FOLLOWER);
    });
  });
}
