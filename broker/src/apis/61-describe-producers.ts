/** DescribeProducers v0 (KIP-664): what partitions remember of each producer, among it where a transaction is open. */
import { describeProducers } from "kafka-protocol-ts/messages/61-describe-producers";
import type { DescribeProducersResponseInput } from "kafka-protocol-ts/messages/61-describe-producers";
import { ErrorCode } from "kafka-protocol-ts/errors";
import type { Services } from "../services.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

type PartitionAnswer = DescribeProducersResponseInput["topics"][number]["partitions"][number];

export const describeProducersHandler: Handler = handler(
  describeProducers,
  (services, request): DescribeProducersResponseInput => ({
    throttleTimeMs: 0,
    topics: request.topics.map(({ name, partitionIndexes }) => ({
      name,
      partitions: partitionIndexes.map((index) => describe(services, name, index)),
    })),
  }),
);

function describe({ partitions }: Services, topic: string, partitionIndex: number): PartitionAnswer {
  const found = partitions.leading(topic, partitionIndex);
  if (!found.ok) {
    return { partitionIndex, errorCode: found.failure, errorMessage: found.message ?? null, activeProducers: [] };
  }
  const activeProducers = Array.from(found.value.log.producers(), (producer) => ({
    producerId: producer.producerId,
    producerEpoch: producer.epoch,
    lastSequence: producer.lastSequence,
    lastTimestamp: producer.lastTimestamp,
    coordinatorEpoch: producer.coordinatorEpoch,
    currentTxnStartOffset: producer.currentTxnFirstOffset,
  }));
  return { partitionIndex, errorCode: ErrorCode.NONE, errorMessage: null, activeProducers };
}
