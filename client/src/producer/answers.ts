import { ErrorCode } from "kafka-protocol-ts/errors";
import type { ProduceResponse } from "kafka-protocol-ts/messages/00-produce";

export type PartitionAnswer = ProduceResponse["responses"][number]["partitionResponses"][number];

/**
 * Answers after which the leader may have the records all the same. One that loses the lead while records wait for replicas says so,
 * as if it had not taken them; the next leader may have them.
 */
const mayBeStored: ReadonlySet<number> = new Set([
  ErrorCode.REQUEST_TIMED_OUT,
  ErrorCode.NOT_LEADER_OR_FOLLOWER,
  ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
  ErrorCode.KAFKA_STORAGE_ERROR,
  ErrorCode.UNKNOWN_SERVER_ERROR,
]);

/** Answers that say that what is known of the topic is out of date, or may be: a leader that no replica follows may be none. */
const isOfTopic: ReadonlySet<number> = new Set([
  ErrorCode.REQUEST_TIMED_OUT,
  ErrorCode.NOT_LEADER_OR_FOLLOWER,
  ErrorCode.LEADER_NOT_AVAILABLE,
  ErrorCode.REPLICA_NOT_AVAILABLE,
  ErrorCode.FENCED_LEADER_EPOCH,
  ErrorCode.UNKNOWN_LEADER_EPOCH,
  ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
  ErrorCode.UNKNOWN_TOPIC_ID,
  ErrorCode.INCONSISTENT_TOPIC_ID,
  ErrorCode.KAFKA_STORAGE_ERROR,
]);

/** The partition does not follow our numbers. */
const hasLostTrack: ReadonlySet<number> = new Set([
  ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
  ErrorCode.UNKNOWN_PRODUCER_ID,
  ErrorCode.INVALID_PRODUCER_EPOCH,
]);

const isTooLarge: ReadonlySet<number> = new Set([ErrorCode.MESSAGE_TOO_LARGE, ErrorCode.RECORD_LIST_TOO_LARGE]);

/** What the codes of Produce mean for the batch and its lane. */
export const answers: {
  readonly mayBeStored: ReadonlySet<number>;
  readonly isOfTopic: ReadonlySet<number>;
  readonly hasLostTrack: ReadonlySet<number>;
  readonly isTooLarge: ReadonlySet<number>;
} = { mayBeStored, isOfTopic, hasLostTrack, isTooLarge };

/** The part of an answer that is about a partition; most often they come in the order in which they were asked for. */
export class AnswerReader {
  readonly #answer: ProduceResponse;
  #topic = 0;
  #partition = 0;

  constructor(answer: ProduceResponse) {
    this.#answer = answer;
  }

  /** The answer about this partition, null where there is none. */
  next(name: string, topicId: string, index: number): PartitionAnswer | null {
    const { responses } = this.#answer;
    const topic = responses[this.#topic];
    const found = topic?.partitionResponses[this.#partition];
    if (topic !== undefined && found?.index === index && isSame(topic, name, topicId)) {
      this.#partition++;
      if (this.#partition === topic.partitionResponses.length) {
        this.#topic++;
        this.#partition = 0;
      }
      return found;
    }
    for (const each of responses) {
      if (!isSame(each, name, topicId)) continue;
      const one = each.partitionResponses.find((partition) => partition.index === index);
      if (one !== undefined) return one;
    }
    return null;
  }
}

type TopicAnswer = ProduceResponse["responses"][number];

/** Up to version 12 a topic is named, from 13 on it is known by its id. */
function isSame(answer: TopicAnswer, name: string, topicId: string): boolean {
  return answer.name === "" ? answer.topicId === topicId : answer.name === name;
}
