/** DescribeTransactions v0 (KIP-664): where transactional ids stand. */
import { describeTransactions } from "kafka-protocol-ts/messages/65-describe-transactions";
import type { DescribeTransactionsResponseInput } from "kafka-protocol-ts/messages/65-describe-transactions";
import { ErrorCode } from "kafka-protocol-ts/errors";
import type { Services } from "../services.ts";
import { codeOfTransactionRequestFailure } from "../transactions/failures.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

type TransactionAnswer = DescribeTransactionsResponseInput["transactionStates"][number];

export const describeTransactionsHandler: Handler = handler(
  describeTransactions,
  async (services, request): Promise<DescribeTransactionsResponseInput> => ({
    throttleTimeMs: 0,
    transactionStates: await Promise.all(request.transactionalIds.map((id) => describe(services, id))),
  }),
);

async function describe({ transactions }: Services, transactionalId: string): Promise<TransactionAnswer> {
  const refused = (errorCode: ErrorCode): TransactionAnswer => ({
    errorCode,
    transactionalId,
    transactionState: "",
    transactionTimeoutMs: 0,
    transactionStartTimeMs: 0,
    producerId: 0,
    producerEpoch: 0,
    topics: [],
  });
  if (transactionalId === "") return refused(ErrorCode.INVALID_REQUEST);
  const described = await transactions.coordinator.describe(transactionalId);
  if (!described.ok) return refused(codeOfTransactionRequestFailure[described.failure]);
  const transaction = described.value;
  if (transaction === null) return refused(ErrorCode.TRANSACTIONAL_ID_NOT_FOUND);
  return {
    errorCode: ErrorCode.NONE,
    transactionalId,
    transactionState: transaction.state,
    transactionTimeoutMs: transaction.timeoutMs,
    transactionStartTimeMs: transaction.startMs,
    producerId: transaction.producerId,
    producerEpoch: transaction.producerEpoch,
    topics: Array.from(transaction.partitions, ([topic, partitions]) => ({ topic, partitions })),
  };
}
