/** DeleteRecords v0–v2: moves the log start offset up; −1 means the high watermark. It never goes back, also not by a restart. */
import { deleteRecords } from "kafka-protocol-ts/messages/21-delete-records";
import type { DeleteRecordsResponseInput } from "kafka-protocol-ts/messages/21-delete-records";
import { ErrorCode } from "kafka-protocol-ts/errors";
import type { Offset } from "@millrace/storage/types";
import { isInternalTopic } from "../metadata/topics.ts";
import type { Services } from "../services.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

type PartitionAnswer = DeleteRecordsResponseInput["topics"][number]["partitions"][number];

export const deleteRecordsHandler: Handler = handler(
  deleteRecords,
  async (services, request): Promise<DeleteRecordsResponseInput> => {
    const topics: DeleteRecordsResponseInput["topics"][number][] = [];
    for (const { name, partitions } of request.topics) {
      const answers: PartitionAnswer[] = [];
      for (const { partitionIndex, offset } of partitions) {
        answers.push({ partitionIndex, ...(await deleteBefore(services, name, partitionIndex, offset)) });
      }
      topics.push({ name, partitions: answers });
    }
    return { throttleTimeMs: 0, topics };
  },
);

async function deleteBefore(
  services: Services,
  topic: string,
  index: number,
  offset: number,
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
  return moved.ok
    ? { lowWatermark: partition.logStartOffset, errorCode: ErrorCode.NONE }
    : refused(ErrorCode.KAFKA_STORAGE_ERROR);
}
