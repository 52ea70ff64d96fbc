import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { alterPartition } from "kafka-protocol-ts/messages/56-alter-partition";
import type { AlterPartitionRequestInput, AlterPartitionResponse } from "kafka-protocol-ts/messages/56-alter-partition";
import type { IsrChangeFailure, IsrChanges, IsrProposal, IsrState } from "../partitions/isr-changes.ts";
import type { ControllerLink } from "./controller-link.ts";

interface Waiting {
  readonly proposal: IsrProposal;
  settle(outcome: Result<IsrState, IsrChangeFailure>): void;
}

const refusals: ReadonlySet<number> = new Set([ErrorCode.INELIGIBLE_REPLICA, ErrorCode.OPERATION_NOT_ATTEMPTED]);
const stale: ReadonlySet<number> = new Set([
  ErrorCode.NEW_LEADER_ELECTED,
  ErrorCode.INVALID_UPDATE_VERSION,
  ErrorCode.FENCED_LEADER_EPOCH,
  ErrorCode.UNKNOWN_TOPIC_ID,
  ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
]);

/** AlterPartition requests of this broker (KIP-497): one at a time, and what is proposed meanwhile goes with the next one. */
export class IsrProposals implements IsrChanges {
  readonly #link: ControllerLink;
  readonly #sender: () => { readonly brokerId: number; readonly brokerEpoch: number };
  readonly #timeoutMs: number;
  #waiting: Waiting[] = [];
  #isSending = false;

  constructor(options: {
    readonly link: ControllerLink;
    readonly timeoutMs: number;
    sender(): { readonly brokerId: number; readonly brokerEpoch: number };
  }) {
    this.#link = options.link;
    this.#sender = options.sender;
    this.#timeoutMs = options.timeoutMs;
  }

  propose(proposal: IsrProposal): Promise<Result<IsrState, IsrChangeFailure>> {
    return new Promise((settle) => {
      this.#waiting.push({ proposal, settle });
      if (this.#isSending) return;
      this.#isSending = true;
      // At the end of the turn: leaders that lose a follower lose it together.
      queueMicrotask(() => void this.#send());
    });
  }

  async #send(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0);
      try {
        const request = requestOf(this.#sender(), batch);
        const answered = await this.#link.request(alterPartition, request, { timeoutMs: this.#timeoutMs });
        const outcome = answered.ok ? outcomesOf(answered.value) : () => failed("unknown" as const);
        for (const { proposal, settle } of batch) settle(outcome(proposal));
      } catch {
        for (const { settle } of batch) settle(failed("unknown"));
      }
    }
    this.#isSending = false;
  }
}

function requestOf(
  sender: { readonly brokerId: number; readonly brokerEpoch: number },
  batch: readonly Waiting[],
): AlterPartitionRequestInput {
  const byTopic = Map.groupBy(batch, ({ proposal }) => proposal.topicId);
  return {
    ...sender,
    topics: [...byTopic].map(([topicId, ofTopic]) => ({
      topicId,
      partitions: ofTopic.map(({ proposal: { index, leaderEpoch, partitionEpoch, isr } }) => ({
        partitionIndex: index,
        leaderEpoch,
        partitionEpoch,
        newIsrWithEpochs: isr,
      })),
    })),
  };
}

function outcomesOf(answer: AlterPartitionResponse): (proposal: IsrProposal) => Result<IsrState, IsrChangeFailure> {
  if (answer.errorCode !== ErrorCode.NONE) {
    // A broker that is not known under its epoch is about to register anew.
    const failure = answer.errorCode === ErrorCode.STALE_BROKER_EPOCH ? "stale" : "unknown";
    return () => failed(failure);
  }
  const byTopic = new Map(answer.topics.map(({ topicId, partitions }) => [topicId, partitions]));
  return ({ topicId, index }) => {
    const told = byTopic.get(topicId)?.find(({ partitionIndex }) => partitionIndex === index);
    if (told === undefined) return failed("unknown");
    const { errorCode, leaderEpoch, partitionEpoch, isr } = told;
    if (errorCode === ErrorCode.NONE) return ok({ leaderEpoch, partitionEpoch, isr });
    if (refusals.has(errorCode)) return failed("refused");
    return failed(stale.has(errorCode) ? "stale" : "unknown");
  };
}
