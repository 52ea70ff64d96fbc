/** OffsetForLeaderEpoch v2–v4 (KIP-320): where an epoch ended here, so that a reader notices a truncated log. Unknown: −1 and −1, no error. */
import { offsetForLeaderEpoch } from "kafka-protocol-ts/messages/23-offset-for-leader-epoch";
import type { OffsetForLeaderEpochResponseInput } from "kafka-protocol-ts/messages/23-offset-for-leader-epoch";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { codeOfReadFailure } from "../failures.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

export const offsetForLeaderEpochHandler: Handler = handler(
  offsetForLeaderEpoch,
  (services, request): OffsetForLeaderEpochResponseInput => ({
    throttleTimeMs: 0,
    topics: request.topics.map(({ topic, partitions }) => ({
      topic,
      partitions: partitions.map(({ partition, currentLeaderEpoch, leaderEpoch }) => {
        const unknown = (errorCode: ErrorCode) => ({ errorCode, partition, leaderEpoch: -1, endOffset: -1 });
        const found = services.partitions.leading(topic, partition);
        if (!found.ok) return unknown(found.failure);
        const epoch = found.value.checkLeaderEpoch(currentLeaderEpoch);
        if (!epoch.ok) return unknown(codeOfReadFailure[epoch.failure]);
        const ended = found.value.log.endOffsetForEpoch(leaderEpoch);
        return { errorCode: ErrorCode.NONE, partition, leaderEpoch: ended.epoch, endOffset: ended.endOffset };
      }),
    })),
  }),
);
