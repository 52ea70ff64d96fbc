/**
 * TxnOffsetCommit v0–v5: offsets that count when the producer's transaction is committed. v3 names the member they are committed for, which is
 * fenced like any other (KIP-447); v5 adds the group's partition to the transaction by itself (KIP-890).
 */
import { txnOffsetCommit } from "kafka-protocol-ts/messages/28-txn-offset-commit";
import type {
  TxnOffsetCommitRequest,
  TxnOffsetCommitResponseInput,
} from "kafka-protocol-ts/messages/28-txn-offset-commit";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { offsetsTopic } from "../groups-host.ts";
import type { Partition } from "../partitions/partition.ts";
import type { Services } from "../services.ts";
import { codeOfAdmission } from "../transactions/failures.ts";
import type { TransactionSupport } from "../transactions/failures.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

/** The log beneath a group has no sequences: every commit may come first. */
const NO_SEQUENCE = -1;

export const txnOffsetCommitHandler: Handler = handler(
  txnOffsetCommit,
  async (services, request, { version }): Promise<TxnOffsetCommitResponseInput> => {
    const { transactionalId, groupId } = request;
    if (transactionalId === "") return refused(request, ErrorCode.INVALID_REQUEST);
    if (groupId === "") return refused(request, ErrorCode.INVALID_GROUP_ID);
    const isReady = await services.topicCreation.ensureInternalTopic(offsetsTopic);
    if (!isReady.ok) return refused(request, ErrorCode.COORDINATOR_NOT_AVAILABLE);
    const found = services.partitions.leading(offsetsTopic, services.groups.partitionFor(groupId));
    if (!found.ok) return refused(request, ErrorCode.NOT_COORDINATOR);
    const support = version >= 5 ? "implicit" : version === 4 ? "abortable" : "none";
    for (let asked = 1; asked <= ASKED_MAX; asked++) {
      const answer = await commitOnce(services, request, found.value, support);
      if (answer !== null) return answer;
    }
    return refused(request, ErrorCode.COORDINATOR_NOT_AVAILABLE);
  },
);

/** Each marker that comes while the coordinator is asked is a reason to ask again: there are few of one producer. */
const ASKED_MAX = 5;

/** Null: a marker has come meanwhile, most often of the transaction before. */
async function commitOnce(
  services: Services,
  request: TxnOffsetCommitRequest,
  partition: Partition,
  support: TransactionSupport,
): Promise<TxnOffsetCommitResponseInput | null> {
  const { transactionalId, producerId, producerEpoch } = request;
  const { leaderEpoch } = partition;
  const guard = partition.guards.take(producerId, NO_SEQUENCE);
  try {
    const isAsked = support === "implicit" || services.configs.broker["transaction.partition.verification.enable"];
    if (isAsked && !partition.hasOpenTransaction(producerId, producerEpoch)) {
      const partitions = [partition];
      const asking = { transactionalId, producerId, producerEpoch, support, partitions };
      const failure = (await services.transactions.admit(asking))(partition);
      if (failure !== null) return refused(request, codeOfOffsetAdmission(codeOfAdmission(failure, support)));
      // Another leader may have ended the transaction meanwhile, and the guard does not know.
      const led = services.partitions.leading(offsetsTopic, partition.index);
      const isSame = led.ok && led.value === partition && partition.leaderEpoch === leaderEpoch;
      if (!isSame) return refused(request, ErrorCode.NOT_COORDINATOR);
      if (!partition.guards.isOpen(guard)) return null;
    }
    return await services.groups.txnOffsetCommit(request, guard);
  } finally {
    partition.guards.release(guard);
  }
}

/** Offsets go to a coordinator: what a partition calls too few replicas is a coordinator that is not available. */
function codeOfOffsetAdmission(errorCode: ErrorCode): ErrorCode {
  return errorCode === ErrorCode.NOT_ENOUGH_REPLICAS ? ErrorCode.COORDINATOR_NOT_AVAILABLE : errorCode;
}

function refused({ topics }: TxnOffsetCommitRequest, errorCode: ErrorCode): TxnOffsetCommitResponseInput {
  return {
    throttleTimeMs: 0,
    topics: topics.map(({ name, partitions }) => ({
      name,
      partitions: partitions.map(({ partitionIndex }) => ({ partitionIndex, errorCode })),
    })),
  };
}
