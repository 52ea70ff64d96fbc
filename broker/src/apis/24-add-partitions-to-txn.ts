/**
 * AddPartitionsToTxn v0–v5: up to v3 from a producer that is about to write; v4 and v5 from a broker, for many transactions, to add or only to
 * verify. A partition that does not exist keeps all others out: OPERATION_NOT_ATTEMPTED.
 */
import { addPartitionsToTxn } from "kafka-protocol-ts/messages/24-add-partitions-to-txn";
import type {
  AddPartitionsToTxnRequestTransaction,
  AddPartitionsToTxnResponseInput,
} from "kafka-protocol-ts/messages/24-add-partitions-to-txn";
import { ErrorCode } from "kafka-protocol-ts/errors";
import type { Services } from "../services.ts";
import { codeOfTransactionRequestFailure } from "../transactions/failures.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

type Topics = AddPartitionsToTxnRequestTransaction["topics"];
type CodeOf = (topic: string, partition: number) => ErrorCode;

export const addPartitionsToTxnHandler: Handler = handler(
  addPartitionsToTxn,
  async (services, request, { version }): Promise<AddPartitionsToTxnResponseInput> => {
    if (version < 4) {
      const transaction: AddPartitionsToTxnRequestTransaction = {
        transactionalId: request.v3AndBelowTransactionalId,
        producerId: request.v3AndBelowProducerId,
        producerEpoch: request.v3AndBelowProducerEpoch,
        verifyOnly: false,
        topics: request.v3AndBelowTopics,
      };
      const codeOf = await addOne(services, transaction, version);
      return { throttleTimeMs: 0, resultsByTopicV3AndBelow: resultsOf(transaction.topics, codeOf) };
    }
    const resultsByTransaction = await Promise.all(
      request.transactions.map(async (transaction) => ({
        transactionalId: transaction.transactionalId,
        topicResults: resultsOf(transaction.topics, await addOne(services, transaction, version)),
      })),
    );
    return { throttleTimeMs: 0, errorCode: ErrorCode.NONE, resultsByTransaction };
  },
);

async function addOne(
  { metadata, transactions }: Services,
  transaction: AddPartitionsToTxnRequestTransaction,
  version: number,
): Promise<CodeOf> {
  const { transactionalId, producerId, producerEpoch, verifyOnly, topics } = transaction;
  if (transactionalId === "") return () => ErrorCode.INVALID_REQUEST;
  const isThere = (topic: string, partition: number): boolean =>
    partition >= 0 && partition < (metadata.image.topic(topic)?.partitions.length ?? 0);
  const areAllThere = topics.every(({ name, partitions }) => partitions.every((each) => isThere(name, each)));
  if (!areAllThere) {
    return (topic, partition) =>
      isThere(topic, partition) ? ErrorCode.OPERATION_NOT_ATTEMPTED : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
  }
  const producer = { producerId, producerEpoch, transactionalId };
  const named = topics.map(({ name, partitions }) => ({ topic: name, partitions }));
  // A broker asks for many transactions at once: none is to wait for what another waits for. It asks again.
  const isPatient = version < 4;
  if (verifyOnly) {
    const verified = await transactions.coordinator.verify({ ...producer, topics: named }, isPatient);
    if (!verified.ok) return () => codeOfTransactionRequestFailure[verified.failure];
    return (topic, partition) => (verified.value(topic, partition) ? ErrorCode.NONE : ErrorCode.TRANSACTION_ABORTABLE);
  }
  const clientVersion = version >= 4 ? 2 : 0;
  const command = { ...producer, topics: named, clientVersion, when: "committed" } as const;
  const added = await transactions.coordinator.add(command, isPatient);
  const errorCode = added.ok ? ErrorCode.NONE : codeOfTransactionRequestFailure[added.failure];
  return () => (version < 2 ? beforeFencing(errorCode) : errorCode);
}

/** PRODUCER_FENCED is known since v2 of the APIs of transactions (v4 of InitProducerId). */
export function beforeFencing(errorCode: ErrorCode): ErrorCode {
  return errorCode === ErrorCode.PRODUCER_FENCED ? ErrorCode.INVALID_PRODUCER_EPOCH : errorCode;
}

function resultsOf(
  topics: Topics,
  codeOf: CodeOf,
): NonNullable<AddPartitionsToTxnResponseInput["resultsByTopicV3AndBelow"]> {
  return topics.map(({ name, partitions }) => ({
    name,
    resultsByPartition: partitions.map((partitionIndex) => ({
      partitionIndex,
      partitionErrorCode: codeOf(name, partitionIndex),
    })),
  }));
}
