import type { Deque } from "@millrace/base/deque";
import type { PartitionMetadata, TopicMetadata } from "../network/metadata.ts";
import { Lane } from "./lane.ts";
import type { WaitingRecord } from "./records.ts";

/** A broker older than 2.8 says nothing else. */
const noTopicId = "AAAAAAAAAAAAAAAAAAAAAA";

/** What a producer knows of one topic: a lane for each partition that it has sent to. */
export class TopicLanes {
  readonly name: string;
  metadata: TopicMetadata | null = null;
  /** Where records without a key go, until its batch has left. */
  sticky: Lane | null = null;
  /** Less than the producer's own where the topic takes no batches of that size. */
  batchBytesMax: number;
  /** Records that have no partition yet: the topic is not known, or one before them is still being serialized. */
  waiting: Deque<WaitingRecord> | null = null;
  #lanes: (Lane | undefined)[] = [];

  constructor(name: string, batchBytesMax: number) {
    this.name = name;
    this.batchBytesMax = batchBytesMax;
  }

  get hasId(): boolean {
    return this.metadata !== null && this.metadata.topicId !== noTopicId;
  }

  lane(partition: number): Lane {
    return (this.#lanes[partition] ??= new Lane(this, partition));
  }

  /**
   * Takes over what was learned. Where that is another topic of the same name, the lanes of the earlier one are given back:
   * what was meant for it must not be written into the other.
   */
  learn(metadata: TopicMetadata): readonly Lane[] {
    const before = this.metadata;
    const hadId = this.hasId;
    this.metadata = metadata;
    if (before === null || !hadId || !this.hasId || before.topicId === metadata.topicId) return [];
    const lanes = this.#lanes.filter((lane) => lane !== undefined);
    for (const lane of lanes) lane.isDetached = true;
    this.#lanes = [];
    this.sticky = null;
    return lanes;
  }

  /** A partition that is led, if there is one; chance decides. */
  choose(fraction: number): Lane {
    const partitions = this.metadata?.partitions ?? [];
    const led = partitions.filter(({ leaderId }) => leaderId >= 0);
    const choice: readonly PartitionMetadata[] = led.length > 0 ? led : partitions;
    const lane = this.lane(choice[Math.floor(fraction * choice.length)]?.index ?? 0);
    this.sticky = lane;
    return lane;
  }
}
