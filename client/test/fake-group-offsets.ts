import { offsetCommit } from "kafka-protocol-ts/messages/08-offset-commit";
import type { OffsetCommitRequest } from "kafka-protocol-ts/messages/08-offset-commit";
import { offsetFetch } from "kafka-protocol-ts/messages/09-offset-fetch";
import type { FakeCluster } from "./fake-cluster.ts";

/** What groups have committed on a fake cluster: every member is believed, and every offset kept. */
export class FakeOffsets {
  /** "group topic-partition" to the offset. */
  readonly offsets = new Map<string, number>();
  /** In the order in which they came. */
  readonly commits: OffsetCommitRequest[] = [];

  constructor({ brokers }: FakeCluster) {
    for (const broker of brokers) {
      broker.on(
        offsetCommit,
        ({ message }) => {
          this.commits.push(message);
          for (const { name, partitions } of message.topics)
            for (const { partitionIndex, committedOffset } of partitions)
              this.offsets.set(`${message.groupId} ${name}-${partitionIndex}`, committedOffset);
          return {
            throttleTimeMs: 0,
            topics: message.topics.map(({ name, partitions }) => ({
              name,
              partitions: partitions.map(({ partitionIndex }) => ({ partitionIndex, errorCode: 0 })),
            })),
          };
        },
        [2, 8],
      );
      broker.on(
        offsetFetch,
        ({ message }) => ({
          throttleTimeMs: 0,
          errorCode: 0,
          topics: (message.topics ?? []).map(({ name, partitionIndexes }) => ({
            name,
            partitions: partitionIndexes.map((partitionIndex) => ({
              partitionIndex,
              committedOffset: this.offsets.get(`${message.groupId} ${name}-${partitionIndex}`) ?? -1,
              metadata: "",
              errorCode: 0,
            })),
          })),
        }),
        [1, 7],
      );
    }
  }

  /** Undefined: nothing is committed. */
  committed(topic: string, partition = 0, group = "group"): number | undefined {
    return this.offsets.get(`${group} ${topic}-${partition}`);
  }
}
