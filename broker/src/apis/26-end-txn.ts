/**
 * EndTxn v0–v5: commits or aborts. Answered when the decision is committed to the log; from then on markers are written whatever happens.
 * v5 answers with the epoch to go on with (KIP-890).
 */
import { endTxn } from "kafka-protocol-ts/messages/26-end-txn";
import type { EndTxnResponseInput } from "kafka-protocol-ts/messages/26-end-txn";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { codeOfTransactionRequestFailure } from "../transactions/failures.ts";
import { beforeFencing } from "./24-add-partitions-to-txn.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

export const endTxnHandler: Handler = handler(
  endTxn,
  async ({ transactions }, request, { version }): Promise<EndTxnResponseInput> => {
    const refused = (errorCode: ErrorCode): EndTxnResponseInput => ({
      throttleTimeMs: 0,
      errorCode: version < 2 ? beforeFencing(errorCode) : errorCode,
      producerId: -1,
      producerEpoch: -1,
    });
    const { transactionalId, producerId, producerEpoch, committed } = request;
    if (transactionalId === "") return refused(ErrorCode.INVALID_REQUEST);
    const ended = await transactions.coordinator.end({
      transactionalId,
      producerId,
      producerEpoch,
      outcome: committed ? "commit" : "abort",
      clientVersion: version >= 5 ? 2 : 0,
    });
    if (!ended.ok) return refused(codeOfTransactionRequestFailure[ended.failure]);
    return { throttleTimeMs: 0, errorCode: ErrorCode.NONE, ...ended.value };
  },
);
